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
from server.transport.frames import END_STREAM, ErrorCode
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.rpc import Rpc
from server.transport.wire import (
    OK_TRAILERS,
    PREFIX_BYTES,
    RESPONSE_HEADERS,
    TRUNCATED,
    decompressed,
    prefixed,
    trailers,
    trailers_only,
)

SEND_AHEAD_BYTES: Final = 256 << 10  # Of messages that wait for the client's window.
MESSAGE_OVERHEAD_BYTES: Final = 100  # That one costs here beside its own; it may have none.


class StreamingCall(Rpc):
    """Messages both ways. It is the `server.call.Stream` that its service talks on."""

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
        # Each with its prefix's first octet. What is compressed stays so until it is its turn.
        self._messages: deque[tuple[int, bytes]] = deque()
        self._owed = 0  # Of the window: given back when the service has read all there is.
        self._refusal: Exception | None = None  # Of the message behind those.
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_begun = False
        self._is_dirty = False
        self._is_finishing = False  # What is left to be sent waits for a window, then it ends.
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
            self._messages.clear()
            self._body.clear()
            self._release(self.held)
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
        if self._is_finishing:
            if not self.is_over:
                self.connection.reset(self.id, ErrorCode.CANCEL)
                self.lost(ErrorCode.CANCEL)
            return
        self.stop(RpcError(status.DEADLINE_EXCEEDED))

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:
        if self.is_over or self._is_finishing or self._refusal is not None:
            return
        body = self._body
        body += data
        at, end = 0, len(body)
        known = len(self._messages)
        try:
            self._hold(len(data))
            while end - at >= PREFIX_BYTES:
                length = self._size_at(body, at)
                stop = at + PREFIX_BYTES + length
                if stop > end:
                    break
                self._messages.append((body[at], bytes(body[at + PREFIX_BYTES : stop])))
                at = stop
            self._hold((len(self._messages) - known) * MESSAGE_OVERHEAD_BYTES)
        except RpcError as error:
            self._refusal = error
        if at:  # A message that comes in many pieces is not copied with each.
            del body[:at]
        if is_last and body and self._refusal is None:
            self._refusal = RpcError(TRUNCATED)
        self._owed += size
        if not self._messages:
            self._settle()
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
        self.host.done(self)
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
        is_compressed, message = self._messages.popleft()
        if not self._messages:
            self._settle()
        if is_compressed:
            message = decompressed(message, self.head.encoding, self.host.limit_bytes)
        self._counts.messages_received += 1
        self._counts.received_bytes += len(message)
        return message

    def _settle(self) -> None:
        """The service has read every whole message: the client may send as much again."""
        self._release(self.held - len(self._body))
        owed, self._owed = self._owed, 0
        self._take(owed)

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
            self.connection.send_block(0, self.id, RESPONSE_HEADERS)

    async def _finish(self, refusal: Status | None) -> None:
        """The service has returned, or raised: send the rest and the status."""
        if not self._is_begun and refusal is not None:
            self.is_over = True
            self.connection.send_block(END_STREAM, self.id, trailers_only(refusal))
            self._forget()
            return
        self._begin()
        self._is_finishing = True
        self.host.wait(self, UNTAKEN_S)
        while not self._send_body():
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
            if self.is_over:
                return
        self.host.done(self)
        self._close(OK_TRAILERS if refusal is None else trailers(refusal))
