"""The end of a connection whose client has been told why: what still comes is dropped.

A socket that is closed with something unread makes the kernel send a reset, and a reset throws
away what the client has not read yet, the very GOAWAY. So our side is closed first, and the rest
of it once the client has closed its own, or has used up `LINGER_S` or `LINGER_BYTES_MAX`.

TLS on asyncio knows no half of a connection. There the reading goes on up to the next look at it,
about a second; then TLS says goodbye.
"""

from __future__ import annotations

import asyncio
from typing import Final

from server.transport.peer import CONNECTION_WINDOW_BYTES

LINGER_S: Final = 5.0  # A connection that is over is let go of, whoever has not read its end.
LINGER_BYTES_MAX: Final = CONNECTION_WINDOW_BYTES  # What a client may rightly have on its way.


class LingeringProtocol(asyncio.Protocol):
    """Takes over a socket to which all has been written that is to be."""

    def __init__(
        self, transport: asyncio.Transport, until: float, members: dict[LingeringProtocol, None]
    ) -> None:
        """`until` in clock seconds; it stands in `members` for as long as there is a socket."""
        self._transport = transport
        self._until = until
        self._members = members
        self._dropped_bytes = 0
        members[self] = None
        if transport.can_write_eof():
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._dropped_bytes += len(data)
        if self._dropped_bytes > LINGER_BYTES_MAX:
            self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # lost is lost
        self._members.pop(self, None)

    def tick(self, now: float) -> None:
        if self._until <= now:
            self.close()
        elif not self._transport.can_write_eof():
            self._transport.close()

    def close(self) -> None:
        self._transport.abort()
