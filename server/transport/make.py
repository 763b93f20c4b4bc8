"""The transport that the settings ask for."""

from __future__ import annotations

from server.clock import Clock
from server.outbox import Outbox
from server.settings.config import Config
from server.tls import ServerTLS
from server.transport.base import Transport
from server.transport.dispatch import MethodTable
from server.transport.native import NativeServer
from server.transport.room import Room
from server.transport.web import WebServer


def make_transport(
    config: Config,
    methods: MethodTable,
    clock: Clock,
    room: Room,
    outbox: Outbox,
    tls: ServerTLS | None = None,
    web: WebServer | None = None,
) -> Transport:
    """`tls` for the URLs that ask for it; `server.tls.open_tls` makes it.

    `web` shares the listeners of the native transport; grpcio's cannot be shared.
    """
    if config.transport == "native":
        return NativeServer(
            methods,
            clock,
            max_request_bytes=config.max_request_bytes,
            max_concurrent_streams=config.max_concurrent_streams,
            keepalive_interval_s=config.grpc_keepalive_interval_s,
            keepalive_timeout_s=config.grpc_keepalive_timeout_s,
            room=room,
            outbox=outbox,
            tls=tls,
            web=web,
        )
    # Only here: the other transport, and the start of whoever uses that, do without grpc.
    from server.transport.grpcio import GrpcioServer

    return GrpcioServer(
        methods,
        max_request_bytes=config.max_request_bytes,
        max_concurrent_streams=config.max_concurrent_streams,
        keepalive_min_time_s=config.grpc_keepalive_min_time_s,
        keepalive_interval_s=config.grpc_keepalive_interval_s,
        keepalive_timeout_s=config.grpc_keepalive_timeout_s,
        tls=tls,
    )
