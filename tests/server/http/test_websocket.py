"""The gateway by WebSocket: what goes in, what comes out, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.http.websocket import WebSockets
from server.metrics.exposition import render
from tests.server.http.sockets import connect, handshake, hear, say
from tests.server.http.support import ask, b64, web, wired
from tests.server.metrics import parse
from tests.support.client import until
from tests.support.serving import Running
from tests.support.waits import queued

STOPPED = "etcdserver: server stopped"


async def close_code(socket: Any) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        await socket.recv()
    assert caught.value.rcvd is not None
    return int(caught.value.rcvd.code)


@web()
async def test_a_watch_goes_both_ways(server: Running) -> None:
    async with connect(server, "/v3/watch") as socket:
        await say(socket, {"create_request": {"key": b64("a")}})
        assert (await hear(socket))["result"]["created"] is True
        await server.client.put(b"a", b"1")
        (event,) = (await hear(socket))["result"]["events"]
        assert event["kv"]["value"] == b64("1")
        await say(socket, {"create_request": {"key": b64("b"), "watch_id": 7}})
        assert (await hear(socket))["result"]["watch_id"] == "7"
        await say(socket, {"cancel_request": {"watch_id": 7}})
        assert (await hear(socket))["result"]["canceled"] is True
        assert server.streams == 1
    await until(lambda: not server.streams)
    handled = parse(render(server.core.metrics).decode()).handled("Watch", "Watch", "bidi_stream")
    assert handled == {"Canceled": 1}


@web()
async def test_keepalives_are_answered_one_by_one(server: Running) -> None:
    await server.client.grant(60, 5)
    async with connect(server, "/v3/lease/keepalive") as socket:
        for lease, ttl in (("5", "60"), ("6", None), ("5", "60")):
            await say(socket, {"ID": lease})
            result = (await hear(socket))["result"]
            assert (result["ID"], result.get("TTL")) == (lease, ttl)


@web()
async def test_what_is_no_stream_is_answered_and_ended(server: Running) -> None:
    async with connect(server, "/v3/kv/put") as socket:
        await say(socket, {"key": b64("a"), "value": b64("1")})
        assert (await hear(socket))["header"]["revision"] == "2"
        assert await close_code(socket) == 1000
    assert (await server.client.get(b"a")).count == 1


@web()
async def test_binary_messages_and_objects_that_share_one_mean_the_same(server: Running) -> None:
    create = json.dumps({"create_request": {"key": b64("a")}})
    async with connect(server, "/v3beta/watch") as socket:
        await socket.send(create.encode())
        assert "watch_id" not in (await hear(socket))["result"]
        await socket.send(create + create)
        assert [(await hear(socket))["result"]["watch_id"] for _ in range(2)] == ["1", "2"]


@web()
async def test_an_object_does_not_go_on_in_the_next_message(server: Running) -> None:
    async with connect(server, "/v3/lease/keepalive") as socket:
        await socket.send('{"ID": "1')
        await socket.send('2"}')
        assert (await hear(socket))["error"]["code"] == 3


@web()
async def test_a_refusal_is_a_message_and_then_it_ends(server: Running) -> None:
    async with connect(server, "/v3/kv/put") as socket:
        await say(socket, {})
        text = "etcdserver: key is not provided"
        assert await hear(socket) == {"error": text, "code": 3, "message": text}
        assert await close_code(socket) == 1000
    async with connect(server, "/v3/nowhere") as socket:
        assert (await hear(socket))["code"] == 5
        assert await close_code(socket) == 1000
    async with connect(server, "/v3/watch") as socket:
        await socket.send("x")
        assert (await hear(socket))["error"]["http_code"] == 400
        assert await close_code(socket) == 1000


@web()
async def test_bytes_that_are_no_text_are_refused_and_not_logged(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/v3/kv/put", "/v3/watch"):
        async with connect(server, path) as socket:
            await socket.send(b'{"key": "\xff"}', text=True)
            reply = await hear(socket)
            assert reply.get("error", reply)
            assert await close_code(socket) == 1000
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@web()
async def test_elsewhere_a_request_for_a_websocket_is_one_like_any_other(server: Running) -> None:
    for path, status in (("/health", 200), ("/version", 200), ("/nowhere", 404)):
        with pytest.raises(InvalidStatus) as caught:
            await connect(server, path)
        assert caught.value.response.status_code == status


@web(enable_grpc_gateway=False)
async def test_without_the_gateway_there_is_none(server: Running) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(server, "/v3/watch")
    assert caught.value.response.status_code == 404


@web(host_whitelist=("a",), cors=("http://a",))
async def test_hosts_are_looked_at_and_origins_are_not(server: Running) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(server, "/v3/watch")
    assert caught.value.response.status_code == 421
    path = "/v3/lease/keepalive"
    async with connect(server, path, host="a", origin="http://b") as socket:
        await say(socket, {"ID": "1"})
        assert (await hear(socket))["result"]["ID"] == "1"


@web()
async def test_a_post_that_asks_for_one_is_a_post(server: Running) -> None:
    async with wired(server) as wire:
        more = "Content-Length: 2\r\n"
        await wire.send(handshake("/v3/kv/range", method="POST", more=more) + b"{}")
        status, headers = await wire.head()
        assert status == 400
        assert json.loads(await wire.body(headers))["message"] == "etcdserver: key is not provided"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake("/v3/watch", version=12), 400),
        (handshake("/v3/watch").replace(b"AAAA==", b"!"), 400),
        (handshake("/v3/watch", more="x: y\r\n" * 200), 431),
        (handshake("/v3/watch", more=f"x: {'y' * 20_000}\r\n"), 431),
        (handshake(f"/v3/watch?{'y' * 20_000}"), 414),
    ],
)
@web()
async def test_a_handshake_that_is_none_is_refused_and_the_connection_ends(
    server: Running, request_: bytes, status: int
) -> None:
    async with wired(server) as wire:
        await wire.send(request_)
        assert (await wire.head())[0] == status
        await wire.rest()
    await until(lambda: not server.front.web.sockets)
    assert not server.front.web.connections


# --- who asks ---


@pytest.mark.parametrize(
    ("headers", "token", "protocol"),
    [
        ({}, None, None),
        ({"sec-websocket-protocol": "Bearer, abc"}, b"abc", "Bearer"),
        ({"sec-websocket-protocol": "Bearer,abc"}, b"abc", "Bearer"),
        ({"sec-websocket-protocol": "Bearer"}, None, "Bearer"),
        ({"sec-websocket-protocol": "chat"}, None, None),
        ({"cookie": "a=b; token=abc"}, b"abc", None),
        ({"cookie": "token=abc", "sec-websocket-protocol": "Bearer, d"}, b"abc", "Bearer"),
        ({"authorization": "abc"}, None, None),  # etcd's does not pass it on either.
        # A cookie comes along whichever page it is that asks.
        ({"cookie": "token=abc", "origin": "https://a", "host": "a"}, b"abc", None),
        ({"cookie": "token=abc", "origin": "https://a", "host": "a:1"}, None, None),
        ({"cookie": "token=abc", "origin": "https://b", "host": "a"}, None, None),
        ({"cookie": "token=abc", "origin": "null", "host": "a"}, None, None),
        ({"cookie": "token=abc", "origin": "https://named", "host": "a"}, b"abc", None),
        (
            {
                "cookie": "token=abc",
                "origin": "https://b",
                "host": "a",
                "sec-websocket-protocol": "Bearer, d",
            },
            b"d",
            "Bearer",
        ),
    ],
)
@web()
async def test_the_token_comes_as_a_protocol_or_a_cookie(
    headers: dict[str, str], token: bytes | None, protocol: str | None
) -> None:
    asked: list[Scope] = []
    said: list[Message] = []

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        asked.append(scope)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/v3/watch",
        "query_string": b"method=GET",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await WebSockets(gateway, ("*", "https://named"))(scope, receive, send)
    (request,) = asked
    assert (request["type"], request["method"], request["scheme"]) == ("http", "POST", "https")
    assert dict(request["headers"]).get(b"authorization") == token
    assert said[0].get("subprotocol") == protocol
    assert [message["type"] for message in said] == ["websocket.accept", "websocket.close"]


@web()
async def test_with_authentication_the_token_is_the_users(
    server: Running, client: httpx.AsyncClient
) -> None:
    for name, request in (
        ("user/add", {"name": "root", "password": "r"}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("enable", {}),
    ):
        await ask(client, f"auth/{name}", request)
    token = (await ask(client, "auth/authenticate", {"name": "root", "password": "r"}))["token"]
    for tokens, is_let_in in (([], False), (["Bearer", "x"], False), (["Bearer", token], True)):
        async with connect(server, "/v3/watch", subprotocols=tokens or None) as socket:
            await say(socket, {"create_request": {"key": b64("a")}})
            assert (await hear(socket))["result"].get("canceled", False) is not is_let_in


# --- what waits ---


@web()
async def test_a_lock_is_waited_for(server: Running, client: httpx.AsyncClient) -> None:
    for lease in (7, 8):
        await ask(client, "lease/grant", {"TTL": 60, "ID": lease})
    held = await ask(client, "lock/lock", {"name": b64("a"), "lease": 7})
    async with connect(server, "/v3/lock/lock") as socket:
        await say(socket, {"name": b64("a"), "lease": 8})
        await say(socket, {"name": b64("b"), "lease": 8})  # One too many, which nobody reads.
        await queued(server.client, b"a", 2)
        await ask(client, "lock/unlock", {"key": held["key"]})
        assert (await hear(socket))["key"] == b64("a/8")
        assert await close_code(socket) == 1000
    assert (await server.client.get(b"b/", b"b0")).count == 0


@web()
async def test_a_client_that_leaves_waits_for_no_lock_any_more(
    server: Running, client: httpx.AsyncClient
) -> None:
    for lease in (7, 8):
        await ask(client, "lease/grant", {"TTL": 60, "ID": lease})
    await ask(client, "lock/lock", {"name": b64("a"), "lease": 7})
    async with connect(server, "/v3/lock/lock") as socket:
        await say(socket, {"name": b64("a"), "lease": 8})
        await queued(server.client, b"a", 2)
    await until(lambda: not server.streams)
    assert [kv.key for kv in (await server.client.get(b"a/", b"a0")).kvs] == [b"a/7"]


# --- the server's end ---


@web()
async def test_when_the_server_ends_streams_are_told_why_and_the_rest_that_it_goes(
    server: Running,
) -> None:
    async with (
        connect(server, "/v3/watch") as watch,
        connect(server, "/v3/watch") as silent,
        connect(server, "/v3/kv/put") as unasked,
    ):
        await say(watch, {"create_request": {"key": b64("a")}})
        await hear(watch)
        await server.stop_serving()
        for socket in (watch, silent):
            assert (await hear(socket))["error"]["message"] == STOPPED
            assert await close_code(socket) == 1000
        assert await close_code(unasked) == 1001


@web()
async def test_a_client_that_vanishes_ends_its_stream(server: Running) -> None:
    async with connect(server, "/v3/watch") as socket:
        await say(socket, {"create_request": {"key": b64("a")}})
        await hear(socket)
        socket.transport.abort()
        await until(lambda: not server.streams)
    await until(lambda: not server.front.web.sockets)
