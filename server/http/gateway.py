"""The JSON gateway: `POST /v3/...`, each path a method of the table.

What is answered, and how, is grpc-gateway v2's as etcd 3.6 has it; an error's body also has the
key `error` of the older line, which clients read.
"""

from __future__ import annotations

import asyncio
from typing import Final

from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

from server import failures, status
from server.http import answers, errors, mapping
from server.http.answers import CLOSE, GRPC, JSON, GoneError
from server.http.calls import OneExchange, token_of
from server.http.counting import counted_call, counted_serve
from server.http.paths import ROUTES, Route
from server.http.streams import GatewayStream
from server.status import Code, RpcError, Status
from server.transport.dispatch import Method, MethodTable, StreamMethod, UnaryMethod

# JSON of what is at the limit of a message: a third more by base64, names and braces besides.
JSON_PER_MESSAGE: Final = 2
# Above this a mapping takes milliseconds: it goes to a thread, and the loop gets turns.
OFF_LOOP_BYTES: Final = 32 << 10
_NOT_FOUND: Final = Status(Code.NOT_FOUND, "Not Found")
_WRONG_METHOD: Final = Status(Code.UNIMPLEMENTED, "Method Not Allowed")


class Gateway:
    def __init__(self, methods: MethodTable, limit_bytes: int) -> None:
        """`limit_bytes`: of a message, as every transport has it."""
        self._methods = methods
        self._limit_bytes = limit_bytes
        self.json_limit_bytes = limit_bytes * JSON_PER_MESSAGE
        self._is_stopping = False
        self.streams: dict[GatewayStream | OneExchange, None] = {}  # All that may take long.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            route = self._route(scope)
            method = self._method(route)
            if isinstance(method, StreamMethod) and route.is_stream:
                await self._serve_stream(method, route, scope, receive, send)
                return
            body = await answers.whole_body(receive, self.json_limit_bytes)
            request = await self._request(body, route)
            reply = await self._call(method, request, scope, receive)
            text = await _encoded(route.reply.FromString(reply), len(reply))
        except GoneError:
            return
        except Exception as error:  # noqa: BLE001  # all of them are answered, bugs logged
            refusal = failures.told(error)
            # A body too large is not read to its end, so nothing can follow on its connection.
            fields = [*JSON, CLOSE] if refusal.code is Code.RESOURCE_EXHAUSTED else JSON
            await answers.answer(
                send, errors.HTTP_STATUS[refusal.code], errors.body(refusal), fields
            )
        else:
            await answers.answer(send, 200, text, [*JSON, GRPC])

    def _route(self, scope: Scope) -> Route:
        if self._is_stopping:
            raise RpcError(status.SERVER_STOPPED)
        route = ROUTES.get(scope["path"])
        if route is None:
            raise RpcError(_NOT_FOUND)
        if scope["method"] != "POST":
            raise RpcError(_WRONG_METHOD)
        return route

    def _method(self, route: Route) -> Method:
        method = self._methods.get(route.path)
        if method is None:
            raise RpcError(self._methods.unknown(route.path))
        return method

    async def _request(self, body: bytes, route: Route) -> bytes:
        if len(body) > OFF_LOOP_BYTES:
            request = await asyncio.to_thread(mapping.decode, body, route.request)
        else:
            request = mapping.decode(body, route.request)
        return self._serialized(request)

    def _serialized(self, request: Message) -> bytes:
        message = request.SerializeToString()
        if len(message) > self._limit_bytes:
            raise RpcError(status.message_too_large(len(message), self._limit_bytes))
        return message

    async def _call(self, method: Method, message: bytes, scope: Scope, receive: Receive) -> bytes:
        token = token_of(scope)
        if isinstance(method, UnaryMethod):
            return await counted_call(method, message, token)
        exchange = OneExchange(message, receive, token)
        self.streams[exchange] = None
        try:
            return await exchange.made(counted_serve(method))
        finally:
            del self.streams[exchange]

    async def _serve_stream(
        self, method: StreamMethod, route: Route, scope: Scope, receive: Receive, send: Send
    ) -> None:
        stream = GatewayStream(
            receive,
            send,
            decode=lambda body: self._serialized(mapping.decode(body, route.request)),
            encode=lambda message: _encoded(route.reply.FromString(message), len(message)),
            limit_bytes=self.json_limit_bytes,
            token=token_of(scope),
            takes_many=method.client_streams,
        )
        self.streams[stream] = None
        try:
            await stream.run(counted_serve(method))
        finally:
            del self.streams[stream]

    def stop(self) -> None:
        """End every stream, as etcd does when it stops."""
        self._is_stopping = True
        for stream in list(self.streams):
            stream.stop(RpcError(status.SERVER_STOPPED))


async def _encoded(message: Message, size: int) -> bytes:
    if size > OFF_LOOP_BYTES:
        return await asyncio.to_thread(mapping.encode, message)
    return mapping.encode(message)
