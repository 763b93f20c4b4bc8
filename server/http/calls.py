"""One message in, one out, over the method table: how the app itself calls a service."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Scope

from server.auth.caller import ServerToken
from server.call import OneByOne, Streaming
from server.http.answers import GoneError
from server.status import NO_MESSAGE, RpcError

_TOKENS: Final = (b"grpc-metadata-token", b"authorization", b"grpc-metadata-authorization")


def token_of(scope: Scope) -> str | None:
    """The token of a request, under whichever name etcd's gateway would find it."""
    headers = dict(reversed(scope["headers"]))
    found = next((headers[name] for name in _TOKENS if name in headers), None)
    return None if found is None else found.decode("latin-1")


class OneExchange(OneByOne):
    """The `server.call.Stream` of a method that is unary on the wire and a coroutine in here.

    It may wait as long as it likes, for a lock or a leader; the client's leaving ends it.
    """

    peer_cn: str | None = None  # As in etcd, whose gateway vouches for nobody.

    def __init__(self, message: bytes, client_receive: Receive, token: str | None) -> None:
        """`client_receive`: of the request, its body having been read, what is left to be told."""
        self.token: str | ServerToken | None = token
        self._message: bytes | None = message
        self._client_receive = client_receive
        self._reply: bytes | None = None
        self._stopped: Exception | None = None  # Why the server ends it.
        self._serving: asyncio.Task[None] | None = None

    async def receive(self) -> bytes | None:
        message, self._message = self._message, None
        return message

    async def send(self, message: bytes) -> None:
        self._reply = message

    def send_now(self, message: bytes) -> bool:
        self._reply = message
        return True

    async def made(self, serve: Streaming) -> bytes:
        """The reply.

        Raises:
            GoneError: the client left first. And what the service or the stop raises.
        """
        self._serving = asyncio.ensure_future(_served(serve, self))
        leaving = asyncio.ensure_future(self._left())
        tasks = (self._serving, leaving)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._serving.done():
                raise GoneError
            if self._serving.cancelled() and self._stopped is not None:
                raise self._stopped
            self._serving.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._reply is None:
            raise RpcError(NO_MESSAGE)
        return self._reply

    async def _left(self) -> None:
        while (await self._client_receive())["type"] != "http.disconnect":
            pass

    def stop(self, error: Exception) -> None:
        """End it from the server's side, with this refusal."""
        if self._stopped is None and self._serving is not None:
            self._stopped = error
            self._serving.cancel()


async def _served(serve: Streaming, exchange: OneExchange) -> None:
    await serve(exchange)
