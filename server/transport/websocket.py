"""WebSockets: uvicorn's protocol class, which stands on `websockets`, with bounds of ours.

An HTTP/1.1 connection becomes one when its request asks for it and the app takes it. The library
reads frames strictly; what it refuses ends the connection with the code of RFC 6455.

Bounds: a message by the app's limit, and by `FRAGMENTS_MAX`, since fragments may be empty; what
has arrived and was not taken by one read of the socket, because reading pauses until it is; what
is sent ahead by the socket's own buffer, because sending pauses then; pongs owed to one who does
not read by those for one read. Nothing is compressed. One that is over is let go of after
`UNTAKEN_S`, whoever has not read its end.

A client that does not read is never dropped for it, so it is not pinged either while something is
on its way to it: TCP finds out by itself whether it still lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from server.transport.host import UNTAKEN_S

if TYPE_CHECKING:
    from asyncio.transports import BaseTransport

    from websockets.frames import Frame

    from server.transport.web import WebServer

FRAGMENTS_MAX: Final = 16_384  # Of one message; browsers send 128 KiB in each.
_POLICY: Final = 1008  # RFC 6455 section 7.4.1.


class WebSocketProtocol(WebSocketsSansIOProtocol):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        server: WebServer,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._server = server
        self._owed_pongs = b""
        self._ended_at: float | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        self._server.sockets[self] = None
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.sockets.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # It was no request in the library's eyes: too many headers, or too long ones.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_text(self, event: Frame) -> None:
        # The app says what is wrong with bytes that are no text; etcd's proxy does not look either.
        self.handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) == FRAGMENTS_MAX:
            self.conn.fail(_POLICY, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        pongs = b"".join(self.conn.data_to_send())  # Of all pings that one read held.
        if not pongs:
            return
        if self.writable.is_set():
            self.transport.write(pongs)
        else:
            self._owed_pongs = pongs  # Only the newest ping needs one (RFC 6455 section 5.5.3).

    def resume_writing(self) -> None:
        super().resume_writing()
        owed, self._owed_pongs = self._owed_pongs, b""
        if owed:
            self.transport.write(owed)

    def send_keepalive_ping(self) -> None:
        if self.writable.is_set():
            super().send_keepalive_ping()
        else:
            self.schedule_ping()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # By an answer: nothing to complain of in the log.

    def tick(self, now: float) -> None:
        """About once a second: let go of what is over."""
        if not self.close_sent and not self.transport.is_closing():
            return
        if self._ended_at is None:
            self._ended_at = now
        elif self._ended_at <= now - UNTAKEN_S:
            self.transport.abort()
