"""HTTP/1.1: uvicorn's protocol class, which stands on h11, with bounds of ours and one app.

h11 reads requests strictly, and what it refuses is answered with 400 and the end of the
connection. A head is bounded by `HEAD_BYTES_MAX`; a client that does not get on with one, and a
connection that nobody asks anything on, by `IDLE_MAX_S`; an answer that nobody takes, `UNTAKEN_S`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from h11 import LocalProtocolError, Request
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from server.tls import peer_cn
from server.transport.web import IDLE_MAX_S, PEER_CN, WebServer

if TYPE_CHECKING:
    from server.transport.websocket import WebSocketProtocol

HEAD_BYTES_MAX: Final = 64 << 10  # Of a request line and its headers.

# It speaks of each request that is none, and a log must not be filled by strangers.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class Http1:
    """What all HTTP/1.1 connections of a server have in common: uvicorn's settings and state."""

    def __init__(self, server: WebServer) -> None:
        self._server = server
        self._config = Config(
            server.app,
            loop="none",
            http=H11Protocol,
            ws="none",  # Known to the config before it is asked for, it would be imported now.
            ws_max_size=server.app.message_bytes_max,
            ws_ping_interval=server.keepalive_interval_s or None,
            ws_ping_timeout=server.keepalive_timeout_s or None,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=IDLE_MAX_S,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
        self._config.load()
        self._config.ws_protocol_class = self._websocket  # type: ignore[assignment]  # it is called, no more
        self._state = ServerState()
        self._state.tasks = server.tasks
        self._state.default_headers = server.date

    def protocol(self) -> Http1Protocol:
        return Http1Protocol(self._server, self._config, self._state)

    def _websocket(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> WebSocketProtocol:
        from server.transport.websocket import WebSocketProtocol  # At the first; few ever ask.

        return WebSocketProtocol(config, server_state, app_state, self._server)


class Http1Protocol(H11Protocol):
    def __init__(self, server: WebServer, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._server = server
        self.idle_since = server.clock.now()
        self.paused_at = 0.0  # When the client last stopped reading.

    @property
    def is_untaken(self) -> bool:
        """A whole answer waits for a client that does not read. A stream may wait for ever."""
        if self.flow is None or not self.flow.write_paused:
            return False
        return self.is_idle or not self.cycle.response_started

    @property
    def is_idle(self) -> bool:
        """No request is being answered: it waits for one, or for the rest of its head."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._server.connections[self] = None
        self.app_state[PEER_CN] = peer_cn(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.pop(self, None)
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        if self.scope["method"] != "GET" or not self._server.app.takes_websocket(
            self.scope["path"]
        ):
            return False
        return super()._should_upgrade()

    def handle_websocket_upgrade(self, event: Request) -> None:
        self._server.connections.pop(self, None)  # The socket is another protocol's from here on.
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP. If it follows a head, the app is answering, and is to stop."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        # An answer that has begun, and one to HEAD, cannot become this one: the end says it.
        with suppress(LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def pause_writing(self) -> None:
        self.paused_at = self._server.clock.now()
        super().pause_writing()

    def on_response_complete(self) -> None:
        self.idle_since = self._server.clock.now()
        super().on_response_complete()
