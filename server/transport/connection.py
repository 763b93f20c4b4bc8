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

The hot path, a request of a head that came before and a body in one frame, costs no object of its
own, and one dict entry, in and out, if another frame stands between the two. Frames are read in
place.
"""

from __future__ import annotations

from collections.abc import Callable

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
from server.transport.head import Head
from server.transport.hpack import HpackError
from server.transport.peer import (
    BACKLOG_BYTES_MAX,
    CONNECTION_WINDOW_BYTES,
    Peer,
)
from server.transport.requests import Requests, without_padding
from server.transport.stream import Stream

# Answers a request whose body came whole, as the head's `target.whole`: connection, stream id,
# head; and bytes, from where and up to where the body stands in them. No stream was accepted for
# it. Returns one if it is not over yet.
Whole = Callable[["Connection", int, Head, bytes, int, int], Stream | None]


class Connection(Requests):
    __slots__ = ("_input", "_unread", "is_begun")

    def __init__(
        self,
        accept: Callable[[Connection, int, Head], Stream],
        *,
        streams_max: int,
        on_output: Callable[[], None],
        on_ping: Callable[[Peer], None],
    ) -> None:
        """`accept(connection, stream_id, head)` makes the stream of a request.

        `on_output` is called when there is something to `take`, once until it is taken. `on_ping`
        is called for a PING that was acknowledged at once; those behind it are not until
        `acknowledge` is called, again and again for as long as that returns true.
        """
        super().__init__(accept, streams_max=streams_max, on_output=on_output, on_ping=on_ping)
        self._input = b""
        self.is_begun = False  # The preface has been read.
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
            if self._timed:
                self._place_timed()

    def received_again(self, data: bytes) -> bytes | None:
        """Take a read that is just the frame its stream expects; None if it has to be `receive`d.

        Returns what answers it, which the caller sends now or queues. A keepalive that comes alone,
        as one of a client with few leases does, is always the same.
        """
        stream = self._streams.get(int.from_bytes(data[5:HEADER_BYTES], "big"))
        if (
            stream is None
            or stream.again != data
            or self._input
            or self._block is not None
            or self._bodies
        ):
            return None
        answer = stream.received_again()
        if answer is not None:
            self._read(len(data) - HEADER_BYTES)
        return answer

    def _receive(self, data: bytes) -> int:
        """Handle all whole frames of `data`; return how many bytes they were."""
        at, end = 0, len(data)
        read = 0  # Bytes of DATA that were taken the short way.
        if not self.is_begun:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
            if end < len(PREFACE):
                return 0
            at, self.is_begun = len(PREFACE), True
        heads, awaited, streams = self._heads, self._awaited, self._streams
        next_id, out_most, room = -1, 0, 0
        last, pairs_end = end - HEADER_BYTES, end
        while at <= last:
            high, size, kind, flags, stream_id = unpack_header(data, at)
            start = at + HEADER_BYTES
            at_next = start + size
            # Nearly all requests are two such frames, mostly one behind the other, and need no
            # place among the streams. What may not be taken so is told what is wrong further down.
            if flags == END_HEADERS and kind == HEADERS and at_next <= end and not high:
                if stream_id != next_id or not room:
                    next_id, out_most, room = self._may_open(end)
                if stream_id == next_id and self._out_bytes <= out_most:
                    known = heads.get(data[start:at_next])
                    if known is not None and (whole := known.target.whole) is not None:
                        self._seen_id = self._last_id = stream_id
                        next_id = stream_id + 2
                        at, start = at_next, at_next + HEADER_BYTES
                        if start <= pairs_end:
                            high, size, kind, flags, body_id = unpack_header(data, at)
                            at_next = start + size
                            if (
                                body_id == stream_id
                                and flags == END_STREAM
                                and kind == DATA
                                and not high
                                and at_next <= end
                                and size <= FRAME_BYTES_MAX
                                and known.content_length in (-1, size)
                            ):
                                read += size
                                stream = whole(self, stream_id, known, data, start, at_next)
                                at = at_next
                                if stream is not None:
                                    streams[stream_id] = stream
                                    out_most = BACKLOG_BYTES_MAX - self.backlog_bytes
                                    room -= 1
                                continue
                            pairs_end = 0  # Heads come first in this read, then the bodies.
                        awaited[stream_id] = known
                        if known.timeout_s is not None:
                            self._timed.append(stream_id)
                        room -= 1
                        continue
            if self.is_dead:
                break
            if high or size > FRAME_BYTES_MAX:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame too large")
            if at_next > end:
                break
            stream_id &= WINDOW_MAX  # The highest bit is reserved.
            if self._block is not None:
                if kind != CONTINUATION or stream_id != self._block_id:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was cut short")
            elif kind != SETTINGS and not self._configured:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is no SETTINGS")
            try:
                if kind == DATA and flags == END_STREAM and stream_id in awaited:
                    awaiting = awaited.pop(stream_id)
                    whole = awaiting.target.whole
                    if whole is not None and awaiting.content_length in (-1, size):
                        read += size
                        stream = whole(self, stream_id, awaiting, data, start, at_next)
                        if stream is not None:
                            streams[stream_id] = stream
                        elif self.is_draining:
                            self._die_if_done()
                        at = at_next
                        continue
                    awaited[stream_id] = awaiting
                elif kind == DATA and not flags and stream_id in streams and not self._bodies:
                    # A message of a long stream, such as a keepalive.
                    stream = streams[stream_id]
                    if 0 < size <= stream.allowance and not stream.is_remote_closed:
                        stream.allowance -= size
                        read += size
                        stream.received(data[start:at_next], size, is_last=False)
                        at = at_next
                        continue
                next_id = -1
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
        if read:
            self._read(read)
        return at

    def _may_open(self, ids: int) -> tuple[int, int, int]:
        """What a request may open that is taken the short way, as one of no more than `ids`.

        The next id, -1 if none may be opened; how many bytes may wait to be sent before it; and how
        many streams there is room for. To be asked again once anything else has come.
        """
        seen_id = self._seen_id
        room = self._streams_max - len(self._streams) - len(self._awaited)
        if self.is_draining or self._block is not None or room <= 0 or seen_id + ids > WINDOW_MAX:
            return -1, 0, 0
        return seen_id + 2, BACKLOG_BYTES_MAX - self.backlog_bytes, room

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

    # --- bodies ---

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
            start, stop = without_padding(data, start, stop)
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
