"""The native calls are counted once each, whoever ends them and whenever the answer comes."""

from __future__ import annotations

import asyncio

from server.call import PeerCall, Stream
from server.call_counts import CODES, CallCounts
from server.status import TOO_MANY_REQUESTS, Code, RpcError
from server.transport.connection import Connection
from server.transport.dispatch import StreamMethod, UnaryMethod
from server.transport.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    ErrorCode,
    frame,
    rst_stream,
    settings,
)
from server.transport.head import Head
from server.transport.host import Host
from server.transport.hpack import encode
from server.transport.streaming import StreamingCall
from server.transport.unary import UnaryCall
from server.transport.wire import prefixed
from tests.server.transport.support import unheard
from tests.support.clock import FakeClock
from tests.support.loop import in_loop

MESSAGE = b"123"
GONE = rst_stream(1, ErrorCode.CANCEL)


class Service:
    """One connection to a service of two methods, which keep their callers waiting."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.host = Host(self.clock, limit_bytes=1000)
        self.counts = CallCounts()
        self.calls: list[PeerCall] = []
        self.connection = Connection(
            self._accept, streams_max=100, on_output=unheard, on_ping=unheard
        )
        self.connection.receive(PREFACE + settings())

    def _accept(
        self, connection: Connection, stream_id: int, head: Head
    ) -> UnaryCall | StreamingCall:
        if head.path == b"/a/Stream":
            stream = StreamMethod(
                self._serve, self.counts, client_streams=True, server_streams=True
            )
            return StreamingCall(connection, stream_id, head, self.host, stream, lambda _: None)
        unary = UnaryMethod(self._handle, self.counts)
        return UnaryCall(connection, stream_id, head, self.host, unary)

    def _handle(self, message: bytes, call: PeerCall) -> bytes | None:
        if message == b"now":
            return b"12345"
        self.calls.append(call)
        return None

    async def _serve(self, stream: Stream) -> None:
        while (message := await stream.receive()) is not None:
            await stream.send(message + message)

    def call(self, message: bytes = MESSAGE, timeout: bytes = b"") -> None:
        self.connection.receive(
            request(b"/a/Unary", timeout) + frame(DATA, END_STREAM, 1, prefixed(message))
        )

    @property
    def ended(self) -> dict[Code, int]:
        """How many calls ended how."""
        assert self.counts.failed[Code.OK] == 0
        every = [self.counts.ok, *self.counts.failed[1:]]
        assert len(every) == CODES
        return {Code(code): count for code, count in enumerate(every) if count}


def request(path: bytes, timeout: bytes = b"") -> bytes:
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    if timeout:
        fields.append((b"grpc-timeout", timeout))
    return frame(HEADERS, END_HEADERS, 1, encode(tuple(fields)))


def test_a_call_is_under_way_until_it_is_answered() -> None:
    service = Service()
    service.call()
    assert (service.counts.started, service.counts.active, service.ended) == (1, 1, {})
    service.calls[0].reply(b"1234567")
    assert (service.counts.started, service.counts.active) == (1, 0)
    assert service.ended == {Code.OK: 1}
    assert (service.counts.received_bytes, service.counts.sent_bytes) == (3, 7)


def test_a_call_that_is_answered_at_once_is_counted_alike() -> None:
    service = Service()
    service.call(b"now")
    assert service.ended == {Code.OK: 1}
    assert (service.counts.received_bytes, service.counts.sent_bytes) == (3, 5)


def test_a_refused_call_is_counted_by_its_code() -> None:
    service = Service()
    service.call()
    service.calls[0].fail(RpcError(TOO_MANY_REQUESTS))
    assert service.ended == {Code.UNKNOWN: 1}
    assert service.counts.sent_bytes == 0


def test_a_call_that_its_client_leaves_is_canceled_and_its_answer_no_second_end() -> None:
    service = Service()
    service.call()
    service.connection.receive(GONE)
    assert service.ended == {Code.CANCELLED: 1}
    service.calls[0].reply(b"too late")
    assert service.ended == {Code.CANCELLED: 1}
    assert service.counts.sent_bytes == 0


def test_a_call_whose_connection_is_lost_is_canceled() -> None:
    service = Service()
    service.call()
    service.connection.lost()
    assert service.ended == {Code.CANCELLED: 1}


@in_loop
async def test_a_call_past_its_deadline_is_told_so_and_its_answer_is_no_second_end() -> None:
    service = Service()
    service.call(timeout=b"5S")
    await service.clock.advance(5)
    service.host.expire()
    assert service.ended == {Code.DEADLINE_EXCEEDED: 1}
    service.calls[0].fail(RpcError(TOO_MANY_REQUESTS))
    assert service.ended == {Code.DEADLINE_EXCEEDED: 1}


def test_a_call_without_a_whole_message_never_began() -> None:
    service = Service()
    service.connection.receive(request(b"/a/Unary") + frame(DATA, END_STREAM, 1, b"\0\0\0\0\5a"))
    assert (service.counts.started, service.ended) == (0, {})


def test_a_call_that_is_left_before_its_message_came_never_began() -> None:
    service = Service()
    service.connection.receive(request(b"/a/Unary") + GONE)
    assert (service.counts.started, service.ended) == (0, {})


@in_loop
async def test_a_streams_messages_are_counted_and_its_end() -> None:
    service = Service()
    service.connection.receive(
        request(b"/a/Stream")
        + frame(DATA, 0, 1, prefixed(MESSAGE) + prefixed(MESSAGE))
        + frame(DATA, END_STREAM, 1, prefixed(MESSAGE))
    )
    assert (service.counts.started, service.counts.active) == (1, 1)
    await settled()
    assert service.ended == {Code.OK: 1}
    counts = service.counts
    assert (counts.messages_received, counts.messages_sent) == (3, 3)
    assert (counts.received_bytes, counts.sent_bytes) == (9, 18)


@in_loop
async def test_a_stream_that_its_client_leaves_is_canceled() -> None:
    service = Service()
    service.connection.receive(request(b"/a/Stream"))
    await settled()
    service.connection.receive(GONE)
    await settled()
    assert service.ended == {Code.CANCELLED: 1}


@in_loop
async def test_a_stream_left_as_soon_as_it_is_opened_leaves_nothing_behind() -> None:
    """Opened and reset in one read: its task is cancelled before it has begun."""
    service = Service()
    service.connection.receive(request(b"/a/Stream", timeout=b"5S") + GONE)
    await settled()
    assert service.ended == {Code.CANCELLED: 1}
    assert not service.host.streams
    assert service.counts.active == 0


@in_loop
async def test_a_stream_stopped_as_soon_as_it_is_opened_is_told_why() -> None:
    service = Service()
    service.connection.receive(request(b"/a/Stream"))
    service.connection.take()
    for stream in list(service.host.streams):
        stream.stop(RpcError(TOO_MANY_REQUESTS))
    await settled()
    assert service.ended == {Code.UNKNOWN: 1}
    assert TOO_MANY_REQUESTS.message.encode() in service.connection.take()
    assert not service.host.streams


async def settled() -> None:
    """Return once the tasks of the streams have got as far as they get."""
    for _ in range(20):
        await asyncio.sleep(0)
