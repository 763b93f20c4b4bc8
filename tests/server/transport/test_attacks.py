"""Attacks on a server that serves others: each costs the attacker its connection or its stream,
and nobody else anything. What each bound is exactly, `test_floods.py` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Final

import pytest
from hyperframe.frame import GoAwayFrame

from etcdpb.rpc_pb2 import RangeRequest
from server.transport.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    SETTINGS,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from server.transport.hpack import encode
from server.transport.native import NativeProtocol
from server.transport.peer import STREAM_WINDOW_BYTES
from server.transport.sending import SEND_AHEAD_BYTES
from server.transport.streaming import MESSAGE_OVERHEAD_BYTES, StreamingCall
from tests.server.transport.sockets import OPENING, Raw, native, protocols, raw, request, watch
from tests.server.transport.support import block, call, data, headers, prefixed
from tests.server.transport.test_floods import FLOODS
from tests.support.client import until
from tests.support.clock import FakeClock
from tests.support.serving import Running, running

PUTS: Final = 20  # Of the others, at the least, while an attack goes on.
AT_ONCE: Final = 500  # Frames in one piece of a flood.


def ids() -> Iterator[int]:
    """Of streams that no client of these tests has used."""
    return count(1001, 2)


def rapid_reset() -> Iterator[bytes]:
    for number in ids():
        yield headers(number) + rst_stream(number, ErrorCode.CANCEL)


def made_you_reset() -> Iterator[bytes]:
    for number in ids():
        yield call(number, method=b"Echo") + window_update(number, 0)


def endless_headers() -> Iterator[bytes]:
    yield headers(1001, flags=0)
    while True:
        yield frame(CONTINUATION, 0, 1001, block(token=b"x" * 5000))


def continuations_of_nothing() -> Iterator[bytes]:
    yield headers(1001, flags=0)
    while True:
        yield frame(CONTINUATION, 0, 1001)


def hpack_bomb() -> Iterator[bytes]:
    bomb = encode(((b"a", b"x" * 4000),)).replace(b"\0", b"\x40", 1)
    for number in ids():
        yield frame(HEADERS, END_HEADERS, number, bomb + b"\xbe" * 12_000)


def hpack_table_too_large() -> Iterator[bytes]:
    for number in ids():
        yield frame(HEADERS, END_HEADERS, number, b"\x3f\xe1\xff\x03" + block())


def huge_frames() -> Iterator[bytes]:
    while True:
        yield frame(DATA, 0, 1, bytes(1 << 20))


def noise() -> Iterator[bytes]:
    while True:
        yield bytes(range(256)) * 40


def flood(piece: bytes) -> Iterator[bytes]:
    yield headers(3, te=b"gzip")
    while True:
        yield piece


ATTACKS: Final[dict[str, tuple[Callable[[], Iterator[bytes]], ErrorCode]]] = {
    "rapid reset": (rapid_reset, ErrorCode.ENHANCE_YOUR_CALM),
    "made you reset": (made_you_reset, ErrorCode.ENHANCE_YOUR_CALM),
    "headers without end": (endless_headers, ErrorCode.ENHANCE_YOUR_CALM),
    "continuations of nothing": (continuations_of_nothing, ErrorCode.ENHANCE_YOUR_CALM),
    "HPACK bomb": (hpack_bomb, ErrorCode.COMPRESSION_ERROR),
    "HPACK table above its limit": (hpack_table_too_large, ErrorCode.COMPRESSION_ERROR),
    "frames above their limit": (huge_frames, ErrorCode.FRAME_SIZE_ERROR),
    "noise": (noise, ErrorCode.FRAME_SIZE_ERROR),
    **{
        f"flood of {name}": (partial(flood, piece), ErrorCode.ENHANCE_YOUR_CALM)
        for name, piece in FLOODS.items()
    },
}


async def assault(
    attacker: Raw, pieces: Iterator[bytes], server: Running, at: NativeProtocol
) -> None:
    """Send until the server has had enough."""
    while at in protocols(server):
        batch = [next(pieces) for _ in range(AT_ONCE)]
        try:
            await attacker.send(*batch)
        except ConnectionError:
            return


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_ends_its_connection_and_the_others_lose_nothing(kind: str) -> None:
    make, code = ATTACKS[kind]

    async def scenario() -> None:
        # The clock stands still, so nothing is forgiven.
        async with (
            running(transport="native", clock=FakeClock()) as server,
            raw(server, OPENING + watch(1, b"k")) as attacker,
        ):
            await attacker.next(DATA)
            (at,) = protocols(server)
            watching = server.client.watching()
            await watching.create(b"k")
            reading = asyncio.ensure_future(attacker.rest())
            attack = asyncio.ensure_future(assault(attacker, make(), server, at))
            puts = 0
            while puts < PUTS or not attack.done():
                puts += 1
                await server.client.put(b"k", b"%d" % puts)
            await attack
            *_, last = await reading
            assert isinstance(last, GoAwayFrame)
            assert last.error_code == code
            seen = [each.kv.value for each in await watching.receive_events(puts)]
            assert seen == [b"%d" % (each + 1) for each in range(puts)]
            await until(lambda: len(server.hub) == 1)

    asyncio.run(scenario())


# --- what is bounded without an end ---


async def others_are_served(server: Running) -> bool:
    await server.client.put(b"other", b"served")
    return (await server.client.get(b"other")).kvs[0].value == b"served"


@pytest.mark.parametrize("streams_max", [1, 50])
def test_streams_that_are_opened_and_left_are_so_many_and_no_more(streams_max: int) -> None:
    async def scenario() -> None:
        async with (
            running(
                transport="native", clock=FakeClock(), max_concurrent_streams=streams_max
            ) as server,
            raw(server) as attacker,
        ):
            numbers = [1 + 2 * number for number in range(1000)]
            put = b"/etcdserverpb.KV/Put"
            await attacker.send(*(headers(number, _path=put) for number in numbers))
            resets = [(await attacker.next(3)).stream_id for _ in numbers[streams_max:]]
            assert resets == numbers[streams_max:]
            assert len(protocols(server)[0].connection) == streams_max
            assert await others_are_served(server)

    asyncio.run(scenario())


def test_a_watch_that_nobody_reads_holds_no_more_than_is_stated() -> None:
    async def scenario() -> None:
        value = bytes(100_000)
        async with (
            running(transport="native", clock=FakeClock()) as server,
            raw(server, OPENING + watch(1, b"a")) as slow,
        ):
            await slow.next(DATA)
            await slow.send(settings((4, 0)))
            await slow.next(SETTINGS)
            for _ in range(5):
                await server.put_many(100, value)
            (stream,) = native(server).host.streams
            assert stream.unsent_bytes < SEND_AHEAD_BYTES + 2 * len(value)
            assert server.hub.behind_count == 1, "what does not fit is read again from history"
            assert await others_are_served(server)

    asyncio.run(scenario())


def test_what_all_streams_send_ahead_is_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.transport.sending.AHEAD_BYTES_MAX", 100_000)

    async def scenario() -> None:
        value = bytes(50_000)
        async with running(transport="native", clock=FakeClock()) as server:
            host = native(server).host
            async with (
                raw(server, OPENING + settings((4, 0)) + watch(1, b"a")) as slow,
                raw(server, OPENING + settings((4, 0)) + watch(1, b"a")) as slower,
            ):
                await until(lambda: len(server.hub) == 2)
                for _ in range(5):
                    await server.put_many(2, value)
                assert host.ahead_bytes == sum(each.unsent_bytes for each in host.streams)
                assert 100_000 <= host.ahead_bytes < 350_000, "and one by one, twice 256 KiB"
                await slow.send(window_update(1, 10_000_000), window_update(0, 10_000_000))
                await until(lambda: host.ahead_bytes < 200_000)
                assert await others_are_served(server)
                slower.close()
                slow.close()
                await until(lambda: host.ahead_bytes == 0)

    asyncio.run(scenario())


def test_a_stream_whose_requests_are_not_read_holds_no_more_than_is_stated() -> None:
    """The answers to its requests cannot be sent, so they are not read: five octets each."""

    async def scenario() -> None:
        async with (
            running(transport="native", clock=FakeClock()) as server,
            raw(server) as attacker,
        ):
            create = watch(1, b"a")
            await attacker.send(settings((4, 0)), create)
            message = create[len(headers(1, _path=b"/etcdserverpb.Watch/Watch")) + 9 :]
            sent = 0
            while sent + 16_384 < STREAM_WINDOW_BYTES // 4:
                piece = message * (16_000 // len(message))
                await attacker.send(data(1, piece, flags=0))
                sent += len(piece)
            (stream,) = native(server).host.streams
            assert isinstance(stream, StreamingCall)
            connection = protocols(server)[0].connection
            await until(lambda: connection.held_bytes > 0)
            worst = STREAM_WINDOW_BYTES * (1 + MESSAGE_OVERHEAD_BYTES // len(prefixed(b"")))
            assert connection.held_bytes <= worst
            assert await others_are_served(server)

    asyncio.run(scenario())


def test_a_large_range_that_nobody_takes_is_refused_beyond_the_backlog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("connection", "requests"):
        monkeypatch.setattr(f"server.transport.{module}.BACKLOG_BYTES_MAX", 10_000_000)

    async def scenario() -> None:
        async with (
            running(transport="native", clock=FakeClock()) as server,
            raw(server) as slow,
        ):
            await server.put_many(1, bytes(1_000_000))
            everything = RangeRequest(key=b"\0", range_end=b"\0")
            await slow.send(
                *(request(1 + 2 * number, "KV/Range", everything) for number in range(50))
            )
            refused = await slow.next(3)
            assert refused.error_code == ErrorCode.REFUSED_STREAM
            assert protocols(server)[0].connection.backlog_bytes < 12_000_000
            assert await others_are_served(server)

    asyncio.run(scenario())
