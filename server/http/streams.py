"""A stream of the gateway: JSON objects in the request's body, a chunk for each message back.

One message is one chunk, and one chunk one message: there are clients that take each chunk of
HTTP/1.1 for a document. A request's body that has ended ends nothing by itself; the service may,
as a keepalive does, and the client's leaving always does.

Bounds: an object by the limit given; nothing of the body is read while the service has not taken
what was read before; nothing is sent while the client does not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import Receive, Send

from server import failures
from server.auth.caller import ServerToken
from server.call import OneByOne, Streaming
from server.http import answers, errors
from server.http.answers import CLOSE, GRPC, JSON
from server.http.mapping import Documents

_RESULT: Final = b'{"result":'
_RESULT_END: Final = b"}\n"


class GatewayStream(OneByOne):
    """One request. It is the `server.call.Stream` that its service talks on."""

    peer_cn: str | None = None  # As in etcd, whose gateway vouches for nobody.

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        decode: Callable[[bytes], bytes],
        encode: Callable[[bytes], Awaitable[bytes]],
        limit_bytes: int,
        token: str | None,
        takes_many: bool,
    ) -> None:
        """`decode` makes a message of a JSON object, `encode` the other way round.

        `takes_many`: the service takes any number of them. What follows the one of another
        service is dropped: it would wait for ever, and keep the client's leaving from being seen.
        """
        self._takes_many = takes_many
        self.token: str | ServerToken | None = token
        self._receive = receive
        self._send = send
        self._decode = decode
        self._encode = encode
        self._documents = Documents(limit_bytes)
        self._found: deque[bytes] = deque()  # Objects that the service has not taken.
        self._refusal: Exception | None = None  # Of what stands behind those.
        self._is_ended = False  # The body has ended.
        self._is_begun = False  # The response has.
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()  # All that was found has been taken.
        self._stopped: Exception | None = None  # Why the server ends the stream.
        self._service: asyncio.Task[None] | None = None

    async def run(self, serve: Streaming) -> None:
        """Serve the request to its end."""
        self._service = asyncio.ensure_future(_serving(serve, self))
        reader = asyncio.ensure_future(self._read())
        is_told = False
        try:
            await asyncio.wait((self._service, reader), return_when=asyncio.FIRST_COMPLETED)
            if self._service.done():
                is_told = True
                await self._finish(self._service)
        finally:
            for task in (self._service, reader):
                task.cancel()
            await asyncio.wait((self._service, reader))
            error = None if self._service.cancelled() else self._service.exception()
            if isinstance(error, Exception) and not is_told:
                failures.told(error)  # Nobody is there to hear it, but a bug is logged.

    def stop(self, error: Exception) -> None:
        """End it from the server's side, with this refusal."""
        if self._stopped is None and self._service is not None:
            self._stopped = error
            self._service.cancel()

    # --- the client's side ---

    async def _read(self) -> None:
        """Returns when the client has left."""
        while (message := await self._receive())["type"] != "http.disconnect":
            if self._is_ended or self._refusal is not None:
                continue
            documents = self._documents
            self._found += documents.feed(message.get("body", b""))
            if self._found and not self._takes_many:
                self._is_ended = True
                self._found = deque((self._found[0],))
            elif not message.get("more_body", False):
                self._is_ended = True
                documents.end()
            if self._takes_many or not self._found:
                self._refusal = documents.refusal
            self._arrived.set()
            while self._found:
                self._wanted.clear()
                await self._wanted.wait()

    async def _finish(self, service: asyncio.Task[None]) -> None:
        error: BaseException | None = self._stopped
        if not service.cancelled():
            error = service.exception()
        if error is None:
            await self._begin(200, [*JSON, GRPC])
        else:
            assert isinstance(error, Exception)
            refusal = failures.told(error)
            await self._begin(errors.HTTP_STATUS[refusal.code], [*JSON, CLOSE])
            await answers.piece(self._send, errors.chunk(refusal))
        await answers.end(self._send)

    async def _begin(self, status: int, fields: answers.Fields) -> None:
        if not self._is_begun:
            self._is_begun = True
            await answers.begin(self._send, status, fields)

    # --- the service's side ---

    async def receive(self) -> bytes | None:
        while not self._found:
            if self._refusal is not None:
                raise self._refusal
            if self._is_ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        document = self._found.popleft()
        if not self._found:
            self._wanted.set()
        return self._decode(document)

    async def send(self, message: bytes) -> None:
        text = await self._encode(message)
        await self._begin(200, [*JSON, GRPC])
        await answers.piece(self._send, _RESULT + text + _RESULT_END)

    def send_now(self, message: bytes) -> bool:  # noqa: ARG002  # ASGI has coroutines only
        return False


async def _serving(serve: Streaming, stream: GatewayStream) -> None:
    await serve(stream)
