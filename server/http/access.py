"""Who may ask, and what browsers are told: hosts and origins (etcd's accessController).

A request to a host that is not on the list is refused, lest a page in a browser reaches the
server by a name that it made point there (CVE-2018-5702). TLS has told whom it is to; there the
host is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http import answers
from server.http.answers import CLOSE, TEXT, Fields
from server.http.paths import OLD_PREFIX, PREFIX
from server.http.websocket import refusing

ANY: Final = "*"
_MISDIRECTED: Final = 421
_SECURE: Final = ("https", "wss")
_VERSIONS: Final = ("1.0", "1.1", "2")
_METHODS: Final = (b"access-control-allow-methods", b"POST, GET, OPTIONS, PUT, DELETE")
_HEADERS: Final = (b"access-control-allow-headers", b"accept, content-type, authorization")
_ORIGIN: Final = b"access-control-allow-origin"


class Access:
    def __init__(self, app: ASGIApp, *, origins: Iterable[str], hosts: Iterable[str]) -> None:
        """An empty list allows what `*` allows: everything."""
        self._app = app
        self._origins = frozenset(origins) or {ANY}
        self._hosts = frozenset(hosts) or {ANY}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_socket = scope["type"] == "websocket"
        if is_socket:
            plain_send = refusing(send)
        elif scope["type"] == "http":
            plain_send = send
        else:
            return
        if scope["http_version"] not in _VERSIONS:
            await answers.answer(plain_send, 505, b"unsupported protocol version\n", [*TEXT, CLOSE])
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:
            # Two lengths: what stands between us and the client may have believed the other one.
            text = b"a request has one length\n"
            await answers.answer(plain_send, 400, text, [*TEXT, CLOSE])
            return
        path: str = scope["path"]
        if path.startswith(OLD_PREFIX):
            scope = {**scope, "path": PREFIX + path.removeprefix(OLD_PREFIX)}
        if scope["scheme"] not in _SECURE:
            host = host_name(headers.get(b"host", b"").decode("latin-1"))
            if ANY not in self._hosts and host not in self._hosts:
                await answers.answer(plain_send, _MISDIRECTED, _misdirected(host), TEXT)
                return
        if is_socket:
            await self._app(scope, receive, send)  # No browser asks for what follows there.
            return
        fields = self._cors(headers.get(b"origin"))
        if scope["method"] == "OPTIONS":
            await answers.answer(send, 200, b"", fields)
            return

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        await self._app(scope, receive, send_with_fields)

    def _cors(self, origin: bytes | None) -> Fields:
        if ANY in self._origins:
            return [_METHODS, (_ORIGIN, b"*"), _HEADERS]
        if origin is not None and origin.decode("latin-1") in self._origins:
            return [_METHODS, (_ORIGIN, origin), _HEADERS]
        return []


def host_name(host: str) -> str:
    """A Host header without its port; as it is if it cannot be split (net.SplitHostPort)."""
    name, colon, _ = host.rpartition(":")
    if not colon:
        return host
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return host if ":" in name else name


def _misdirected(host: str) -> bytes:
    return (
        f'The host "{host}" of this request is not one that the server answers for.\n\n'
        "Either serve TLS, where every host is allowed, or allow this one:"
        f' --host-whitelist "{host}"\n\n'
        'This keeps web pages from reaching the server by "DNS rebinding" (CVE-2018-5702).\n'
    ).encode()
