"""Messages both ways, served by one coroutine.

What the service sends is packed into DATA when the connection writes, so messages that come
together leave together. What waits for the client's window is bounded by `SEND_AHEAD_BYTES`,
above which `send` does not return.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from server import status
from server.status import Code, RpcError, Status
from server.transport.connection import Connection
from server.transport.dispatch import StreamMethod
from server.transport.frames import (
    END_HEADERS,
    HEADERS,
    frame,
)
from server.transport.head import Head
from server.transport.host import Host
from server.transport.rpc import Rpc
from server.transport.wire import (
    OK_TRAILERS,
    PREFIX_BYTES,
    RESPONSE_HEADERS,
    prefixed,
    trailers,
    trailers_only,
)

SEND_AHEAD_BYTES: Final = 256 << 10  # Of messages that wait for the client's window.


class StreamingCall(Rpc):
    """Messages both ways. It is the `server.call.Stream` that its service talks on."""

    __slots__ = (
        "_arrived",
        "_body",
        "_counts",
        "_drained",
        "_is_begun",
        "_is_dirty",
        "_is_running",
        "_messages",
        "_method",
        "_refusal",
        "_stopped",
        "on_dirty",
        "task",
    )

    def __init__(
        self,
        connection: Connection,
        id: int,
        head: Head,
        host: Host,
        method: StreamMethod,
        on_dirty: Callable[[StreamingCall], None],
    ) -> None:
        super().__init__(connection, id, head, host)
        self._method = method
        self._counts = method.counts
        self.on_dirty = on_dirty
        self._stopped: Exception | None = None  # Why the server ends the call.
        self.task: asyncio.Task[None] | None = None
        self.unsent = deque()
        self._body = bytearray()
        self._messages: deque[tuple[bytes, int]] = deque()  # With the window each has used up.
        self._refusal: Exception | None = None  # Of the message behind those.
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_begun = False
        self._is_dirty = False
        self._is_running = False  # A task cancelled before it runs would not even clean up.

    # --- the connection's side ---

    def opened(self) -> None:
        self._counts.started += 1
        self.host.streams[self] = None
        self.task = asyncio.get_running_loop().create_task(self._run())
        if self.head.timeout_s is not None:
            self.host.wait(self, self.head.timeout_s)

    async def _run(self) -> None:
        error: Exception | None = self._stopped
        self._is_running = True
        try:
            if error is None and not self.is_over:
                await self._method.serve(self)
        except asyncio.CancelledError:
            error = self._stopped
        except Exception as failure:  # noqa: BLE001  # all of them are answered, bugs logged
            error = failure
        finally:
            del self.host.streams[self]
            self.host.done(self)
        if self.is_over:
            self._counts.failed[Code.CANCELLED] += 1
            return
        refusal = None if error is None else self.host.status_of(error)
        if refusal is None:
            self._counts.ok += 1
        else:
            self._counts.failed[refusal.code] += 1
        await self._finish(refusal)

    def stop(self, error: Exception) -> None:
        """End the call from the server's side, with this status."""
        if not self.is_over and self._stopped is None and self.task is not None:
            self._stopped = error
            if self._is_running:
                self.task.cancel()

    def expire(self) -> None:
        self.stop(RpcError(status.DEADLINE_EXCEEDED))

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:
        if self.is_over or self._refusal is not None:
            return
        padding = size - len(data)
        body = self._body
        if body:
            body += data
            view: bytes | bytearray = body
        else:
            view = data
        at, end = 0, len(view)
        try:
            while end - at >= PREFIX_BYTES:
                length = self._size_at(view, at)
                if end - at - PREFIX_BYTES < length:
                    break
                self._messages.append((self._message(view, at, length), length + PREFIX_BYTES))
                at += length + PREFIX_BYTES
        except RpcError as error:
            self._refusal = error
        self._body = bytearray(view[at:])
        if padding:
            self._take(padding)
        if self._arrived is not None and (self._messages or is_last or self._refusal):
            arrived, self._arrived = self._arrived, None
            if not arrived.done():
                arrived.set_result(None)

    def writable(self) -> None:
        if self._is_begun and not self.is_over:
            self._send_body()
            self._wake_sender()

    def lost(self, code: int) -> None:  # noqa: ARG002  # the task learns that it is cancelled
        self.is_over = True
        if self.task is not None and self._is_running:
            self.task.cancel()

    def pack(self) -> None:
        """Move what was sent since the last time into frames; the connection is about to write."""
        self._is_dirty = False
        if not self.is_over:
            self._send_body()
            self._wake_sender()

    def _wake_sender(self) -> None:
        if self._drained is not None and self.unsent_bytes < SEND_AHEAD_BYTES:
            drained, self._drained = self._drained, None
            if not drained.done():
                drained.set_result(None)

    # --- the service's side ---

    async def receive(self) -> bytes | None:
        while not self._messages:
            if self._refusal is not None:
                raise self._refusal
            if self.is_remote_closed:
                return None
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        message, size = self._messages.popleft()
        self._counts.messages_received += 1
        self._counts.received_bytes += len(message)
        self._take(size)
        return message

    async def send(self, message: bytes) -> None:
        self._begin()
        assert self.unsent is not None
        self.unsent.append(prefixed(message))
        self.unsent_bytes += len(message) + PREFIX_BYTES
        self._counts.messages_sent += 1
        self._counts.sent_bytes += len(message)
        if not self._is_dirty:
            self._is_dirty = True
            self.on_dirty(self)
        while self.unsent_bytes >= SEND_AHEAD_BYTES and not self.is_over:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self.connection.send(frame(HEADERS, END_HEADERS, self.id, RESPONSE_HEADERS))

    async def _finish(self, refusal: Status | None) -> None:
        """The service has returned, or raised: send the rest and the status."""
        if not self._is_begun and refusal is not None:
            self.is_over = True
            self.connection.send(trailers_only(self.id, refusal))
            self._forget()
            return
        self._begin()
        while not self._send_body():
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
            if self.is_over:
                return
        self._close(OK_TRAILERS if refusal is None else trailers(refusal))
