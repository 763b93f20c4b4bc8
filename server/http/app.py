"""The apps that HTTP is served by: the one that everything which is no gRPC goes to, whichever
HTTP it came by; and the one for --listen-metrics-urls.
"""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from server.http import answers
from server.http.access import Access
from server.http.answers import TEXT
from server.http.gateway import Gateway
from server.http.health import Health
from server.http.paths import OLD_PREFIX, PREFIX
from server.http.routes import monitoring_routes, plain_app, version_route
from server.http.websocket import WebSockets, refusing
from server.metrics.sources import Sources
from server.settings.config import Config
from server.transport.base import OVERHEAD_BYTES
from server.transport.dispatch import MethodTable
from server.transport.web import PEER_CN

# etcd's words (server/embed/serve.go).
_NAME_IGNORED: Final = (
    b"CommonName of client sending a request against gateway"
    b" will be ignored and not used as expected\n"
)


class HttpApp:
    """An ASGI app for requests of type `http` and `websocket`; it has no lifespan."""

    def __init__(self, config: Config, methods: MethodTable, metrics: Sources) -> None:
        self._gateway = Gateway(methods, config.max_request_bytes + OVERHEAD_BYTES)
        self._sockets = WebSockets(self._gateway, config.cors)
        self._has_gateway = config.enable_grpc_gateway
        self._takes_names = config.client_cert_auth
        self._auth = metrics.state.auth
        routes = monitoring_routes(Health(methods, config.request_timeout_s), metrics)
        self._plain = plain_app([*routes, version_route()])
        self.monitoring = MonitoringApp(plain_app(routes))
        self._entry = Access(self._route, origins=config.cors, hosts=config.host_whitelist)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._entry(scope, receive, send)

    @property
    def streams(self) -> int:
        """How many streams the gateway serves."""
        return len(self._gateway.streams)

    def stop(self) -> None:
        """End the streams, as etcd does when it stops."""
        self._gateway.stop()
        self._sockets.stop()

    def takes_websocket(self, path: str) -> bool:
        return self._has_gateway and path.startswith((PREFIX, OLD_PREFIX))

    @property
    def message_bytes_max(self) -> int:
        return self._gateway.json_limit_bytes

    def _is_misunderstood(self, scope: Scope) -> bool:
        """Whether the client may think that the gateway knows it by its certificate's name."""
        if not (self._takes_names and self._auth.enabled):
            return False
        return scope.get("state", {}).get(PEER_CN) is not None

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not (self._has_gateway and scope["path"].startswith(PREFIX)):
            await self._plain(scope, receive, send)
        elif self._is_misunderstood(scope):
            say = refusing(send) if scope["type"] == "websocket" else send
            await answers.answer(say, 400, _NAME_IGNORED, TEXT)
        elif scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        else:
            await self._gateway(scope, receive, send)


class MonitoringApp:
    """The metrics and the health checks, for whoever gets there: no hosts, no origins, as etcd."""

    streams = 0
    message_bytes_max = 0

    def __init__(self, plain: Starlette) -> None:
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._plain(scope, receive, send)

    def stop(self) -> None: ...

    def takes_websocket(self, path: str) -> bool:  # noqa: ARG002  # there is nothing to talk to
        return False
