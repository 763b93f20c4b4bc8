"""A request that is no gRPC call: there is no such page.

Answered once it is whole, so that what is wrong with the rest of it is still answered as such.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from server.transport.connection import Connection
from server.transport.frames import DATA, END_STREAM, ErrorCode, frame
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.hpack import encode
from server.transport.rpc import Rpc

_BODY: Final = b"404 page not found\n"  # As Go's net/http, and so etcd, says it.
_HTTP_NOT_FOUND: Final = b"\x8d"  # :status 404, by its index in the static table.
_HEADERS: Final = _HTTP_NOT_FOUND + encode(
    (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(_BODY)),
    )
)


class PlainCall(Rpc):
    def __init__(self, connection: Connection, id: int, head: Head, host: Host) -> None:
        super().__init__(connection, id, head, host)

    def opened(self) -> None: ...

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:  # noqa: ARG002  # unread
        self._take(size)
        if not is_last or self.is_over or self.unsent is not None:
            return
        if self.head.method == b"HEAD":
            self._close(_HEADERS)
            return
        self.connection.send_block(0, self.id, _HEADERS)
        self.unsent = deque((_BODY,))
        self.unsent_bytes = len(_BODY)
        self.host.wait(self, UNTAKEN_S)
        self.writable()

    def writable(self) -> None:
        if self.unsent is not None and not self.is_over and self._send_body():
            self.host.done(self)
            self.is_over = True
            self.connection.send(frame(DATA, END_STREAM, self.id))
            self._forget()

    def expire(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.connection.reset(self.id, ErrorCode.CANCEL)

    def lost(self, code: int) -> None:  # noqa: ARG002  # why is of no interest: nobody listens
        self.is_over = True
        self.host.done(self)
