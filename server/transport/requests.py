"""How a connection takes requests: header blocks, put together, decoded, and given a stream.

A block means the same until the decoder's table changes, so what it said is remembered. A request
whose body is still to come and that has answered its like before is only noted, as `_awaited`; it
gets a stream if anything else comes than its body, whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from server.transport.faults import ConnectionFault, StreamFault
from server.transport.frames import (
    END_HEADERS,
    END_STREAM,
    PADDED,
    PRIORITY_BYTES,
    PRIORITY_FLAG,
    ErrorCode,
)
from server.transport.head import Head, MalformedError, check_trailers, parse_timeout
from server.transport.hpack import Decoder, Field
from server.transport.peer import BACKLOG_BYTES_MAX, BLOCK_BYTES_MAX, Peer, depends_on
from server.transport.stream import Stream

BLOCK_FRAMES_MAX: Final = 16  # CONTINUATION frames that a header block may be spread over.
BLOCKS_MAX: Final = 64  # Header blocks and heads remembered, of a client that repeats itself,
BLOCK_KEPT_BYTES_MAX: Final = 2048  # if they are no longer than this,
BLOCK_KEPT_FIELDS_MAX: Final = 32  # nor more in their fields: an octet may stand for one.
_TIMEOUT: Final = b"grpc-timeout"
_DEPENDS_ON_ITSELF: Final = 0x100  # Beside a HEADERS frame's own flags, which are an octet.


class Requests(Peer):
    """Part of a `Connection`, which reads the frames."""

    __slots__ = (
        "_accept", "_block", "_block_flags", "_block_frames", "_block_id", "_by_fields", "_decoder",
        "_heads", "_known", "_timed",
    )  # fmt: skip

    def __init__(
        self,
        accept: Callable[[Any, int, Head], Stream],
        *,
        streams_max: int,
        on_output: Callable[[], None],
        on_ping: Callable[[Peer], None],
    ) -> None:
        super().__init__(streams_max=streams_max, on_output=on_output, on_ping=on_ping)
        self._accept = accept
        self._decoder = Decoder()
        self._heads: dict[bytes, Head] = {}
        # By the fields: whole heads, and what is the same in those that differ in their timeout.
        # What is kept keeps its fields, so as long as it is known no other field has the id of one.
        self._by_fields: dict[tuple[int, ...], tuple[Head, list[Field]]] = {}
        self._known: dict[tuple[int, ...], Head] = {}
        self._timed: list[int] = []  # Awaited since this `receive` began, and have a timeout.
        self._block: bytearray | None = None  # A header block that is to be continued.
        self._block_id = self._block_flags = self._block_frames = 0

    def lost(self) -> None:
        super().lost()
        self._accept = _nobody
        for known in (self._heads, self._by_fields, self._known):
            known.clear()  # What answers them holds the connection, too.

    def _place(self, stream_id: int, head: Head) -> Stream:
        """Give a request a place among the streams."""
        if head.content_length >= 0:
            self._bodies[stream_id] = head.content_length
        stream = self._accept(self, stream_id, head)
        stream.window = self.stream_window
        self._streams[stream_id] = stream
        return stream

    def _place_timed(self) -> None:
        """What came in one piece is answered by now. For the rest a time is running."""
        timed, self._timed = self._timed, []
        for stream_id in timed:
            head = self._awaited.pop(stream_id, None)
            if head is not None:
                self._place(stream_id, head).opened()

    def _see(self, stream_id: int) -> None:
        """The client has opened a stream, and thereby closed all below that it never opened."""
        if stream_id - self._seen_id > 2:
            self._gaps.append(range(self._seen_id + 1, stream_id))
        self._seen_id = stream_id

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
            start, stop = without_padding(data, start, stop)
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
        head = self._heads.get(block) or self._decode(block)
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
        if head.target.whole is not None and not flags & END_STREAM:
            self._awaited[stream_id] = head
            if head.timeout_s is not None:
                self._timed.append(stream_id)
            return
        stream = self._place(stream_id, head)
        if flags & END_STREAM:
            stream.is_remote_closed = True
        stream.opened()
        if flags & END_STREAM:
            stream.received(b"", 0, is_last=True)

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
        """What a header block says; a head is kept, if decoding it left the table as it was."""
        decoder = self._decoder
        version = decoder.version
        fields = decoder.decode(block)
        if decoder.version != version:
            self._heads.clear()
        is_small = len(block) <= BLOCK_KEPT_BYTES_MAX and len(fields) <= BLOCK_KEPT_FIELDS_MAX
        try:
            head = self._head(fields) if is_small else Head(fields)
        except MalformedError as error:
            return error
        if is_small and decoder.version == version:
            if len(self._heads) >= BLOCKS_MAX:
                self._heads.clear()
            self._heads[block] = head
        return head

    def _head(self, fields: list[Field]) -> Head:
        """The head of these fields. A client's table moves on, and with it what its blocks mean.

        Raises:
            MalformedError
        """
        names = tuple(map(id, fields))
        known = self._by_fields.get(names)
        if known is None:
            if len(self._by_fields) >= BLOCKS_MAX:
                self._by_fields.clear()
            known = self._by_fields[names] = self._new_head(fields), fields
        return known[0]

    def _new_head(self, fields: list[Field]) -> Head:
        """Most of it is known, if only the timeout differs.

        Some clients put each call's timeout into the table, so no two of their blocks are alike.

        Raises:
            MalformedError
        """
        at = len(fields) - 1
        while at >= 0 and fields[at].name != _TIMEOUT:  # It stands near the end.
            at -= 1
        rest = fields if at < 0 else fields[:at] + fields[at + 1 :]
        names = tuple(map(id, rest))
        head = self._known.get(names)
        if head is None:
            if any(field.name == _TIMEOUT for field in rest):
                return Head(fields)  # Which has more than one.
            head = Head(rest)
            if len(self._known) >= BLOCKS_MAX:
                self._known.clear()
            self._known[names] = head
        if at < 0:
            return head
        timeout = fields[at]
        if not timeout.is_valid or (at < len(rest) and rest[at].name[:1] == b":"):
            raise MalformedError(f"header {timeout.name!r}, or one behind it")
        return head.with_timeout(parse_timeout(timeout.value))


def _nobody(*_: object) -> NoReturn:
    raise AssertionError("a request on a connection that is lost")


def without_padding(data: bytes, start: int, stop: int) -> tuple[int, int]:
    if start == stop:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
    padding = data[start]
    if padding >= stop - start:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return start + 1, stop - padding
