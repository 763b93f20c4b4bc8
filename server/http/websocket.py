"""The gateway by WebSocket: each message is a JSON object, of the request or of the answer.

As in etcd, whose proxy for it (grpc-websocket-proxy) makes a POST of what comes so, whatever
method it says, and hands it to the gateway: a stream goes on both ways until one of the two ends
it; of a method that is no stream, the first message is the request. Text and binary messages mean
the same; answers are text. A browser cannot set headers here, so the token comes as the protocol
`Bearer, TOKEN` or as the cookie `token`.

It differs from etcd's where that one loses what it has to say: a refusal by the access rules is an
HTTP answer and no WebSocket, and the end is said (1000; 1001 when the server ends). And where a
browser shows a cookie without being asked: it sends it along whichever page opens the WebSocket, so
it counts only for a page of the server's own host or of an origin that --cors names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.paths import ROUTES

_PROTOCOL: Final = b"sec-websocket-protocol"
_BEARER: Final = "Bearer"
_COOKIE: Final = "token"
_FORWARDED: Final = (b"host", b"origin", b"referer")
_ENDED: Final = 1000  # RFC 6455 section 7.4.1: normal closure, and going away.
_GOING_AWAY: Final = 1001
_GONE: Final[Message] = {"type": "http.disconnect"}


class WebSockets:
    """An ASGI app for scopes of type `websocket`."""

    def __init__(self, gateway: ASGIApp, origins: Iterable[str] = ()) -> None:
        """`origins`: whose pages may use the cookie of whoever looks at them; `*` names none."""
        self._gateway = gateway
        self._origins = frozenset(origins)
        self._sockets: dict[_Socket, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        protocol = headers.get(_PROTOCOL, b"").decode("latin-1")
        accepted: Message = {"type": "websocket.accept"}
        if protocol.startswith(_BEARER):
            accepted["subprotocol"] = _BEARER
        await receive()  # That it connects.
        socket = _Socket(receive, send, scope["path"])
        self._sockets[socket] = None
        try:
            await socket.say(accepted)
            request = _request(scope, headers, self._token(headers, protocol))
            await self._gateway(request, socket.receive, socket.send)
            code = _GOING_AWAY if socket.is_stopped else _ENDED
            await socket.say({"type": "websocket.close", "code": code})
        finally:
            del self._sockets[socket]

    def _token(self, headers: Mapping[bytes, bytes], protocol: str) -> str:
        cookie = cookie_parser(headers.get(b"cookie", b"").decode("latin-1")).get(_COOKIE)
        if cookie is not None and self._may_use_cookie(headers):
            return cookie
        _, comma, token = protocol.partition(f"{_BEARER},")
        return token.strip() if comma else ""

    def _may_use_cookie(self, headers: Mapping[bytes, bytes]) -> bool:
        origin = headers.get(b"origin")
        if origin is None:  # No browser: it said itself what it sends.
            return True
        _, _, host = origin.partition(b"://")
        return host == headers.get(b"host") or origin.decode("latin-1") in self._origins

    def stop(self) -> None:
        """End those whose request has not come yet; streams are the gateway's to end."""
        for socket in list(self._sockets):
            socket.stop()


def refusing(send: Send) -> Send:
    """Answer a WebSocket's request with plain HTTP (ASGI's websocket.http.response)."""

    async def say(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return say


class _Socket:
    """The request's `receive` and `send`, as the gateway knows them."""

    def __init__(self, receive: Receive, send: Send, path: str) -> None:
        route = ROUTES.get(path)
        self._is_stream = route is not None and route.is_stream
        self._receive = receive
        self._send = send
        self._is_asked = False  # A message has come.
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        if self._is_asked and not self._is_stream:
            while (await self._receive())["type"] == "websocket.receive":
                pass  # Nobody waits for more than the one; it is the leaving that matters.
            return _GONE
        message = await self._next()
        if message["type"] != "websocket.receive":
            return _GONE
        self._is_asked = True
        text: str | None = message.get("text")
        body: bytes = message["bytes"] if text is None else text.encode()
        if self._is_stream:
            body += b"\n"  # One object does not go on in the next message.
        return {"type": "http.request", "body": body, "more_body": self._is_stream}

    async def _next(self) -> Message:
        if self._is_stream:
            return await self._receive()
        arriving = asyncio.ensure_future(self._receive())
        await asyncio.wait((arriving, self._stopped), return_when=asyncio.FIRST_COMPLETED)
        if arriving.done():
            return arriving.result()
        arriving.cancel()
        return _GONE

    @property
    def is_stopped(self) -> bool:
        return self._stopped.done()

    def stop(self) -> None:
        if not self._is_stream and not self._is_asked and not self.is_stopped:
            self._stopped.set_result(None)

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            return  # There is no place for a status or for headers any more.
        for line in message.get("body", b"").split(b"\n"):
            if line:
                await self.say({"type": "websocket.send", "text": line.decode()})

    async def say(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            return  # The client has left, which `receive` is about to say.


def _request(scope: Scope, headers: Mapping[bytes, bytes], token: str) -> Scope:
    """The request that stands for it."""
    fields = [(name, headers[name]) for name in _FORWARDED if name in headers]
    if token:
        fields.append((b"authorization", token.encode("latin-1")))
    return {
        "type": "http",
        "asgi": scope["asgi"],
        "http_version": scope["http_version"],
        "method": "POST",
        "scheme": "https" if scope["scheme"] == "wss" else "http",
        "path": scope["path"],
        "raw_path": scope.get("raw_path", b""),
        "query_string": scope["query_string"],
        "root_path": "",
        "headers": fields,
        "client": scope.get("client"),
        "server": scope.get("server"),
    }
