"""HTTP/1.1: uvicorn's protocol class, which stands on h11, with bounds of ours and one app.

h11 reads requests strictly, and what it refuses is answered with 400 and the end of the
connection. A head is bounded by `HEAD_BYTES_MAX`; a client that does not get on with one, and a
connection that nobody asks anything on, by `IDLE_MAX_S`; an answer that nobody takes, `UNTAKEN_S`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, Protocol

from h11 import LocalProtocolError, Request
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from server.clock import Clock
from server.settings.urls import URL
from server.tls import ServerTLS, peer_cn
from server.tls_files import ALPN_HTTP1
from server.transport.base import wait_until
from server.transport.host import UNTAKEN_S
from server.transport.room import Room

if TYPE_CHECKING:
    from server.transport.websocket import WebSocketProtocol

HEAD_BYTES_MAX: Final = 64 << 10  # Of a request line and its headers.
IDLE_MAX_S: Final = 300  # etcd's ReadHeaderTimeout, and between two requests.
TICK_S: Final = 1.0
PEER_CN: Final = "peer_cn"  # In a scope's state: the name in the client's certificate, or None.

# It speaks of each request that is none, and a log must not be filled by strangers.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class WebApp(Protocol):
    """An ASGI app for requests of type `http`, and `websocket` where it takes them; no lifespan."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    @property
    def streams(self) -> int:
        """How many streams are being served."""
        ...

    def stop(self) -> None:
        """End the streams: the server is about to."""
        ...

    def takes_websocket(self, path: str) -> bool:
        """Whether a request to `path` that asks for a WebSocket is to get it."""
        ...

    @property
    def message_bytes_max(self) -> int:
        """Of a WebSocket's message."""
        ...


class Undecided(Protocol):
    """A connection that has not said yet what it speaks."""

    begun_at: float  # Clock seconds.

    def close(self) -> None: ...


def is_secure(transport: asyncio.Transport) -> bool:
    return transport.get_extra_info("ssl_object") is not None


class WebServer:
    """Every connection that speaks HTTP/1.1, on whichever listener it came."""

    def __init__(
        self,
        app: WebApp,
        clock: Clock,
        tls: ServerTLS | None = None,
        *,
        room: Room,
        keepalive_interval_s: float = 0,
        keepalive_timeout_s: float = 0,
    ) -> None:
        """`tls` for the URLs that ask for it; an interval of 0 pings no WebSocket."""
        self.app = app
        self.tls = tls
        self.clock = clock
        self.undecided: dict[Undecided, None] = {}
        self.connections: dict[Http1Protocol, None] = {}
        self.sockets: dict[WebSocketProtocol, None] = {}
        self._room = room
        room.holds(self.undecided.__len__, self.connections.__len__, self.sockets.__len__)
        self.config = Config(
            app,
            loop="none",
            http=H11Protocol,
            ws="none",  # Known to the config before it is asked for, it would be imported now.
            ws_max_size=app.message_bytes_max,
            ws_ping_interval=keepalive_interval_s or None,
            ws_ping_timeout=keepalive_timeout_s or None,
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
        self.config.load()
        self.config.ws_protocol_class = self._websocket  # type: ignore[assignment]  # it is called, no more
        self.state = ServerState()
        self._listeners: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None

    @property
    def date(self) -> list[tuple[bytes, bytes]]:
        """The header that every answer has."""
        return self.state.default_headers

    def protocol(self) -> Http1Protocol:
        return Http1Protocol(self)

    def _websocket(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> WebSocketProtocol:
        from server.transport.websocket import WebSocketProtocol  # At the first; few ever ask.

        return WebSocketProtocol(config, server_state, app_state, self)

    async def listen(self, url: URL) -> None:
        """Serve HTTP/1.1, and nothing else, on an address.

        Raises:
            OSError: it cannot be bound.
        """
        options: dict[str, Any] = {}
        if url.is_tls:
            assert self.tls is not None, "the settings give a certificate"
            options = self.tls.listening(ALPN_HTTP1)
        self._listeners.append(await self._room.listen(url, self.protocol, options))

    async def start(self) -> None:
        self.tick()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep_until(self.clock.now() + TICK_S)
            self.tick()

    def tick(self) -> None:
        """Close what has waited too long for a request."""
        self.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        too_old = self.clock.now() - IDLE_MAX_S
        for undecided in [each for each in self.undecided if each.begun_at <= too_old]:
            undecided.close()
        too_slow = self.clock.now() - UNTAKEN_S
        for protocol in list(self.connections):
            if protocol.is_untaken and protocol.paused_at <= too_slow:
                protocol.transport.abort()
            elif protocol.is_idle and protocol.idle_since <= too_old:
                protocol.transport.close()
        for socket in list(self.sockets):
            socket.tick(self.clock.now())

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, end the streams, let the rest finish within `grace_s`."""
        for listener in self._listeners:
            listener.close()
        self.app.stop()
        for undecided in list(self.undecided):
            undecided.close()
        for protocol in list(self.connections):
            protocol.shutdown()
        await wait_until(lambda: not self.state.tasks and not self.app.streams, grace_s)

    async def close(self) -> None:
        """Let go of every socket."""
        if self._ticker is not None:
            self._ticker.cancel()
        for undecided in list(self.undecided):
            undecided.close()
        for protocol in list(self.connections):
            protocol.transport.abort()
        for socket in list(self.sockets):
            socket.transport.abort()
        for listener in self._listeners:
            await listener.wait_closed()


class Http1Protocol(H11Protocol):
    def __init__(self, server: WebServer) -> None:
        super().__init__(server.config, server.state, {})
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
