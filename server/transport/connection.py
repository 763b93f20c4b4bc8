"""The server's end of one HTTP/2 connection, without a socket, a clock or a thought of gRPC.

Bytes go in by `receive`, and what is to be sent comes out of `take`. For each request the
connection asks `accept` for a stream; from then on it calls the stream, and the stream calls it.

What is always true:
  1. All input is bounded before it is kept: frames by `FRAME_BYTES_MAX`, header blocks by
     `BLOCK_BYTES_MAX`, streams by the limit given, bodies by the window of each stream.
  2. A violation ends what it belongs to and nothing else: the stream by RST_STREAM, or the
     connection by GOAWAY (RFC 9113 section 5.4).
  3. DATA is sent only within both windows; what does not fit waits in its stream, in order.
  4. Frames that move nothing forward are counted. More than `NUISANCES_MAX` between two calls of
     `refill` end the connection: a flood of PING, SETTINGS, RST_STREAM, PRIORITY, WINDOW_UPDATE
     or empty DATA costs the peer its connection, and the others nothing.

The hot path, a unary call that came in one read, costs one stream object and one dict entry, in
and out, and no frame object: frames are read in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server.transport.faults import ConnectionFault, StreamFault, check_connection_wide
from server.transport.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_BYTES,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_MAX,
    WINDOW_UPDATE,
    ErrorCode,
    goaway,
    unpack_header,
    window_update,
)
from server.transport.head import Head, MalformedError, check_trailers
from server.transport.hpack import Decoder, HpackError
from server.transport.peer import (
    BACKLOG_BYTES_MAX,
    BLOCK_BYTES_MAX,
    CONNECTION_WINDOW_BYTES,
    Peer,
    Stream,
    depends_on,
)

# Answers a request whose body came whole, as `head.whole` of such requests: connection, stream id,
# head and body; no stream was accepted for it. Returns one if it is not over yet.
Whole = Callable[["Connection", int, Head, bytes], Stream | None]

BLOCK_FRAMES_MAX: Final = 16  # CONTINUATION frames that a header block may be spread over.
BLOCKS_MAX: Final = 64  # Header blocks remembered, of a client that repeats itself,
BLOCK_KEPT_BYTES_MAX: Final = 2048  # if they are no longer than this,
BLOCK_KEPT_FIELDS_MAX: Final = 32  # nor more in their fields: an octet may stand for one.
_DEPENDS_ON_ITSELF: Final = 0x100  # Beside a HEADERS frame's own flags, which are an octet.


class Connection(Peer):
    def __init__(
        self,
        accept: Callable[[Connection, int, Head], Stream],
        *,
        streams_max: int,
        on_output: Callable[[], None],
    ) -> None:
        """`accept(connection, stream_id, head)` makes the stream of a request.

        `on_output` is called whenever something was added to what `take` gives.
        """
        super().__init__(streams_max=streams_max, on_output=on_output)
        self._accept = accept
        self._decoder = Decoder()
        self._heads: dict[bytes, Head | MalformedError] = {}
        self._input = b""
        self.is_begun = False  # The preface has been read.
        self._block: bytearray | None = None  # A header block that is to be continued.
        self._block_id = self._block_flags = self._block_frames = 0
        self._unread = 0  # Bytes of DATA received since the window was last given back.

    # --- input ---

    def receive(self, data: bytes) -> None:
        """Take what the socket gave. Violations are answered, never raised."""
        if self.is_dead:
            return
        if self._input:
            data = self._input + data
        try:
            used = self._receive(data)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
        except HpackError as error:
            self.fail(ErrorCode.COMPRESSION_ERROR, str(error))
        else:
            self._input = data[used:] if used < len(data) else b""

    def _receive(self, data: bytes) -> int:
        """Handle all whole frames of `data`; return how many bytes they were."""
        at, end = 0, len(data)
        if not self.is_begun:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
            if end < len(PREFACE):
                return 0
            at, self.is_begun = len(PREFACE), True
        heads, awaited = self._heads, self._awaited
        while end - at >= HEADER_BYTES and not self.is_dead:
            high, low, kind, flags, stream_id = unpack_header(data, at)
            size = high << 16 | low
            if size > FRAME_BYTES_MAX:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame too large")
            start = at + HEADER_BYTES
            at_next = start + size
            if at_next > end:
                break
            stream_id &= WINDOW_MAX  # The highest bit is reserved.
            if self._block is not None:
                if kind != CONTINUATION or stream_id != self._block_id:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was cut short")
            elif kind != SETTINGS and not self._configured:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is no SETTINGS")
            try:
                # Nearly all requests are two such frames, and most need no place among the streams.
                if flags == END_HEADERS and kind == HEADERS:
                    known = heads.get(data[start:at_next])
                    if known is not None and known.whole and self._may_await(stream_id):
                        self._see(stream_id)
                        self._last_id = stream_id
                        awaited[stream_id] = known
                        at = at_next
                        continue
                elif kind == DATA and flags == END_STREAM and stream_id in awaited:
                    head = awaited[stream_id]
                    if head.content_length in (-1, size) and head.whole is not None:
                        del awaited[stream_id]
                        self._read(size)
                        stream = head.whole(self, stream_id, head, data[start:at_next])
                        if stream is not None:
                            self._streams[stream_id] = stream
                        elif self.is_draining:
                            self._die_if_done()
                        at = at_next
                        continue
                if stream_id in awaited:
                    self._place(stream_id, awaited.pop(stream_id)).opened()
                if kind == HEADERS:
                    self._on_headers(stream_id, flags, data, start, at_next)
                elif kind == DATA:
                    self._on_data(stream_id, flags, data, start, at_next)
                else:
                    self._on_other(kind, flags, stream_id, data[start:at_next])
            except StreamFault as fault:
                self._on_stream_fault(fault)
            at = at_next
        return at

    def fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection, and say why."""
        self._input = b""
        self.is_draining = True
        self.send(goaway(self._last_id, code, reason.encode()))
        self.lost()

    def _on_stream_fault(self, fault: StreamFault) -> None:
        if fault.stream_id > self._seen_id:  # There is nothing yet that could be reset.
            raise ConnectionFault(fault.code, str(fault)) from fault
        self._nuisance()
        stream = self._streams.get(fault.stream_id)
        self.reset(fault.stream_id, fault.code)
        if stream is not None:
            stream.lost(fault.code)

    # --- streams ---

    def _may_await(self, stream_id: int) -> bool:
        """May a request be taken that way? If not, the long way says what is wrong with it."""
        return (
            stream_id & 1 == 1
            and stream_id > self._seen_id
            and not self.is_draining
            and len(self) < self._streams_max
            and self._out_bytes + self.backlog_bytes <= BACKLOG_BYTES_MAX
        )

    def _place(self, stream_id: int, head: Head) -> Stream:
        """Give a request a place among the streams."""
        if head.content_length >= 0:
            self._bodies[stream_id] = head.content_length
        stream = self._accept(self, stream_id, head)
        stream.window = self.stream_window
        self._streams[stream_id] = stream
        return stream

    def _read(self, size: int) -> None:
        """Give back the connection's window, whatever becomes of the stream.

        One that nobody reads must not hold up the others. Its own window stops it.
        """
        self._unread += size
        if self._unread >= CONNECTION_WINDOW_BYTES // 2:
            self.send(window_update(0, self._unread))
            self._unread = 0

    def _on_data(self, stream_id: int, flags: int, data: bytes, start: int, stop: int) -> None:
        size = stop - start
        self._read(size)
        if flags & PADDED:
            start, stop = _without_padding(data, start, stop)
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_remote_closed:
            self._check_used(stream_id)
            if stream is None and self._is_ignored(stream_id):
                self._nuisance()
                return
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        if self._bodies:
            self._count_body(stream_id, stop - start, is_last=flags & END_STREAM != 0)
        if flags & END_STREAM:
            stream.is_remote_closed = True
            stream.received(data[start:stop], size, is_last=True)
            return
        if start == stop:
            self._nuisance()
        stream.allowance -= size
        if stream.allowance < 0:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        stream.received(data[start:stop], size, is_last=False)

    def _is_ignored(self, stream_id: int) -> bool:
        """Was it reset, or refused by GOAWAY, so that the client may not know yet?"""
        return stream_id > self._last_id or stream_id in self._resets

    def _count_body(self, stream_id: int, size: int, *, is_last: bool) -> None:
        """RFC 9113 section 8.1.1: a body is as long as its content-length says."""
        rest = self._bodies.get(stream_id)
        if rest is None:
            return
        rest -= size
        if rest < 0 or (is_last and rest):
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        self._bodies[stream_id] = rest

    def _on_headers(self, stream_id: int, flags: int, data: bytes, start: int, stop: int) -> None:
        if stream_id & 1 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream id that is no client's")
        if flags & PADDED:
            start, stop = _without_padding(data, start, stop)
        if flags & PRIORITY_FLAG:
            priority = data[start:stop]
            if len(priority) < PRIORITY_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame too short")
            start += PRIORITY_BYTES
            if depends_on(priority) == stream_id:
                flags |= _DEPENDS_ON_ITSELF
        if flags & END_HEADERS:
            self._on_block(stream_id, flags, data[start:stop])
        else:
            self._block = bytearray(data[start:stop])
            self._block_id, self._block_flags, self._block_frames = stream_id, flags, 0

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        block += payload
        self._block_frames += 1
        if len(block) > BLOCK_BYTES_MAX or self._block_frames > BLOCK_FRAMES_MAX:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & END_HEADERS:
            self._block = None
            self._on_block(self._block_id, self._block_flags, bytes(block))

    def _on_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """A whole header block: a request, or the trailers of one."""
        if stream_id <= self._seen_id:
            self._on_trailers(stream_id, flags, block)
            return
        head = self._heads.get(block)
        if head is None:
            head = self._decode(block)
        self._see(stream_id)
        if self.is_draining:
            self._nuisance()
            return  # GOAWAY has told the client that this one was never begun.
        self._last_id = stream_id
        if isinstance(head, MalformedError) or flags & _DEPENDS_ON_ITSELF:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        if (
            len(self) >= self._streams_max
            or self._out_bytes + self.backlog_bytes > BACKLOG_BYTES_MAX
        ):
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM)
        if flags & END_STREAM and head.content_length > 0:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        stream = self._place(stream_id, head)
        if flags & END_STREAM:
            stream.is_remote_closed = True
        stream.opened()
        if flags & END_STREAM:
            stream.received(b"", 0, is_last=True)

    def _see(self, stream_id: int) -> None:
        """The client has opened a stream, and thereby closed all below that it never opened."""
        if stream_id - self._seen_id > 2:
            self._gaps.append(range(self._seen_id + 1, stream_id))
        self._seen_id = stream_id

    def _on_trailers(self, stream_id: int, flags: int, block: bytes) -> None:
        """What they say is of no interest here; that they end the request is."""
        decoder = self._decoder
        version = decoder.version
        fields = decoder.decode(block)
        if decoder.version != version:
            self._heads.clear()
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id in self._resets:
                if not flags & END_STREAM:  # Wrong whenever it was sent.
                    raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
                self._nuisance()
                return
            if any(stream_id in gap for gap in self._gaps):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream id that went back")
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a stream that is over")
        if stream.is_remote_closed:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        if not flags & END_STREAM or flags & _DEPENDS_ON_ITSELF:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        try:
            check_trailers(fields)
        except MalformedError as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR) from error
        if self._bodies:
            self._count_body(stream_id, 0, is_last=True)
        stream.is_remote_closed = True
        stream.received(b"", 0, is_last=True)

    def _decode(self, block: bytes) -> Head | MalformedError:
        """What a header block says; kept, if decoding it left the table as it was."""
        decoder = self._decoder
        version = decoder.version
        fields = decoder.decode(block)
        head: Head | MalformedError
        try:
            head = Head(fields)
        except MalformedError as error:
            head = error
        if decoder.version != version:
            self._heads.clear()
        elif len(block) <= BLOCK_KEPT_BYTES_MAX and len(fields) <= BLOCK_KEPT_FIELDS_MAX:
            if len(self._heads) >= BLOCKS_MAX:
                self._heads.clear()
            self._heads[block] = head
        return head

    # --- everything else ---

    def _on_other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        elif kind == CONTINUATION:
            self._on_continuation(flags, payload)
        elif kind == SETTINGS:
            self._on_settings(flags, stream_id, payload)
        elif kind == PING:
            self._on_ping(flags, stream_id, payload)
        elif kind == RST_STREAM:
            self._on_rst_stream(stream_id, payload)
        elif kind == PRIORITY:
            self._on_priority(stream_id, payload)
        elif kind == GOAWAY:
            check_connection_wide(stream_id)
            self._nuisance()
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client that pushes")
        else:
            self._nuisance()  # Unknown frames are to be ignored (RFC 9113 section 5.5).


def _without_padding(data: bytes, start: int, stop: int) -> tuple[int, int]:
    if start == stop:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
    padding = data[start]
    if padding >= stop - start:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return start + 1, stop - padding
