"""Connections in time: which are ended, by what and when, and which may stay for ever."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame

from etcdpb.rpc_pb2 import PutRequest, RangeRequest
from server.transport.frames import (
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    ErrorCode,
    frame,
    window_update,
)
from server.transport.host import UNTAKEN_S
from server.transport.linger import LINGER_BYTES_MAX, LINGER_S
from server.transport.native import BEGIN_S, TICK_S, TICKS_PER_S, NativeServer
from tests.server.transport.native import Client
from tests.server.transport.sockets import (
    ACKNOWLEDGED,
    OPENING,
    WAIT_S,
    WIDE,
    native,
    protocols,
    raw,
    raw_tcp,
    request,
    watch,
)
from tests.server.transport.support import call, data, parsed, prefixed
from tests.support.authority import Authority
from tests.support.client import until
from tests.support.clock import FakeClock
from tests.support.loop import in_loop
from tests.support.secure import secure, trusting
from tests.support.serving import Running, running

HOUR_S = 3600
LOOKS_S = 2  # A connection is looked at once a second, and the clock may stand just behind a look.
INTERVAL_S, TIMEOUT_S = 30, 20


def timed(**settings: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[[], None]]:
    """A server whose time the test moves."""

    def decorate(scenario: Callable[..., Awaitable[None]]) -> Callable[[], None]:
        async def run() -> None:
            async with running(transport="native", clock=FakeClock(), **settings) as server:
                await scenario(server)

        @functools.wraps(scenario)
        def test() -> None:
            asyncio.run(run())

        del test.__wrapped__
        return test

    return decorate


# --- the beginning ---


@pytest.mark.parametrize(
    ("opening", "code"),
    [
        (PREFACE[:10], None),
        (PREFACE, ErrorCode.SETTINGS_TIMEOUT),
        (PREFACE + frame(SETTINGS, 0, 0), ErrorCode.SETTINGS_TIMEOUT),
        (PREFACE + ACKNOWLEDGED, ErrorCode.SETTINGS_TIMEOUT),
    ],
    ids=["half a preface", "no SETTINGS", "no acknowledgement", "an acknowledgement alone"],
)
def test_a_connection_that_does_not_begin_is_ended(opening: bytes, code: ErrorCode | None) -> None:
    """RFC 9113 section 6.5.3."""

    @timed()
    async def scenario(server: Running) -> None:
        async with raw(server, opening) as client:
            await until(lambda: bool(protocols(server)))
            await server.time.advance(BEGIN_S)
            assert protocols(server)
            await server.time.advance(LOOKS_S)
            ends = [each for each in await client.rest() if isinstance(each, GoAwayFrame)]
            assert [each.error_code for each in ends] == ([] if code is None else [code])

    scenario()


@timed()
async def test_a_connection_that_has_begun_may_stay(server: Running) -> None:
    async with raw(server) as client:
        await server.time.advance(3 * BEGIN_S)
        await client.send(frame(PING, 0, 0, b"12345678"))
        assert (await client.next(PING)).opaque_data == b"12345678"


# --- the end ---


@timed()
async def test_what_comes_behind_a_violation_is_dropped_and_the_client_reads_why(
    server: Running,
) -> None:
    """Closed at once, the socket would answer it with a reset, which may overtake the GOAWAY."""
    async with raw_tcp(server) as client:
        await client.send(frame(PING, 0, 0, b"short"))
        await until(lambda: bool(native(server).lingering))
        for _ in range(10):
            await client.send(bytes(100_000))
        *_, last = await client.rest()
        assert isinstance(last, GoAwayFrame)
        assert last.error_code == ErrorCode.FRAME_SIZE_ERROR
        await client.send(bytes(100_000))
        assert native(server).lingering
        client.close()
        await until(lambda: not native(server).lingering)


def test_over_tls_the_client_reads_why_as_well(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        authority = Authority.make(tmp_path)
        own = authority.issue("server")
        async with secure(
            "native", clock, cert_file=str(own.cert_file), key_file=str(own.key_file)
        ) as server:
            rpc = server.transport
            assert isinstance(rpc, NativeServer)
            reader, writer = await asyncio.open_unix_connection(
                server.socket, ssl=trusting(authority), server_hostname="localhost"
            )
            writer.write(OPENING + frame(PING, 0, 0, b"short") + bytes(100_000))
            await until(lambda: bool(rpc.lingering))
            writer.write(bytes(100_000))
            await clock.advance(LOOKS_S)
            async with asyncio.timeout(WAIT_S):
                *_, last = parsed(await reader.read())
            assert isinstance(last, GoAwayFrame)
            assert last.error_code == ErrorCode.FRAME_SIZE_ERROR
            writer.transport.abort()
            await until(lambda: not rpc.lingering)

    asyncio.run(scenario())


@timed()
async def test_no_more_is_dropped_than_may_have_been_on_its_way(server: Running) -> None:
    async with raw_tcp(server) as client:
        await client.send(frame(PING, 0, 0, b"short"))
        with pytest.raises(ConnectionError):
            await client.send(bytes(2 * LINGER_BYTES_MAX))
        assert not native(server).lingering


@timed()
async def test_a_client_that_does_not_go_is_let_go_of(server: Running) -> None:
    async with raw(server) as client:
        await client.send(frame(PING, 0, 0, b"short"))
        await until(lambda: bool(native(server).lingering))
        await server.time.advance(LINGER_S - 1)
        assert native(server).lingering
        await server.time.advance(LOOKS_S)
        assert not native(server).lingering


@timed()
async def test_an_end_that_cannot_be_told_is_not_waited_for(server: Running) -> None:
    """The socket is full, so the GOAWAY waits behind what nobody reads."""
    await server.put_many(1, bytes(1_000_000))
    range_all = request(1, "KV/Range", RangeRequest(key=b"\0", range_end=b"\0"))
    violation = frame(PING, 0, 0, b"short")
    unacknowledged = WIDE.replace(ACKNOWLEDGED, b"")
    async with raw(server, WIDE + range_all + violation), raw(server, unacknowledged + range_all):
        await until(lambda: bool(native(server).lingering))
        await until(lambda: any(each._is_paused for each in protocols(server)))
        await server.time.advance(LINGER_S + LOOKS_S)
        assert not native(server).lingering
        assert protocols(server)
        await server.time.advance(BEGIN_S + LOOKS_S)
        assert not protocols(server)


# --- silence ---


@timed()
async def test_an_idle_watch_lives_for_days_and_then_has_its_event(server: Running) -> None:
    """With the settings as they are: a PING each two hours, whose answer is all it ever says."""
    async with raw(server) as client:
        await client.send(watch(1, b"a"))
        await client.next(DATA)
        for _ in range(3 * 12):
            await server.time.advance(LOOKS_S)
            server.time.jump(2 * HOUR_S)
            await server.time.advance(LOOKS_S)
            await client.answer_ping()
            await until(lambda: all(each._is_heard for each in protocols(server)))
        await server.client.put(b"a", b"after three days")
        event = await client.next(DATA)
        assert isinstance(event, DataFrame)
        assert b"after three days" in event.data


@timed(grpc_keepalive_interval_s=INTERVAL_S, grpc_keepalive_timeout_s=TIMEOUT_S)
async def test_a_client_that_vanished_is_found_by_its_silence(server: Running) -> None:
    """Its machine is gone: nothing closes its socket. Another's calls go on meanwhile."""
    async with raw(server, OPENING + watch(1, b"a")) as client:
        await client.next(DATA)
        await server.client.put(b"b")
        assert len(protocols(server)) == 2
        assert len(server.hub) == 1
        await server.time.advance(INTERVAL_S + LOOKS_S)
        await client.next(PING)  # Which nobody answers.
        await server.client.put(b"b")
        await server.time.advance(TIMEOUT_S - LOOKS_S)
        assert len(server.hub) == 1
        await server.time.advance(2 * LOOKS_S)
        await until(lambda: not len(server.hub))
        await server.client.put(b"b")


# --- sockets that take nothing ---


def events_of(server: Running) -> Awaitable[None]:
    return server.put_many(5, bytes(1_000_000))


@timed(grpc_keepalive_interval_s=INTERVAL_S, grpc_keepalive_timeout_s=TIMEOUT_S)
async def test_who_takes_little_by_little_is_alive_though_the_ping_is_far_behind(
    server: Running,
) -> None:
    async with raw(server, WIDE + watch(1, b"a")) as client:
        await client.next(DATA)
        await events_of(server)
        await until(lambda: protocols(server)[0]._is_paused)
        for _ in range(2 * (INTERVAL_S + TIMEOUT_S) // 10):
            await server.time.advance(10)
            assert len(await client.read(100_000)) > 10_000
        assert protocols(server)
        await server.time.advance(INTERVAL_S + TIMEOUT_S + 2 * LOOKS_S)
        assert not protocols(server)


@timed()
async def test_unary_answers_in_a_full_socket_end_its_connection_and_a_watch_there_does_not(
    server: Running,
) -> None:
    await server.put_many(1, bytes(1_000_000))
    range_all = request(3, "KV/Range", RangeRequest(key=b"\0", range_end=b"\0"))
    async with raw(server, WIDE) as unary, raw(server, WIDE + watch(1, b"b")) as watching:
        await watching.next(DATA)
        await unary.send(range_all)
        await watching.send(range_all)
        await until(lambda: all(each._is_paused for each in protocols(server)))
        await server.time.advance(UNTAKEN_S - LOOKS_S)
        assert len(protocols(server)) == 2
        await server.time.advance(3 * LOOKS_S)
        assert len(protocols(server)) == 1
        # What the watch's client has not read yet is there, and the watch goes on.
        await server.client.put(b"b", b"later")
        seen = b""
        while b"later" not in seen:
            seen += await watching.read()
        assert len(seen) > 1_000_000


# --- windows that stay closed ---


@timed()
async def test_windows_that_are_never_opened_hold_up_nobody_and_answers_are_dropped(
    server: Running,
) -> None:
    await server.put_many(1, bytes(1_000_000))
    range_all = RangeRequest(key=b"\0", range_end=b"\0")
    async with raw(server, OPENING + watch(1, b"a")) as client:
        await client.next(DATA)
        for number in range(3, 43, 2):
            await client.send(request(number, "KV/Range", range_all))
        await until(lambda: len(protocols(server)[0].connection) == 21)
        await events_of(server)
        connection = protocols(server)[0].connection
        await server.time.advance(UNTAKEN_S + 1)
        assert len(connection) == 1, "the watch, which is never dropped for being slow"
        assert connection.backlog_bytes == 0
        # The connection's own window is used up by the first of the answers; the watch has it now.
        await client.send(window_update(0, 20_000_000), window_update(1, 20_000_000))
        sizes = 0
        while sizes < 5_000_000:
            event = await client.next(DATA)
            sizes += len(event.data) if event.stream_id == 1 else 0
        await client.send(call(101))
        assert (await client.next(HEADERS)).stream_id == 101


@timed()
async def test_put_after_the_goaway_of_the_stop_is_not_served(server: Running) -> None:
    """RFC 9113 section 6.8: the client knows that it may send it elsewhere."""
    async with raw(server) as client:
        await until(lambda: bool(protocols(server)))
        stopping = asyncio.ensure_future(server.stop_serving())
        told = await client.next(GOAWAY)
        assert told.error_code == ErrorCode.NO_ERROR
        await client.send(request(1, "KV/Put", PutRequest(key=b"a")))
        await stopping
        assert server.core.recovered.state.store.current == 1


@timed()
async def test_each_connection_is_looked_at_once_a_second_however_many_there_are(
    server: Running,
) -> None:
    """A look forgives what was counted: more of them would forgive a flood."""
    for count in (1, 25):
        async with AsyncExitStack() as stack:
            for _ in range(count):
                client = await stack.enter_async_context(raw(server))
                await client.send(frame(PING, 0, 0, bytes(8)))
                await client.next(PING)
            looked_at = 0
            for _ in range(TICKS_PER_S):
                for each in protocols(server):
                    each.connection._replies = 1
                await server.time.advance(TICK_S)
                looked_at += sum(not each.connection._replies for each in protocols(server))
            assert looked_at == count
        await until(lambda: not protocols(server))


@pytest.mark.parametrize("is_lost", [False, True])
@in_loop
async def test_a_server_that_stops_waits_for_a_service_but_not_for_one_whose_client_left(
    is_lost: bool,
) -> None:
    client = Client()
    client.send(client.open("Late"), data(client.last_id, prefixed(b"hey")))
    if is_lost:
        client.send(frame(RST_STREAM, 0, client.last_id, bytes(4)))
    assert client.server.is_busy == (not is_lost)
    if not is_lost:
        client.methods.late.pop().reply(b"hey")
        assert not client.server.is_busy
    await client.server.drain(3600)
    assert client.connection.is_draining
    assert client.heard(client.last_id).messages == ([] if is_lost else [b"hey"])
