"""A peer spoken frame by frame, and the core with it, without a socket."""

from __future__ import annotations

from typing import Any, Final

import hpack
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame

from server.call import Call
from server.call_counts import CallCounts
from server.status import Code, RpcError, Status
from server.transport.connection import Connection
from server.transport.dispatch import UnaryMethod
from server.transport.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    ErrorCode,
    frame,
)
from server.transport.head import Head
from server.transport.host import Host
from server.transport.hpack import encode
from server.transport.plain import PlainCall
from server.transport.unary import RefusedCall, UnaryCall
from tests.support.clock import FakeClock

LIMIT_BYTES: Final = 2_000_000
REFUSAL: Final = Status(Code.UNAVAILABLE, "no: 100% sure \N{SNOWMAN}")
REQUEST: Final = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/f.S/Echo"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)


def block(**changes: bytes | None) -> bytes:
    """A request's headers with some changed: `_path` is `:path`, None leaves one out."""
    fields: dict[bytes, bytes | None] = dict(REQUEST)
    for name, value in changes.items():
        spelled = name.replace("_", ":", 1) if name.startswith("_") else name.replace("_", "-")
        fields[spelled.encode()] = value
    return encode(tuple((name, value) for name, value in fields.items() if value is not None))


def headers(stream_id: int, *, flags: int = END_HEADERS, **changes: bytes | None) -> bytes:
    return frame(HEADERS, flags, stream_id, block(**changes))


def prefixed(message: bytes, *, is_compressed: bool = False) -> bytes:
    return bytes((is_compressed,)) + len(message).to_bytes(4, "big") + message


def data(stream_id: int, payload: bytes, *, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream_id, payload)


def call(stream_id: int, message: bytes = b"hello", method: bytes = b"Echo") -> bytes:
    """A whole unary request."""
    return headers(stream_id, _path=b"/f.S/" + method) + data(stream_id, prefixed(message))


def unheard(*_: object) -> None:
    """For what a connection tells a socket that is not there."""


class Peer:
    """The client of a connection whose service echoes, refuses, or answers when told to."""

    def __init__(self, *, streams_max: int = 100, opening: bytes = frame(SETTINGS, 0, 0)) -> None:
        self.clock = FakeClock()
        self.host = Host(self.clock, LIMIT_BYTES)
        self.counts = CallCounts()  # Of all methods.
        self.seen: list[bytes] = []  # Messages that reached the service.
        self.late: list[Call] = []
        self.large = b""  # What /f.S/Large answers.
        self.pinged: list[object] = []  # Once for each PING acknowledged at once.
        self.connection = Connection(
            self._accept, streams_max=streams_max, on_output=unheard, on_ping=self.pinged.append
        )
        self.connection.take()
        self._decoder: Any = hpack.Decoder()
        self.opening = self.send(PREFACE + opening) if opening else []

    def _accept(self, connection: Connection, stream_id: int, head: Head) -> UnaryCall | PlainCall:
        if not head.content_type.startswith(b"application/grpc"):
            return PlainCall(connection, stream_id, head, self.host)
        handler = {
            b"/f.S/Echo": self._echo,
            b"/f.S/Late": self._keep,
            b"/f.S/Large": self._large,
        }.get(head.path)
        if handler is None:
            return RefusedCall(connection, stream_id, head, self.host, REFUSAL)
        return UnaryCall(connection, stream_id, head, self.host, UnaryMethod(handler, self.counts))

    def _echo(self, message: bytes, call: Call) -> bytes | None:  # noqa: ARG002  # at once
        self.seen.append(message)
        if message == b"fail":
            raise RpcError(REFUSAL)
        return message

    def _keep(self, message: bytes, call: Call) -> bytes | None:
        self.seen.append(message)
        self.late.append(call)
        return None

    def _large(self, message: bytes, call: Call) -> bytes | None:  # noqa: ARG002  # at once
        return self.large

    def send(self, *frames: bytes) -> list[Any]:
        """What comes back."""
        self.connection.receive(b"".join(frames))
        return self.read()

    def read(self) -> list[Any]:
        return parsed(self.connection.take())

    def fields(self, received: Any) -> dict[bytes, bytes]:
        """The fields of a header block; each must be decoded once, in order."""
        return dict(self._decoder.decode(received.data, raw=True))

    def answer(self, received: list[Any], stream_id: int) -> tuple[dict[bytes, bytes], bytes]:
        """All header fields and all DATA of a stream."""
        fields: dict[bytes, bytes] = {}
        body = b""
        for each in received:
            if each.stream_id == stream_id and each.type == HEADERS:
                fields.update(self.fields(each))
            elif each.stream_id == stream_id and each.type == DATA:
                body += each.data
        return fields, body

    def works(self, stream_id: int) -> bool:
        """Does the connection still answer a call?"""
        fields, body = self.answer(self.send(call(stream_id)), stream_id)
        return fields.get(b"grpc-status") == b"0" and body == prefixed(b"hello")


def parsed(output: bytes) -> list[Any]:
    """By a parser that is not ours."""
    frames: list[Any] = []
    at = 0
    while at < len(output):
        each, size = Frame.parse_frame_header(memoryview(output[at : at + 9]))
        each.parse_body(memoryview(output[at + 9 : at + 9 + size]))
        frames.append(each)
        at += 9 + size
    return frames


def end_of_connection(received: list[Any]) -> ErrorCode | None:
    """The code of the GOAWAY that came last."""
    last = received[-1] if received else None
    return ErrorCode(last.error_code) if isinstance(last, GoAwayFrame) else None


def resets(received: list[Any]) -> list[tuple[int, ErrorCode]]:
    return [
        (each.stream_id, ErrorCode(each.error_code))
        for each in received
        if isinstance(each, RstStreamFrame)
    ]
