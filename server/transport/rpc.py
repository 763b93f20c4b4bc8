"""What every gRPC call on a connection shares: the windows, what waits to be sent, the end.

Bounds: a message by the receive limit; what a client sends ahead by the stream's window, which is
given back as messages are taken; what a connection's calls hold together by `HELD_BYTES_MAX`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from server import status
from server.status import RpcError
from server.transport.connection import Connection
from server.transport.frames import (
    DATA,
    END_STREAM,
    ErrorCode,
    frame,
    pack_data,
)
from server.transport.head import Head
from server.transport.host import Host
from server.transport.peer import HELD_BYTES_MAX, STREAM_WINDOW_BYTES
from server.transport.wire import (
    HELD_TOO_MUCH,
    PREFIX_BYTES,
    answer,
    decompressed,
)

GRANT_BYTES: Final = STREAM_WINDOW_BYTES // 2  # Given back at once, to save frames.


def answered(connection: Connection, id: int, window: int, body: bytes) -> bool:
    """Send headers, `body` and the end of a stream in one piece, if the windows take it."""
    size = len(body)
    if (
        size > connection.frame_bytes
        or size > connection.window
        or size > window
        or connection.must_shrink
    ):
        return False
    connection.window -= size
    connection.send(answer(id, body))
    return True


class Rpc:
    """What the two kinds of call share: the windows, what waits to be sent, the end."""

    # What stands here is how nearly every call begins and ends: its object sets only what differs.
    deadline = 0.0  # Meaningful while it stands in the host's list.
    allowance = STREAM_WINDOW_BYTES
    held = 0  # Bytes of the body that are kept here.
    is_remote_closed = False
    is_over = False  # Nothing more may be sent.
    again = b""
    is_placed = True  # Among the connection's streams.
    taken = 0  # Bytes of the window used up and not given back.
    unsent: deque[bytes] | None = None  # Body that waits for a window, then the end.
    unsent_at = 0  # Where what is left of the first piece begins.
    unsent_bytes = 0

    def __init__(self, connection: Connection, id: int, head: Head, host: Host) -> None:
        self.connection = connection
        self.id = id
        self.head = head
        self.host = host
        self.window = connection.stream_window

    def received_again(self) -> bytes | None:
        return None  # It expects nothing.

    @property
    def token(self) -> str | None:
        return self.head.token

    @property
    def peer_cn(self) -> str | None:
        return None if self.head.is_passed_on else self.connection.peer_cn

    def _hold(self, size: int) -> None:
        """`size` bytes of the body are kept until `_release`.

        Raises:
            RpcError: the connection's calls keep too much.
        """
        self.held += size
        self.connection.held_bytes += size
        if self.connection.held_bytes > HELD_BYTES_MAX:
            raise RpcError(HELD_TOO_MUCH)

    def _release(self, size: int) -> None:
        self.held -= size
        self.connection.held_bytes -= size

    def _take(self, size: int) -> None:
        """`size` bytes of the client's body have been used up."""
        self.taken += size
        if self.taken >= GRANT_BYTES and not self.is_remote_closed and not self.is_over:
            self.connection.grant(self.id, self.taken)
            self.allowance += self.taken
            self.taken = 0

    def _message(self, body: bytes | bytearray, at: int, size: int) -> bytes:
        """The message of `size` bytes whose prefix is at `at`."""
        start = at + PREFIX_BYTES
        message = bytes(body[start : start + size])
        if body[at]:
            return decompressed(message, self.head.encoding, self.host.limit_bytes)
        return message

    def _size_at(self, body: bytes | bytearray, at: int) -> int:
        """The size of the message whose prefix is at `at`.

        Raises:
            RpcError: it is above the limit.
        """
        size = int.from_bytes(body[at + 1 : at + PREFIX_BYTES], "big")
        if size > self.host.limit_bytes:
            raise RpcError(status.message_too_large(size, self.host.limit_bytes))
        return size

    def _send_whole(self, body: bytes) -> bool:
        """Send `body` in a frame of its own, if the windows take it; if not, nothing."""
        connection, size = self.connection, len(body)
        if size > self.window or size > connection.window or size > connection.frame_bytes:
            return False
        self.window -= size
        connection.window -= size
        connection.send(pack_data(size << 8, 0, self.id) + body)
        return True

    def _send_body(self) -> bool:
        """Send of what waits as much as the windows take; true if all of it went."""
        unsent, connection = self.unsent, self.connection
        while unsent:
            room = min(self.window, connection.window, connection.frame_bytes)
            if room <= 0:
                if connection.window <= 0:
                    connection.wait_for_window(self.id)
                return False
            piece, at = unsent[0], self.unsent_at
            if len(piece) - at > room:
                self.unsent_at = at + room  # What is left is not copied: it may be large.
                piece = piece[at : at + room]
            else:
                unsent.popleft()
                if at:
                    piece, self.unsent_at = piece[at:], 0
                if unsent and len(piece) + len(unsent[0]) <= room:
                    # Small messages share a frame.
                    parts, size = [piece], len(piece)
                    while unsent and size + len(unsent[0]) <= room:
                        parts.append(unsent.popleft())
                        size += len(parts[-1])
                    piece = b"".join(parts)
            size = len(piece)
            self.window -= size
            connection.window -= size
            self.unsent_bytes -= size
            connection.send(frame(DATA, 0, self.id, piece))
        return True

    def _answer(self, body: bytes) -> bool:
        """Send headers, `body` and the end in one piece, if the windows take it."""
        if not answered(self.connection, self.id, self.window, body):
            return False
        self.is_over = True
        self._forget()
        return True

    def _close(self, last: bytes) -> None:
        """Send the trailers, and forget the stream."""
        self.is_over = True
        self.connection.send_block(END_STREAM, self.id, last)
        self._forget()

    def _forget(self) -> None:
        if not self.is_placed:
            return
        if self.is_remote_closed:
            self.connection.end(self.id)
        else:
            # The answer is complete before the request is: nobody needs the rest (RFC 9113 8.1).
            self.connection.reset(self.id, ErrorCode.NO_ERROR)
