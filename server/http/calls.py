"""One message in, one out, over the method table: how the app itself calls a service."""

from __future__ import annotations

import asyncio

from server.call import Streaming, Unary
from server.status import NO_MESSAGE, RpcError


class OneCall:
    """The `server.call.PeerCall` of a unary method."""

    peer_cn: str | None = None  # As in etcd, whose gateway vouches for nobody.

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(message)

    def fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    async def made(self, handle: Unary, message: bytes) -> bytes:
        reply = handle(message, self)
        return await self._answer if reply is None else reply


class OneExchange:
    """The `server.call.Stream` of a method that is unary on the wire and a coroutine in here."""

    peer_cn: str | None = None  # As in etcd, whose gateway vouches for nobody.

    def __init__(self, message: bytes) -> None:
        self._message: bytes | None = message
        self._reply: bytes | None = None

    async def receive(self) -> bytes | None:
        message, self._message = self._message, None
        return message

    async def send(self, message: bytes) -> None:
        self._reply = message

    async def made(self, serve: Streaming) -> bytes:
        await serve(self)
        if self._reply is None:
            raise RpcError(NO_MESSAGE)
        return self._reply
