"""A gRPC client that costs next to nothing: HTTP/2 frames over one blocking socket, one thread.

On a machine of two cores a client library that takes 100 microseconds a call measures itself. This
one builds frames from constants, never decodes a header block, and hands out the messages of every
stream in the order in which they arrived. It is for load and for fine timing; what a real client
sees is checked with grpcio in `bench.client`.

What it leaves out: a status is not read. A unary call that ends without a message was refused, and
is reported as such; streams that are reset and connections that are closed raise `WireError`.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Self

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
ACK: Final = 0x1
PADDED: Final = 0x8
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4  # Numbers of settings.
STREAMS_UNLIMITED: Final = 2**31  # Until the server's settings have come.
WINDOW_BYTES_DEFAULT: Final = 65_535
WINDOW_BYTES_MAX: Final = 2**31 - 1  # We take all the server sends, so replies never wait for us.
FRAME_BYTES_MAX: Final = 16_384
READ_BYTES: Final = 1 << 18
IN_FLIGHT: Final = 128  # Unary calls open at a time in `calls`, as etcd's own benchmark tool does.


class WireError(Exception):
    """The server broke off a stream or the connection, or refused a call."""


class Arrival(NamedTuple):
    """A message of a stream, or (None) the stream's end."""

    stream: int
    message: bytes | None


def frame_message(message: bytes) -> bytes:
    """`message` behind gRPC's prefix: not compressed, and its length."""
    return b"\0" + struct.pack(">I", len(message)) + message


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _header_block(method: str, authority: str, *, tls: bool) -> bytes:
    """HPACK without state: indexes of the static table and plain literals, never indexed anew."""
    path, host = f"/etcdserverpb.{method}".encode(), authority.encode()
    return b"".join(
        (
            b"\x83\x87" if tls else b"\x83\x86",  # :method POST, :scheme https or http
            b"\x04" + bytes([len(path)]) + path,
            b"\x01" + bytes([len(host)]) + host,
            b"\x0f\x10\x10application/grpc",  # content-type is entry 31 of the static table.
            b"\x00\x02te\x08trailers",
        )
    )


class Connection:
    """One connection. Methods are named as etcd's, without the package: `KV/Put`."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Connect to 127.0.0.1:`port`, over TLS if there is a context for it.

        Raises:
            OSError: nobody listens there (yet).
        """
        self._authority = f"127.0.0.1:{port}"
        self._blocks: dict[str, bytes] = {}
        self._next_stream = 1
        self._window = WINDOW_BYTES_DEFAULT
        self._stream_window_initial = WINDOW_BYTES_DEFAULT
        self._streams_max = STREAMS_UNLIMITED
        self._stream_windows: dict[int, int] = {}
        self._partial: dict[int, bytearray] = {}  # Bytes of messages not yet complete, by stream.
        self._unsent: deque[tuple[int, bytes, bool]] = deque()  # Waits for the server's windows.
        self._out = bytearray()
        self._in = bytearray()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="127.0.0.1")
        self._socket.setblocking(False)
        self._out += PREFACE
        self._out += _frame(
            SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX)
        )
        self._out += _frame(
            WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_BYTES_MAX - WINDOW_BYTES_DEFAULT)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def open(self, method: str) -> int:
        """Start a stream; return its id."""
        block = self._blocks.get(method)
        if block is None:
            block = self._blocks[method] = _header_block(
                method, self._authority, tls=isinstance(self._socket, ssl.SSLSocket)
            )
        stream = self._next_stream
        self._next_stream += 2
        self._stream_windows[stream] = self._stream_window_initial
        self._out += _frame(HEADERS, END_HEADERS, stream, block)
        return stream

    def send(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """Queue framed messages on `stream`; with `end`, nothing follows. `poll` sends them."""
        self._unsent.append((stream, body, end))
        self._release()

    def poll(self, timeout_s: float = 0.0) -> list[Arrival]:
        """Send what may be sent, and return what has arrived, waiting up to `timeout_s` for it.

        Raises:
            WireError: the server broke off.
        """
        self._flush()
        writable = [self._socket] if self._out else []
        # Bytes that TLS has already decrypted are not the kernel's to tell of.
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        wait_s = 0.0 if pending else max(0.0, timeout_s)
        readable, can_write, _ = select.select([self._socket], writable, [], wait_s)
        if can_write:
            self._flush()
        if not readable and not pending:
            return []
        try:
            data = self._socket.recv(READ_BYTES)
        except ssl.SSLWantReadError:
            return []  # Half a record.
        except ConnectionError as error:
            raise WireError(str(error)) from error
        if not data:
            raise WireError("the server closed the connection")
        self._in += data
        arrivals = self._take_frames()
        self._flush()  # The server waits for an acknowledgement, and we may not be back for long.
        return arrivals

    def call(self, method: str, request: bytes, *, timeout_s: float = 30.0) -> bytes:
        """One unary call while no other stream is open.

        Raises:
            WireError: refused, broken off, or not answered within `timeout_s`.
        """
        stream = self.open(method)
        self.send(stream, frame_message(request), end=True)
        reply: bytes | None = None
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            for arrival in self.poll(give_up - time.monotonic()):
                if arrival.message is not None:
                    reply = arrival.message
                elif reply is None:
                    raise WireError(f"{method} was refused")
                else:
                    return reply
        raise WireError(f"{method} was not answered within {timeout_s} s")

    def calls(
        self, method: str, requests: Iterable[bytes], *, in_flight: int = IN_FLIGHT
    ) -> Iterator[bytes]:
        """Make unary calls, `in_flight` at a time; yield the replies in order of arrival.

        Raises:
            WireError: one was refused or broken off.
        """
        waiting = iter(requests)
        unanswered: set[int] = set()
        more = True
        while more or unanswered:
            # Go's HTTP/2 server, which etcd 3.5 has over TLS, counts streams for a while longer
            # than their client does, and resets what is one too many.
            most = min(in_flight, self._streams_max // 4)
            while more and len(unanswered) < most:
                request = next(waiting, None)
                if request is None:
                    more = False
                    break
                stream = self.open(method)
                self.send(stream, frame_message(request), end=True)
                unanswered.add(stream)
            answered = set()
            for arrival in self.poll(1.0):
                if arrival.message is not None:
                    answered.add(arrival.stream)
                    yield arrival.message
                elif arrival.stream in unanswered - answered:
                    raise WireError(f"{method} was refused")
            unanswered -= answered

    def _release(self) -> None:
        """Move queued bytes to the socket's buffer as far as the server's windows allow."""
        while self._unsent:
            stream, body, end = self._unsent[0]
            size = min(self._window, self._stream_windows.get(stream, 0), FRAME_BYTES_MAX)
            if size <= 0 and body:
                return
            part, rest = body[:size], body[size:]
            last = end and not rest
            self._out += _frame(DATA, END_STREAM if last else 0, stream, part)
            self._window -= len(part)
            self._stream_windows[stream] -= len(part)
            if rest:
                self._unsent[0] = (stream, rest, end)
            else:
                self._unsent.popleft()

    def _flush(self) -> None:
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except ConnectionError as error:
            raise WireError(str(error)) from error
        del self._out[:sent]

    def _take_frames(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        data, at = self._in, 0
        while len(data) - at >= 9:
            head, flags, stream = struct.unpack_from(">IBI", data, at)
            end = at + 9 + (head >> 8)
            if len(data) < end:
                break
            self._take_frame(head & 0xFF, flags, stream, bytes(data[at + 9 : end]), arrivals)
            at = end
        del data[:at]
        if self._unsent:
            self._release()
        return arrivals

    def _take_frame(
        self, kind: int, flags: int, stream: int, payload: bytes, arrivals: list[Arrival]
    ) -> None:
        if kind == DATA:
            if flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            self._take_messages(stream, payload, arrivals)
        elif kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if stream == 0:
                self._window += more
            elif stream in self._stream_windows:
                self._stream_windows[stream] += more
        elif kind == SETTINGS and not flags & ACK:
            self._take_settings(payload)
        elif kind == PING and not flags & ACK:
            self._out += _frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            raise WireError(f"GOAWAY {payload[8:]!r}")
        elif kind == RST_STREAM and any(payload):  # NO_ERROR follows an answer that came early.
            raise WireError(f"stream {stream} was reset: error {int.from_bytes(payload, 'big')}")
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self._partial.pop(stream, None)
            self._stream_windows.pop(stream, None)
            arrivals.append(Arrival(stream, None))

    def _take_messages(self, stream: int, payload: bytes, arrivals: list[Arrival]) -> None:
        partial = self._partial.pop(stream, None)
        data = payload if partial is None else bytes(partial + payload)
        at = 0
        while len(data) - at >= 5:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            if len(data) < end:
                break
            arrivals.append(Arrival(stream, data[at + 5 : end]))
            at = end
        if at < len(data):
            self._partial[stream] = bytearray(data[at:])

    def _take_settings(self, payload: bytes) -> None:
        for number, value in struct.iter_unpack(">HI", payload):
            if number == INITIAL_WINDOW_SIZE:
                for stream in self._stream_windows:
                    self._stream_windows[stream] += value - self._stream_window_initial
                self._stream_window_initial = value
            elif number == MAX_CONCURRENT_STREAMS:
                self._streams_max = value
        self._out += _frame(SETTINGS, ACK, 0, b"")
