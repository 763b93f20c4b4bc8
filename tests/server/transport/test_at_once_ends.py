"""How calls of streams end whose messages are answered at once: well or not, and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from server import status
from server.transport.frames import (
    END_STREAM,
    ErrorCode,
    rst_stream,
    settings,
    window_update,
)
from server.transport.host import UNTAKEN_S
from server.transport.wire import TRUNCATED
from tests.server.transport.native import LATER, REFUSED, Client, count_of, opened
from tests.server.transport.support import LIMIT_BYTES, REFUSAL, data, prefixed
from tests.support.clock import settle
from tests.support.loop import in_loop

E = ErrorCode
GIVES_NO_WINDOW: Final = settings((4, 0))
TOO_LARGE: Final = b"\0" + (LIMIT_BYTES + 1).to_bytes(4, "big")


def _in_one(stream_id: int, body: bytes) -> list[bytes]:
    return [data(stream_id, body)]


def _apart(stream_id: int, body: bytes) -> list[bytes]:
    return [data(stream_id, body, flags=0), data(stream_id, b"")]


@pytest.mark.parametrize("before", [b"", prefixed(b"a"), prefixed(b"a") + prefixed(LATER)])
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("ending", [_in_one, _apart])
@in_loop
async def test_an_end_within_a_message_is_told_behind_the_answers(
    before: bytes, is_whole: bool, ending: Callable[[int, bytes], list[bytes]]
) -> None:
    client, stream_id = opened()
    if is_whole:
        client.send(data(stream_id, b""), client.open("Talk"))
        stream_id = client.last_id
    client.send(*ending(stream_id, before + b"\0\0\0\0\2x"))
    await settle()
    heard = client.heard(stream_id)
    assert len(heard.messages) == before.count(b"\0\0\0\0\1")
    assert heard.status == b"%d" % TRUNCATED.code
    assert heard.fields[b"grpc-message"] == TRUNCATED.message.encode()
    assert count_of(client)[1:3] == (1 + is_whole, {TRUNCATED.code: 1})


@pytest.mark.parametrize("before", [b"", prefixed(b"a")])
@pytest.mark.parametrize("flags", [0, END_STREAM])
@in_loop
async def test_a_message_above_the_limit_is_refused_and_never_left_waiting(
    before: bytes, flags: int
) -> None:
    client = Client()
    client.know("Talk")
    client.send(client.open("Talk"), data(client.last_id, before + TOO_LARGE, flags=flags))
    await settle()
    heard = client.heard(client.last_id)
    assert heard.messages == ([b"aa"] if before else [])
    assert heard.status == b"%d" % status.Code.RESOURCE_EXHAUSTED
    assert count_of(client)[:3] == (2, 1, {status.Code.RESOURCE_EXHAUSTED: 1})


@pytest.mark.parametrize("before", [[], [b"a"], [LATER], [b"a", LATER, b"b"]])
@in_loop
async def test_a_half_close_ends_it_well_in_every_state(before: list[bytes]) -> None:
    client, stream_id = opened()
    for each in before:
        client.send(data(stream_id, prefixed(each), flags=0))
        await settle()
    client.send(data(stream_id, b""))
    await settle()
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([each * 2 for each in before], b"0")
    assert count_of(client)[:3] == (2, 2, {})


@pytest.mark.parametrize("before", [[], [b"a"], [LATER]])
@pytest.mark.parametrize("way", ["reset", "lost", "stopped", "late"])
@in_loop
async def test_an_end_from_outside_is_counted_once_and_leaves_nothing(
    before: list[bytes], way: str
) -> None:
    client = Client()
    client.know("Talk")
    timeout = b"5S" if way == "late" else None
    client.send(client.open("Talk", grpc_timeout=timeout), data(client.last_id, b"", flags=0))
    for each in before:
        client.send(data(client.last_id, prefixed(each), flags=0))
        await settle()
    code = status.Code.CANCELLED
    if way == "reset":
        client.send(rst_stream(client.last_id, E.CANCEL))
    elif way == "lost":
        client.protocol.connection_lost(None)
    elif way == "late":
        client.clock.jump(5 - 2**-10)
        client.server.host.expire()
        await settle()
        assert client.host_streams == 1
        client.clock.jump(2**-10)
        client.server.host.expire()
        code = status.Code.DEADLINE_EXCEEDED
    else:
        await client.server.drain(5)
        code = status.SERVER_STOPPED.code
    await settle()
    assert count_of(client)[:3] == (2, 1, {code: 1})
    heard = client.heard(client.last_id)
    if way in ("reset", "lost"):
        assert heard.status is None
    else:
        assert (heard.status, heard.is_ended) == (b"%d" % code, True)
        assert heard.messages == [each * 2 for each in before]
        assert heard.reset is E.NO_ERROR, "the client need not send its end any more"
    if way == "stopped":
        assert heard.fields[b"grpc-message"] == b"etcdserver: server stopped"


@pytest.mark.parametrize("way", ["reset", "lost", "stopped", "late", "answered"])
@in_loop
async def test_a_call_that_came_whole_and_is_the_coroutines_ends_as_any_other(way: str) -> None:
    client = Client()
    client.know("Talk")
    client.methods.gate.clear()
    client.send(client.open("Talk", grpc_timeout=b"5S"))
    client.send(client.open("Talk", grpc_timeout=b"5S"), data(client.last_id, prefixed(LATER)))
    client.send(rst_stream(client.last_id - 2, E.CANCEL))
    await settle()
    assert (client.host_streams, client.methods.begun, client.counts.active) == (1, 1, 1)
    code = status.Code.CANCELLED
    if way == "reset":
        client.send(rst_stream(client.last_id, E.CANCEL))
    elif way == "lost":
        client.protocol.connection_lost(None)
    elif way == "late":
        client.clock.jump(5)
        client.server.host.expire()
        code = status.Code.DEADLINE_EXCEEDED
    elif way == "stopped":
        await client.server.drain(5)
        code = status.SERVER_STOPPED.code
    else:
        client.methods.gate.set()
    await settle()
    heard = client.heard(client.last_id)
    assert heard.reset is None
    if way == "answered":
        assert (heard.messages, heard.status) == ([LATER * 2], b"0")
        assert count_of(client)[:3] == (3, 2, {status.Code.CANCELLED: 1})
        return
    assert heard.status == (None if way in ("reset", "lost") else b"%d" % code)
    failed = {status.Code.CANCELLED: 1, code: 1 + (code is status.Code.CANCELLED)}
    assert count_of(client)[:3] == (3, 1, failed)
    assert not client.server.host._waiting


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("way", ["taken", "reset", "lost", "untaken"])
@in_loop
async def test_a_call_that_is_served_but_not_taken_has_ended_once(is_whole: bool, way: str) -> None:
    client = Client()
    client.know("Talk")
    client.send(GIVES_NO_WINDOW)
    client.send(client.open("Talk"))
    stream_id = client.last_id
    if not is_whole:
        client.send(data(stream_id, b"", flags=0))
    client.send(data(stream_id, prefixed(b"a")))
    counts = client.counts
    assert (counts.started, counts.ok, counts.active) == (2, 2, 0)
    assert client.host_streams == 0, "the service is done with it"
    assert len(client.connection) == 1
    if way == "taken":
        client.send(window_update(stream_id, 100))
    elif way == "reset":
        client.send(rst_stream(stream_id, E.CANCEL))
    elif way == "lost":
        client.protocol.connection_lost(None)
    else:
        client.clock.jump(UNTAKEN_S)
        client.server.host.expire()
        await settle()
    heard = client.heard(stream_id)
    assert heard.status == (b"0" if way == "taken" else None)
    assert heard.reset is (E.CANCEL if way == "untaken" else None)
    assert not client.server.host._waiting
    assert count_of(client)[:3] == (2, 2, {})


@in_loop
async def test_what_was_answered_before_a_refusal_is_not_taken_back() -> None:
    client, stream_id = opened()
    client.send(data(stream_id, prefixed(b"a") + prefixed(REFUSED) + prefixed(b"b")))
    await settle()
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([b"aa"], b"%d" % REFUSAL.code)
    assert count_of(client)[:3] == (2, 1, {REFUSAL.code: 1})


@in_loop
async def test_a_stop_between_an_answer_and_its_packing_takes_nothing_back() -> None:
    client, stream_id = opened()
    client.connection.receive(data(stream_id, prefixed(b"a"), flags=0))
    await client.server.drain(5)
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([b"aa"], b"14")
    assert count_of(client)[:3] == (2, 1, {14: 1})
