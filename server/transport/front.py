"""gRPC and HTTP together: on one port, or HTTP on URLs of its own.

One port is the native transport's: it tells the two apart by their first bytes. grpcio keeps its
sockets to itself, so beside it HTTP is served where it is asked for and nowhere else. What is to
be monitored can have URLs of its own, on either: those serve the metrics and the health, no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache, partial
from typing import Protocol

from server.clock import Clock
from server.outbox import Outbox
from server.settings.config import Config
from server.settings.urls import URL
from server.tls import ServerTLS
from server.transport.base import Transport
from server.transport.dispatch import MethodTable
from server.transport.make import make_transport
from server.transport.room import Room, connections_max
from server.transport.web import WebApp, WebServer


class ClientApp(WebApp, Protocol):
    """What clients reach by HTTP."""

    @property
    def monitoring(self) -> WebApp:
        """The part of it that has URLs of its own."""
        ...


class Front:
    """The `Transport` that clients reach."""

    def __init__(self, rpc: Transport, web: WebServer, monitoring: WebServer) -> None:
        self.rpc = rpc
        self.web = web
        self.monitoring = monitoring

    @property
    def streams(self) -> int:
        return self.rpc.streams + self.web.streams

    async def listen(self, url: URL) -> None:
        await self.rpc.listen(url)

    async def listen_http(self, url: URL) -> None:
        """Serve HTTP, and no gRPC, on an address.

        Raises:
            OSError: it cannot be bound.
        """
        await self.web.listen(url)

    async def listen_metrics(self, url: URL) -> None:
        """Serve the metrics and the health checks, and nothing else, on an address.

        Raises:
            OSError: it cannot be bound.
        """
        await self.monitoring.listen(url)

    async def start(self) -> None:
        await self.web.start()
        await self.monitoring.start()
        await self.rpc.start()

    async def drain(self, grace_s: float) -> None:
        await asyncio.gather(
            self.web.drain(grace_s), self.monitoring.drain(grace_s), self.rpc.drain(grace_s)
        )

    async def close(self) -> None:
        await self.rpc.close()
        await self.web.close()
        await self.monitoring.close()


def make_front(
    config: Config,
    methods: MethodTable,
    outbox: Outbox,
    clock: Clock,
    make_app: Callable[[Config, MethodTable], ClientApp],
    tls: ServerTLS | None = None,
) -> Front:
    """`make_app` is called once there is somebody to answer.

    Raises:
        StartError: there is no room for a connection.
    """
    app = cache(partial(make_app, config, methods))
    room = Room(connections_max())
    if tls is not None:
        room.holds(lambda: tls.handshakes)
    web = WebServer(
        app,
        clock,
        tls,
        room=room,
        keepalive_interval_s=config.grpc_keepalive_interval_s,
        keepalive_timeout_s=config.grpc_keepalive_timeout_s,
    )
    shared = None if config.listen_client_http_urls else web
    rpc = make_transport(config, methods, clock, room, outbox, tls, shared)
    monitoring = WebServer(lambda: app().monitoring, clock, tls, room=room)
    return Front(rpc, web, monitoring)
