"""The plain routes: /health, /livez, /readyz, /metrics, /version. Everything else is not found.

They are two lists, since the metrics and the checks can be had on URLs of their own as well.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from server.http.health import Check, Health
from server.log import fields
from server.metrics.exposition import render
from server.metrics.observed import Observed
from server.metrics.sources import Sources
from server.metrics.text import CONTENT_TYPE
from server.version import CLUSTER_VERSION, ETCD_VERSION

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_NOT_SNIFFED: Final = {"x-content-type-options": "nosniff"}
_VERSION: Final = json.dumps(
    {
        "etcdserver": ETCD_VERSION,
        "etcdcluster": CLUSTER_VERSION,
        "storage": CLUSTER_VERSION,
    },
    separators=(",", ":"),
)


def plain_app(routes: Sequence[Route]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_found})
    app.router.redirect_slashes = False  # A slash more is another path, which there is not.
    return app


def version_route() -> Route:
    return _get("/version", _version)


def monitoring_routes(health: Health, metrics: Sources) -> list[Route]:
    return [
        _get("/health", _health(health, metrics.observed)),
        _get("/metrics", _metrics(metrics)),
        *_check_routes("/livez", health.live, metrics.observed),
        *_check_routes("/readyz", health.ready, metrics.observed),
    ]


def _get(path: str, endpoint: Endpoint) -> Route:
    """Any method gets there, so that a wrong one is refused with etcd's words."""

    async def asked(request: Request) -> Response:
        if request.method != "GET":
            return _refusal("Method Not Allowed", 405, {"allow": "GET"})
        return await endpoint(request)

    route = Route(path, asked)
    route.methods = None
    return route


async def _version(request: Request) -> Response:  # noqa: ARG001  # it says the same to everyone
    return Response(_VERSION, media_type="application/json")


def _health(health: Health, observed: Observed) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        query = request.query_params
        reason = await health.trouble(
            excluded=set(query.getlist("exclude")),
            serializable=query.get("serializable") == "true",
        )
        body = json.dumps(
            {"health": "false" if reason else "true", "reason": reason}, separators=(",", ":")
        )
        if not reason:
            observed.health_success += 1
            return PlainTextResponse(body)
        observed.health_failures += 1
        logger.warning("serving /health: not healthy", extra=fields(reason=reason))
        return _refusal(body, 503)

    return endpoint


def _metrics(metrics: Sources) -> Endpoint:
    async def endpoint(request: Request) -> Response:  # noqa: ARG001  # there is one page
        return Response(render(metrics), headers={"content-type": CONTENT_TYPE})

    return endpoint


def _check_routes(path: str, checks: Mapping[str, Check], observed: Observed) -> list[Route]:
    single = [
        _get(f"{path}/{name}", _checks(path, {name: checks[name]}, observed)) for name in checks
    ]
    return [_get(path, _checks(path, checks, observed)), *single]


def _checks(path: str, checks: Mapping[str, Check], observed: Observed) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        excluded = set(request.query_params.getlist("exclude"))
        if unknown := excluded - checks.keys():
            logger.warning("no such check", extra=fields(path=path, exclude=sorted(unknown)))
        lines = []
        failed = False
        for name, check in checks.items():
            if name in excluded:
                continue
            failure = await check()
            observed.checked(path.removeprefix("/"), name, is_well=not failure)
            if failure:
                lines.append(f"[-]{name} failed: {failure}\n")
                failed = True
            else:
                lines.append(f"[+]{name} ok\n")
        if failed:
            logger.warning("a check failed", extra=fields(path=path, checks="".join(lines)))
            return _refusal("".join(lines), 503)
        shown = "".join(lines) if "verbose" in request.query_params else ""
        return PlainTextResponse(f"{shown}ok\n", headers=_NOT_SNIFFED)

    return endpoint


async def _not_found(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _refusal("404 page not found", 404)


def _refusal(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """As Go's http.Error writes it."""
    return PlainTextResponse(f"{text}\n", status, {**_NOT_SNIFFED, **(headers or {})})
