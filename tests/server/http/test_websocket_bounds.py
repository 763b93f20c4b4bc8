"""What a client by WebSocket can make the server hold, and how long."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import pytest
from websockets.exceptions import ConnectionClosed

from server.transport.host import UNTAKEN_S
from server.transport.web import TICK_S
from server.transport.websocket import FRAGMENTS_MAX, WebSocketProtocol
from tests.server.http.sockets import (
    CLOSE,
    CONTINUED,
    PING,
    TEXT,
    by_hand,
    connect,
    frame,
    hear,
    say,
)
from tests.server.http.support import WAIT_S, b64, web
from tests.support.client import until
from tests.support.clock import FakeClock
from tests.support.serving import Running

UNREAD_BYTES_MAX: Final = 1 << 20  # What asyncio lets a socket have unwritten, amply.
KEEPALIVE: Final = b'{"ID":"1"}'


def only_socket(server: Running) -> WebSocketProtocol:
    (socket,) = server.front.web.sockets
    return socket


@web(max_request_bytes=1)
async def test_a_message_may_be_as_large_as_json_may_be_and_no_larger(server: Running) -> None:
    limit = (1 + (512 << 10)) * 2
    padding = " " * (limit - len(KEEPALIVE))
    for path in ("/v3/lease/keepalive", "/v3/lease/timetolive"):
        async with connect(server, path) as socket:
            await socket.send(KEEPALIVE.decode() + padding)
            reply = await hear(socket)
            assert "result" in reply or reply["ID"] == "1"
        async with connect(server, path) as socket:
            sending = asyncio.ensure_future(socket.send(KEEPALIVE.decode() + padding + " "))
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            await asyncio.wait((sending,))
            sending.exception()  # Whether the last of it still went out is of no interest.
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009
    await until(lambda: not server.front.web.sockets and not server.streams)


@web()
async def test_a_message_has_so_many_fragments_at_most(server: Running) -> None:
    async with by_hand(server, "/v3/lease/keepalive") as wire:
        empty = frame(CONTINUED, is_final=False)
        begin = frame(TEXT, KEEPALIVE, is_final=False)
        await wire.send(begin + empty * (FRAGMENTS_MAX - 2) + frame(CONTINUED))
        await wire.up_to(b'"ID":"1"')
        await wire.send(begin + empty * (FRAGMENTS_MAX - 1) + frame(CONTINUED))
        rest = await wire.rest()
    assert b"result" not in rest
    assert (1008).to_bytes(2, "big") + b"too many fragments" in rest


@web()
async def test_pings_of_one_who_does_not_read_do_not_pile_up_pongs(server: Running) -> None:
    async with by_hand(server, "/v3/lease/keepalive") as wire:
        payload = b"x" * 125
        await wire.send(frame(PING, payload) * 40_000 + frame(PING, b"last"))
        socket = only_socket(server)
        await until(lambda: socket._owed_pongs.endswith(b"last"))
        assert socket.transport.get_write_buffer_size() < UNREAD_BYTES_MAX
        await wire.send(frame(CLOSE, (1000).to_bytes(2, "big")))
        rest = await wire.rest()
        assert b"last" in rest, "the newest ping is answered"
        assert rest.count(payload) < 40_000


@web()
async def test_nothing_is_read_from_one_who_does_not_read_its_answers(server: Running) -> None:
    async with by_hand(server, "/v3/lease/keepalive") as wire:
        sending = asyncio.ensure_future(wire.send(frame(TEXT, KEEPALIVE) * 200_000))
        socket = only_socket(server)
        await until(lambda: not socket.writable.is_set() and socket.read_paused)
        assert socket.transport.get_write_buffer_size() < UNREAD_BYTES_MAX
        assert socket.queue.qsize() * len(KEEPALIVE) < UNREAD_BYTES_MAX
        sending.cancel()


@web()
async def test_a_slow_watch_is_not_dropped_and_misses_nothing(server: Running) -> None:
    rounds, each, value = 20, 100, b"v" * 10_000
    async with connect(server, "/v3/watch", max_queue=1, max_size=None) as socket:
        await say(socket, {"create_request": {"key": b64("a")}})
        await hear(socket)
        for _ in range(rounds):
            await server.put_many(each, value)
            # A message that is being written, and what the buffer took before it.
            held = only_socket(server).transport.get_write_buffer_size()
            assert held < 2 * each * len(value) + UNREAD_BYTES_MAX
        seen: list[str] = []
        while len(seen) < rounds * each:
            seen += [event["kv"]["version"] for event in (await hear(socket))["result"]["events"]]
    assert seen == [str(number) for number in range(1, rounds * each + 1)]


@web(clock=FakeClock())
async def test_one_that_is_over_is_let_go_of_whoever_reads_its_end(server: Running) -> None:
    async with by_hand(server, "/v3/lease/timetolive") as wire:
        await wire.send(frame(TEXT, KEEPALIVE))
        socket = only_socket(server)
        await until(lambda: socket.close_sent)
        await server.time.advance(TICK_S + UNTAKEN_S - 0.001)
        assert server.front.web.sockets
        await server.time.advance(TICK_S)
        await until(lambda: not server.front.web.sockets)


@web(clock=FakeClock())
async def test_one_that_lasts_is_never_let_go_of(server: Running) -> None:
    async with by_hand(server, "/v3/lease/keepalive") as wire:
        await server.time.advance(20 * UNTAKEN_S)
        await wire.send(frame(TEXT, KEEPALIVE))
        await wire.up_to(b'"ID":"1"')


@web(grpc_keepalive_interval_s=0.01, grpc_keepalive_timeout_s=0.01)
async def test_a_peer_that_answers_no_ping_is_dropped(server: Running) -> None:
    async with by_hand(server, "/v3/watch") as wire:
        rest = await wire.rest()
    assert rest[0] == 0x80 | PING
    await until(lambda: not server.front.web.sockets and not server.streams)


@web(grpc_keepalive_interval_s=0.01, grpc_keepalive_timeout_s=WAIT_S)
async def test_a_peer_that_answers_them_stays(server: Running) -> None:
    async with connect(server, "/v3/lease/keepalive", ping_interval=None) as socket:
        protocol = only_socket(server)
        await until(lambda: protocol.last_ping_rtt > 0)
        await socket.send(json.dumps({"ID": "1"}))
        assert (await hear(socket))["result"]["ID"] == "1"
