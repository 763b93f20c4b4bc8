"""websockets: the gateway's streams, a message for each JSON object, both ways."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from compat.differences import differs
from compat.targets import Target
from compat.websockets_lib.conftest import CALL_MAX_S, Socket

Dial = Callable[..., Socket]
Ask = Callable[[str, object], Any]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_watch_sees_puts_and_deletes_as_they_come(dial: Dial, ask: Ask, prefix: str) -> None:
    key = b64(f"{prefix}key")
    watch = dial("/v3/watch")
    watch.say({"create_request": {"key": key}})
    created = watch.hear()["result"]
    assert created["created"] is True
    assert "watch_id" not in created
    ask("kv/put", {"key": key, "value": b64("1")})
    ask("kv/deleterange", {"key": key})
    put, deleted = (watch.hear()["result"]["events"][0] for _ in range(2))
    assert "type" not in put
    assert put["kv"]["value"] == b64("1")
    assert deleted["type"] == "DELETE"


def test_a_socket_carries_several_watches_and_ends_one(dial: Dial, ask: Ask, prefix: str) -> None:
    first, second = b64(f"{prefix}1"), b64(f"{prefix}2")
    watch = dial("/v3/watch")
    watch.say({"create_request": {"key": first}}, {"create_request": {"key": second}})
    assert [watch.hear()["result"].get("watch_id") for _ in range(2)] == [None, "1"]
    watch.say({"cancel_request": {"watch_id": "1"}})
    canceled = watch.hear()["result"]
    assert (canceled["watch_id"], canceled["canceled"]) == ("1", True)
    for key in (second, first):
        ask("kv/put", {"key": key})
    (event,) = watch.hear()["result"]["events"]
    assert event["kv"]["key"] == first


def test_progress_is_told_when_asked_for(dial: Dial, prefix: str) -> None:
    watch = dial("/v3/watch")
    watch.say({"create_request": {"key": b64(f"{prefix}key")}})
    watch.hear()
    watch.say({"progress_request": {}})
    assert watch.hear()["result"]["watch_id"] == "-1"


def test_a_binary_message_and_the_path_of_old_mean_the_same(dial: Dial, prefix: str) -> None:
    watch = dial("/v3beta/watch")
    key = b64(f"{prefix}key")
    watch.connection.send(b'{"create_request": {"key": "%s"}}' % key.encode())
    assert watch.hear()["result"]["created"] is True


def test_keepalives_are_answered_one_by_one(dial: Dial, ask: Ask) -> None:
    lease = ask("lease/grant", {"TTL": 60})["ID"]
    keepalive = dial("/v3/lease/keepalive")
    for _ in range(3):
        keepalive.say({"ID": lease})
        assert keepalive.hear()["result"]["TTL"] == "60"
    ask("lease/revoke", {"ID": lease})
    keepalive.say({"ID": lease})
    result = keepalive.hear()["result"]
    assert (result["ID"], result.get("TTL")) == (lease, None)


def test_what_takes_one_message_answers_the_first(
    dial: Dial, ask: Ask, prefix: str, target: Target
) -> None:
    if not differs("one-message-by-websocket", target):
        return
    name, lease = b64(f"{prefix}name"), ask("lease/grant", {"TTL": 60})["ID"]
    leader = ask("election/campaign", {"name": name, "lease": lease, "value": b64("x")})["leader"]
    observe = dial("/v3/election/observe")
    observe.say({"name": name})
    assert observe.hear()["result"]["kv"]["value"] == b64("x")
    ask("election/proclaim", {"leader": leader, "value": b64("y")})
    assert observe.hear()["result"]["kv"]["value"] == b64("y")
    put = dial("/v3/kv/put")
    put.say({"key": name})
    assert put.hear()["header"]["revision"]


def test_what_is_no_json_ends_the_stream_with_an_error(dial: Dial) -> None:
    watch = dial("/v3/watch")
    watch.connection.send("x")
    assert watch.hear()["error"]
    with pytest.raises(ConnectionClosed):
        watch.connection.recv(CALL_MAX_S)


def test_outside_of_the_gateway_it_is_a_request_like_any_other(dial: Dial) -> None:
    for path, status in (("/health", 200), ("/version", 200), ("/nowhere", 404)):
        with pytest.raises(InvalidStatus) as caught:
            dial(path)
        assert caught.value.response.status_code == status


def test_a_token_may_be_given_as_a_protocol_and_any_page_may_ask(dial: Dial) -> None:
    watch = dial("/v3/watch", subprotocols=["Bearer", "token"], origin="http://elsewhere")
    assert watch.connection.subprotocol == "Bearer"
    assert dial("/v3/watch").connection.subprotocol is None
