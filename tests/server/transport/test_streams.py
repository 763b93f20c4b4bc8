"""Streams on the core: messages however cut, windows both ways, and what is sent ahead."""

from __future__ import annotations

import asyncio

import pytest

from server.call import Burst, Stream
from server.call_counts import CallCounts
from server.status import RpcError
from server.transport.connection import Connection
from server.transport.dispatch import StreamMethod
from server.transport.frames import (
    DATA,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_DEFAULT,
    ErrorCode,
    frame,
    settings,
    window_update,
)
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.peer import STREAM_WINDOW_BYTES
from server.transport.sending import SEND_AHEAD_BYTES, SEND_NOW_MESSAGES_MAX, SendingCall
from server.transport.streaming import MESSAGE_OVERHEAD_BYTES, StreamingCall
from tests.server.transport.support import (
    LIMIT_BYTES,
    data,
    headers,
    parsed,
    prefixed,
    resets,
    unheard,
)
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop


class Streaming:
    """A connection whose service is a coroutine; a test calls its stream itself."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.host = Host(self.clock, LIMIT_BYTES)
        self.dirty: list[SendingCall] = []
        self.ended = asyncio.get_running_loop().create_future()
        self.stream: Stream
        self.connection = Connection(
            self._accept, streams_max=10, on_output=unheard, on_ping=unheard
        )
        self.connection.receive(PREFACE + frame(SETTINGS, 0, 0) + headers(1))

    def _accept(self, connection: Connection, stream_id: int, head: Head) -> StreamingCall:
        self.counts = CallCounts()
        method = StreamMethod(self._serve, self.counts, client_streams=True, server_streams=True)
        return StreamingCall(connection, stream_id, head, self.host, method, self.dirty.append)

    async def _serve(self, stream: Stream) -> None:
        self.stream = stream
        await self.ended

    def read(self) -> list[tuple[int, bytes]]:
        for each in self.dirty:
            each.pack()
        self.dirty.clear()
        frames = parsed(self.connection.take())
        return [(each.type, getattr(each, "data", b"")) for each in frames if each.stream_id]


@in_loop
async def test_messages_come_in_order_however_they_are_cut_and_then_the_end() -> None:
    talk = Streaming()
    await settle()
    body = prefixed(b"one") + prefixed(b"") + prefixed(b"three")
    for at in range(len(body)):
        talk.connection.receive(data(1, body[at : at + 1], flags=0))
    talk.connection.receive(data(1, b""))
    assert [await talk.stream.receive() for _ in range(4)] == [b"one", b"", b"three", None]
    assert talk.connection.held_bytes == 0


@in_loop
async def test_a_stream_that_ends_within_a_message_is_refused() -> None:
    talk = Streaming()
    await settle()
    talk.connection.receive(data(1, prefixed(b"one") + b"\0\0"))
    assert await talk.stream.receive() == b"one"
    with pytest.raises(RpcError, match="ended within a message"):
        await talk.stream.receive()


@in_loop
async def test_a_message_larger_than_the_window_arrives() -> None:
    talk = Streaming()
    await settle()
    body = prefixed(bytes(LIMIT_BYTES))
    room, granted = STREAM_WINDOW_BYTES, 0
    for at in range(0, len(body), 16_000):
        piece = body[at : at + 16_000]
        assert room >= len(piece), "an honest client would wait here for ever"
        talk.connection.receive(data(1, piece, flags=0))
        room -= len(piece)
        for each in parsed(talk.connection.take()):
            if each.stream_id == 1:
                room += each.window_increment
                granted += 1
    message = await talk.stream.receive()
    assert message is not None
    assert len(message) == LIMIT_BYTES
    assert granted >= 2


@in_loop
async def test_a_client_that_sends_beyond_its_window_loses_the_stream() -> None:
    """RFC 9113 section 6.9.1; what a service has not read is bounded by the window."""
    talk = Streaming()
    await settle()
    whole = prefixed(bytes(995))
    for _ in range(STREAM_WINDOW_BYTES // 1000 + 1):
        talk.connection.receive(data(1, whole, flags=0))
    assert resets(parsed(talk.connection.take())) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    await settle()
    assert talk.connection.held_bytes == 0


@in_loop
async def test_empty_messages_that_nobody_reads_are_bounded_by_what_they_cost() -> None:
    """Five bytes on the wire, a hundred here."""
    talk = Streaming()
    await settle()
    count = 3000
    talk.connection.receive(data(1, prefixed(b"") * count, flags=0))
    assert talk.connection.held_bytes == count * (len(prefixed(b"")) + MESSAGE_OVERHEAD_BYTES)
    for _ in range(count):
        assert await talk.stream.receive() == b""
    assert talk.connection.held_bytes == 0


@in_loop
async def test_sending_waits_for_a_slow_reader_and_its_buffer_is_bounded() -> None:
    talk = Streaming()
    talk.connection.receive(settings((4, 0)))
    await settle()

    async def send_much() -> None:
        for _ in range(100):
            await talk.stream.send(bytes(9_995))

    sending = asyncio.ensure_future(send_much())
    await settle()
    assert not sending.done()
    (stream,) = talk.host.streams
    assert SEND_AHEAD_BYTES <= stream.unsent_bytes < SEND_AHEAD_BYTES + 10_000
    talk.connection.receive(window_update(1, 2_000_000) + window_update(0, 2_000_000))
    while not sending.done():
        talk.read()
        await settle()


@in_loop
async def test_what_can_be_sent_now_is_and_what_would_have_to_wait_is_not() -> None:
    """Some messages for each write of the connection, and within what any stream sends ahead."""
    talk = Streaming()
    talk.connection.receive(settings((4, 0)))
    await settle()
    many = [b"%d" % number for number in range(SEND_NOW_MESSAGES_MAX)]
    assert all(talk.stream.send_now(each) for each in many)
    assert not talk.stream.send_now(b"one more")
    talk.read()
    assert not talk.stream.send_now(b"one more"), "the window is closed: they are still there"
    talk.connection.receive(window_update(1, 2_000_000) + window_update(0, 2_000_000))
    body = b"".join(payload for kind, payload in talk.read() if kind == DATA)
    assert body == b"".join(map(prefixed, many))
    assert not talk.stream.send_now(bytes(SEND_AHEAD_BYTES))
    assert talk.stream.send_now(bytes(SEND_AHEAD_BYTES - len(prefixed(b""))))
    assert not talk.stream.send_now(b"")


@in_loop
async def test_message_for_message_a_stream_can_send_more_than_it_may_send_ahead() -> None:
    talk = Streaming()
    much = 10 * SEND_AHEAD_BYTES
    talk.connection.receive(window_update(1, much) + window_update(0, much))
    await settle()
    window, message = talk.connection.window, bytes(9_995)
    for number in range(1, 2 * SEND_AHEAD_BYTES // 10_000):
        assert talk.stream.send_now(message)
        assert talk.read()[-1] == (DATA, prefixed(message))
        assert talk.connection.window == window - number * 10_000
    (stream,) = talk.host.streams
    assert stream.unsent_bytes == 0
    assert stream.window == WINDOW_DEFAULT + much - number * 10_000


@in_loop
async def test_a_sender_goes_on_when_one_large_message_left_in_one_frame() -> None:
    talk = Streaming()
    much = 10 * SEND_AHEAD_BYTES
    talk.connection.receive(settings((5, much)) + window_update(1, much) + window_update(0, much))
    await settle()
    for number in range(3):
        sending = asyncio.ensure_future(talk.stream.send(bytes(SEND_AHEAD_BYTES)))
        await settle()
        assert not sending.done()
        frames = [kind for kind, _ in talk.read()]
        assert frames == ([DATA] if number else [HEADERS, DATA])
        await settle()
        assert sending.done()


@in_loop
async def test_a_burst_is_sent_now_whole_or_not_at_all() -> None:
    """By the rules for one message, and only where nothing waits before it."""
    talk = Streaming()
    talk.connection.receive(settings((4, 0)))
    await settle()
    stream, most = talk.stream, SEND_NOW_MESSAGES_MAX
    assert not stream.send_all_now(Burst([b"small"] * (most + 1)))
    assert not stream.send_all_now(Burst([bytes(SEND_AHEAD_BYTES // 2)] * 2))
    burst = Burst([b"%d" % number for number in range(most)])
    assert stream.send_all_now(burst)
    assert not stream.send_all_now(burst), "the first waits for a window"
    assert (talk.counts.messages_sent, talk.counts.sent_bytes) == (
        most,
        sum(map(len, burst.messages)),
    )
    talk.connection.receive(window_update(1, 2_000_000) + window_update(0, 2_000_000))
    body = b"".join(payload for kind, payload in talk.read() if kind == DATA)
    assert body == b"".join(map(prefixed, burst.messages))
    assert stream.send_all_now(burst)


@in_loop
async def test_a_stream_that_has_ended_but_is_not_taken_is_dropped() -> None:
    talk = Streaming()
    talk.connection.receive(settings((4, 0)))
    await settle()
    await talk.stream.send(b"last words")
    talk.ended.set_result(None)
    await settle()
    talk.read()
    talk.clock.jump(UNTAKEN_S)
    talk.host.expire()
    assert resets(parsed(talk.connection.take())) == [(1, ErrorCode.CANCEL)]
    await settle()
    assert len(asyncio.all_tasks()) == 1


@in_loop
async def test_messages_sent_together_leave_in_one_frame_and_the_status_follows() -> None:
    talk = Streaming()
    await settle()
    for message in (b"a", b"b", b"c"):
        await talk.stream.send(message)
    talk.ended.set_result(None)
    await settle()
    kinds = [each for each in talk.read() if each[0] in (DATA, HEADERS)]
    assert [kind for kind, _ in kinds] == [HEADERS, DATA, HEADERS]
    assert kinds[1][1] == prefixed(b"a") + prefixed(b"b") + prefixed(b"c")
