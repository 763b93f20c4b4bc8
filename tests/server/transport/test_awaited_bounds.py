"""What a request whose body is still to come may take: of the windows, of memory and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hpack
import pytest

from server.transport import connection, requests
from server.transport.frames import (
    END_HEADERS,
    HEADERS,
    ErrorCode,
    frame,
    settings,
    window_update,
)
from server.transport.hpack import encode
from server.transport.peer import CONNECTION_WINDOW_BYTES
from server.transport.requests import BLOCKS_MAX
from tests.server.transport.native import Client
from tests.server.transport.support import REQUEST, data, prefixed
from tests.support.loop import in_loop

E = ErrorCode


@in_loop
async def test_no_more_is_said_than_the_connections_window_and_a_frame_take() -> None:
    client = Client()
    client.know("Large")
    client.send(settings((4, 1 << 20)), client.open("Large"))
    client.send(data(client.last_id, prefixed(b"16380")))
    assert client.heard(client.last_id).messages == [bytes(16_380)]
    assert client.longest == 16_384, "of an answer that is one byte longer"
    client.send(settings((5, 1 << 20)), client.open("Large"))
    left = client.connection.window
    client.send(data(client.last_id, prefixed(b"%d" % (left - 4))))
    assert client.connection.window == 0
    assert len(client.heard(client.last_id).body) == left
    client.send(window_update(0, 1000))
    assert client.heard(client.last_id).messages == [bytes(left - 4)]
    assert client.connection.window == 999
    assert client.is_over


@in_loop
async def test_the_connections_window_is_given_back() -> None:
    client = Client()
    client.know("Echo")
    client.send(settings((4, 1 << 30)), window_update(0, 1 << 30))
    taken = 0
    for _ in range(3 * CONNECTION_WINDOW_BYTES // 16_384):
        client.send(client.open(), data(client.last_id, prefixed(bytes(16_379))))
        assert client.heard(client.last_id).status == b"0"
        taken += 16_384
        assert client.granted >= taken - CONNECTION_WINDOW_BYTES


@pytest.mark.parametrize(("over", "code"), [(0, None), (1, E.REFUSED_STREAM)])
def test_beyond_the_backlog_none_is_awaited(
    over: int, code: ErrorCode | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_loop
    async def scenario() -> None:
        client = Client()
        client.know("Echo")
        client.know("Large")
        client.send(settings((4, 0)), client.open("Large"))
        client.send(data(client.last_id, prefixed(b"995")))
        assert client.connection.backlog_bytes == 1000
        client.heard(0)
        for module in (connection, requests):
            monkeypatch.setattr(module, "BACKLOG_BYTES_MAX", 1000 - over)
        client.send(client.open())
        assert client.heard(client.last_id).reset is code
        assert client.is_awaited(client.last_id) == (code is None)

    scenario()


def _same_block() -> Callable[[Client, str], bytes]:
    return lambda client, name: client.open(name, grpc_timeout=b"5S")


def _same_fields() -> Callable[[Client, str], bytes]:
    """Each block is another, and puts its timeout into the table, as some clients do."""
    encoder = hpack.Encoder()
    times = iter((b"5S", b"5000m", b"5000000u"))

    def timed(client: Client, name: str) -> bytes:
        client.last_id += 2
        fields = [*REQUEST[:2], (b":path", b"/f.S/" + name.encode()), *REQUEST[3:]]
        block = encoder.encode([*fields, (b"grpc-timeout", next(times))])
        return frame(HEADERS, END_HEADERS, client.last_id, block)

    return timed


@pytest.mark.parametrize("name", ["Echo", "Talk"])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("make", [_same_block, _same_fields])
@in_loop
async def test_a_time_runs_from_the_head_on_whenever_the_body_comes(
    name: str, pieces: int, make: Callable[[], Callable[[Client, str], bytes]]
) -> None:
    client, timed = Client(), make()
    for _ in range(2):
        client.send(timed(client, name), data(client.last_id, prefixed(b"1")))
        assert client.heard(client.last_id).status == b"0"
    assert not client.server.host._waiting
    client.send(timed(client, name))
    assert not client.is_awaited(client.last_id), "it waits, and for no longer than that"
    assert not client.connection._timed
    if pieces == 2:
        client.send(data(client.last_id, prefixed(b"1")[:4], flags=0))
    client.clock.jump(5 - 2**-10)
    client.server.host.expire()
    assert client.heard(client.last_id).status is None
    client.clock.jump(2**-10)
    client.server.host.expire()
    await asyncio.sleep(0)
    assert client.heard(client.last_id).status == b"4"
    assert client.is_over


@in_loop
async def test_heads_that_differ_by_their_timeout_alone_are_one_and_their_times_are_two() -> None:
    client = Client()
    encoder = hpack.Encoder()  # It puts every field into the table, as some clients do.

    def call(stream_id: int, *more: tuple[bytes, bytes]) -> None:
        fields = [*REQUEST[:2], (b":path", b"/f.S/Late"), *REQUEST[3:], *more]
        head = frame(HEADERS, END_HEADERS, stream_id, encoder.encode(fields))
        client.send(head, data(stream_id, prefixed(b"1")))

    async def passes(seconds: float) -> None:
        client.clock.jump(seconds)
        client.server.host.expire()
        await asyncio.sleep(0)

    for stream_id, text, seconds in ((1, b"7S", 7), (3, b"3000m", 3), (5, b"7S", 7)):
        call(stream_id, (b"grpc-timeout", text))
        await passes(seconds - 2**-10)
        assert client.heard(stream_id).status is None
        await passes(2**-10)
        assert client.heard(stream_id).status == b"4"
        assert client.is_over
    assert len(client.connection._known) == 1
    assert not client.server.host._waiting
    call(7)
    assert len(client.connection._known) == 1
    await passes(1e6)
    assert client.heard(7).status is None, "it has no time"
    call(9, (b"x-other", b"1"))
    assert len(client.connection._known) == 2


@in_loop
async def test_a_head_is_known_again_when_the_table_has_moved_on() -> None:
    """Go's client puts each timeout it has not used lately into the table."""
    client = Client()
    encoder = hpack.Encoder()
    blocks, heads = [], []
    for stream_id, text in enumerate((b"5S", b"6S", b"5S", b"7S", b"5S", b"6S")):
        fields = [*REQUEST[:2], (b":path", b"/f.S/Late"), *REQUEST[3:], (b"grpc-timeout", text)]
        blocks.append(encoder.encode(fields))
        client.send(frame(HEADERS, END_HEADERS, 2 * stream_id + 1, blocks[-1]))
        stream: Any = client.connection._streams[2 * stream_id + 1]
        heads.append(stream.head)
    assert len(set(blocks)) == len(blocks)
    assert [head.timeout_s for head in heads] == [5, 6, 5, 7, 5, 6]
    assert heads[0] is heads[2] is heads[4]
    assert heads[1] is heads[5]


WRONG_TIMES: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "no time": (*REQUEST, (b"grpc-timeout", b"soon")),
    "no text": (*REQUEST, (b"grpc-timeout", b"5\nS")),
    "in front": ((b"grpc-timeout", b"5S"), *REQUEST),
    "among the pseudo-headers": (*REQUEST[:3], (b"grpc-timeout", b"5S"), *REQUEST[3:]),
    "the last of two": (*REQUEST, (b"grpc-timeout", b"5S"), (b"grpc-timeout", b"x")),
}


@pytest.mark.parametrize("kind", WRONG_TIMES)
@in_loop
async def test_a_timeout_that_is_none_or_not_in_its_place_is_malformed(kind: str) -> None:
    """RFC 9113 section 8.3, though all else of the head is known."""
    client = Client()
    right = (*REQUEST, (b"grpc-timeout", b"5S"))
    for stream_id, fields, code in ((1, right, None), (3, WRONG_TIMES[kind], E.PROTOCOL_ERROR)):
        client.send(frame(HEADERS, END_HEADERS, stream_id, encode(fields)))
        assert client.heard(stream_id).reset is code


@in_loop
async def test_as_many_heads_are_known_as_blocks_are_remembered() -> None:
    client = Client()
    for number in range(BLOCKS_MAX + 5):
        client.send(client.open(x_number=b"%d" % number, grpc_timeout=b"5S"))
        assert len(client.connection._known) == 1 + number % BLOCKS_MAX
        assert len(client.connection._by_fields) == 1 + number % BLOCKS_MAX
        assert len(client.connection._heads) == 1 + number % BLOCKS_MAX
