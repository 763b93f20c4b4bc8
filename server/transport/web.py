"""Everything that speaks HTTP and no gRPC: its connections, and the app that answers it.

What that takes, uvicorn and h11 and the app with all its routes, is imported when the first of
them comes, or somebody has time for it: a start does without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from starlette.types import Receive, Scope, Send

from server.clock import Clock
from server.settings.urls import URL
from server.tls import ServerTLS, listening
from server.tls_files import ALPN_HTTP1
from server.transport.base import wait_until
from server.transport.host import UNTAKEN_S
from server.transport.room import Room

if TYPE_CHECKING:
    from server.transport.http1 import Http1, Http1Protocol
    from server.transport.websocket import WebSocketProtocol

IDLE_MAX_S: Final = 300  # etcd's ReadHeaderTimeout, and between two requests.
TICK_S: Final = 1.0
PEER_CN: Final = "peer_cn"  # In a scope's state: the name in the client's certificate, or None.


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
    """Every such connection, on whichever listener it came."""

    def __init__(
        self,
        make_app: Callable[[], WebApp],
        clock: Clock,
        tls: ServerTLS | None = None,
        *,
        room: Room,
        keepalive_interval_s: float = 0,
        keepalive_timeout_s: float = 0,
    ) -> None:
        """`tls` for the URLs that ask for it; an interval of 0 pings no WebSocket."""
        self._make_app = make_app
        self.tls = tls
        self.clock = clock
        self.keepalive_interval_s = keepalive_interval_s
        self.keepalive_timeout_s = keepalive_timeout_s
        self.undecided: dict[Undecided, None] = {}
        self.connections: dict[Http1Protocol, None] = {}
        self.sockets: dict[WebSocketProtocol, None] = {}
        self.tasks: set[asyncio.Task[None]] = set()  # Of the requests that are being answered.
        self.date: list[tuple[bytes, bytes]] = []  # The header that every answer has.
        self._room = room
        room.holds(self.undecided.__len__, self.connections.__len__, self.sockets.__len__)
        self._listeners: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None

    @cached_property
    def app(self) -> WebApp:
        return self._make_app()

    @cached_property
    def _http1(self) -> Http1:
        from server.transport.http1 import Http1  # See the module.

        return Http1(self)

    @property
    def streams(self) -> int:
        """How many streams are being served."""
        return self.app.streams if "app" in self.__dict__ else 0

    def protocol(self) -> Http1Protocol:
        return self._http1.protocol()

    async def listen(self, url: URL) -> None:
        """Serve HTTP/1.1, and nothing else, on an address.

        Raises:
            OSError: it cannot be bound.
        """
        options = listening(self.tls, url, ALPN_HTTP1)
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
        self.date[:] = ((b"date", formatdate(usegmt=True).encode()),)
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
        if "app" in self.__dict__:
            self.app.stop()
        for undecided in list(self.undecided):
            undecided.close()
        for protocol in list(self.connections):
            protocol.shutdown()
        await wait_until(lambda: not self.tasks and not self.streams, grace_s)

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
