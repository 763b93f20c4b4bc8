"""Messages both ways, served by one coroutine. How they are sent is in `sending`.

Where the method has answers `at_once`, the coroutine and its task are begun only when a message
comes that has none; and while it waits for the next one, that is answered at once again. Such
answers are made into a frame where they are, since the read that brought the messages ends with a
write; they are queued like others if something waits before them, or for a window.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from server import status
from server.call import AtOnce
from server.status import Code, RpcError
from server.transport.at_once import answers_to
from server.transport.connection import Connection
from server.transport.dispatch import StreamMethod
from server.transport.frames import END_STREAM, HEADER_BYTES, ErrorCode, pack_data, pack_message
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.peer import AGAIN_BYTES_MAX
from server.transport.rpc import GRANT_BYTES
from server.transport.sending import SEND_AHEAD_BYTES, SendingCall
from server.transport.wire import (
    OK_TRAILERS,
    PREFIX_BYTES,
    TRUNCATED,
    decompressed,
    prefixed,
    trailers,
    trailers_only,
    unpack_prefix,
)

MESSAGE_OVERHEAD_BYTES: Final = 100  # That one costs here beside its own; it may have none.
_REST_BYTES_MAX: Final = 64  # Of a piece of a message that is worth putting together at once.


class StreamingCall(SendingCall):
    """Messages both ways. It is the `server.call.Stream` that its service talks on."""

    _stopped: Exception | None = None  # Why the server ends the call.
    _refusal: Exception | None = None  # Of the message behind `_messages`.
    _arrived: asyncio.Future[None] | None = None
    _is_running = False  # A task cancelled before it runs would not even clean up.

    def __init__(
        self,
        connection: Connection,
        id: int,
        head: Head,
        host: Host,
        method: StreamMethod,
        on_dirty: Callable[[SendingCall], None],
    ) -> None:
        super().__init__(connection, id, head, host, method.counts, on_dirty)
        self._method = method
        self._at_once = method.at_once
        self._body = bytearray()
        # Each with its prefix's first octet. What is compressed stays so until it is its turn.
        self._messages: deque[tuple[int, bytes]] = deque()
        self.task: asyncio.Task[None] | None = None
        self.taken = 0
        self._owed = 0  # Of the window: given back when the service has read all there is.
        self.again = self._lately = b""  # `_lately`: the DATA answered last, if it may come again.

    # --- the connection's side ---

    def opened(self) -> None:
        self._counts.started += 1
        self._place()
        if self._at_once is None:
            self._begin_service()

    def _place(self) -> None:
        self.host.streams[self] = None
        if self.head.timeout_s is not None:
            self.host.wait(self, self.head.timeout_s)

    def go_on(self, answers: bytes, rest: bytes) -> bool:
        """Take up a call that came whole, of which all but `rest` is answered; true if it ends."""
        self.is_placed = False
        self.is_remote_closed = True
        self._place()
        if answers:
            self._send(answers)
        if rest:
            self._take_up(rest, is_last=True)
        else:
            self._served(None)
        self.is_placed = True
        return self.is_over

    def _begin_service(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._run())

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
        self._served(error)

    def _served(self, error: Exception | None) -> None:
        """The service has said its last: send the rest, and the status."""
        self.host.streams.pop(self, None)
        self.host.done(self)
        self._messages.clear()
        self._body.clear()
        self._release(self.held)
        counts = self._counts
        if self.is_over:
            counts.failed[Code.CANCELLED] += 1
            return
        if error is None:
            counts.ok += 1
            if self._is_begun or not self._answer(b"".join(self.unsent or ())):
                self._finish(OK_TRAILERS)
            return
        refusal = self.host.status_of(error, of_stream=not self._method.is_unary)
        counts.failed[refusal.code] += 1
        if self._is_begun or self.unsent:  # What was answered before is not taken back.
            self._finish(trailers(refusal))
            return
        self.is_over = True
        self.connection.send_block(END_STREAM, self.id, trailers_only(refusal))
        self._forget()

    def _finish(self, last: bytes) -> None:
        self._begin()
        self._last = last
        self.host.wait(self, UNTAKEN_S)
        self._push()

    def stop(self, error: Exception) -> None:
        """End the call from the server's side, with this status."""
        if self.is_over or self._stopped is not None or self._last is not None:
            return
        self._stopped = error
        if self.task is None:
            self._served(error)
        elif self._is_running:
            self.task.cancel()

    def expire(self) -> None:
        if self._last is None:
            self.stop(RpcError(status.DEADLINE_EXCEEDED))
        elif not self.is_over:
            self.connection.reset(self.id, ErrorCode.CANCEL)
            self.is_over = True
            self._count_ahead(0)

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:
        if self.is_over or self._last is not None or self._refusal is not None:
            return
        self._owed += size
        if (
            self._at_once is not None
            and (self.task is None or self._arrived is not None)
            and not self._messages
            and len(self._body) <= _REST_BYTES_MAX
            and self.unsent_bytes < SEND_AHEAD_BYTES
        ):
            rest = self._answer_at_once(self._at_once, data)
            if not rest and not self._body:
                if not is_last:
                    self._settle()
                    self._expect(data)
                    return
                if self.task is None:
                    self._served(None)
                    return
            data = rest
        self.again = self._lately = b""
        self._take_up(data, is_last=is_last)

    def _expect(self, data: bytes) -> None:
        """A message answered at once, twice in a row the same, is expected to come `again`."""
        if len(data) > AGAIN_BYTES_MAX - HEADER_BYTES:
            self.again = self._lately = b""
        elif data != self._lately:
            self._lately, self.again = data, b""
        elif (
            not self.again
            and len(data) >= PREFIX_BYTES
            and unpack_prefix(data) == (0, len(data) - PREFIX_BYTES)
        ):
            self.again = pack_data(len(data) << 8, 0, self.id) + data

    def received_again(self) -> bytes | None:
        at_once, connection = self._at_once, self.connection
        message = self._lately[PREFIX_BYTES:]
        size = len(message)
        # While `again` is set there is nothing that the service has yet to read; and whoever has
        # said its last is no stream of the connection's any more, or has something `unsent`.
        if at_once is None or size + PREFIX_BYTES > self.allowance or self.unsent:
            return None
        reply = at_once.alone(message)
        if reply is None:
            return None
        counts, reply_size = self._counts, len(reply)
        counts.messages_received += 1
        counts.messages_sent += 1
        counts.received_bytes += size
        counts.sent_bytes += reply_size
        size += PREFIX_BYTES
        self.allowance -= size
        self.taken += size
        if self.taken >= GRANT_BYTES:
            self._take(0)
        # As `_answer_now` does it.
        window = reply_size + PREFIX_BYTES
        if window > self.window or window > connection.window or window > connection.frame_bytes:
            self._send(prefixed(reply))
            return b""
        self.window -= window
        connection.window -= window
        return pack_message(window << 8, 0, self.id, 0, reply_size) + reply

    def _take_up(self, data: bytes, *, is_last: bool) -> None:
        """Keep what comes, and let the service know if that is news."""
        self._keep(data)
        if is_last and self._body and self._refusal is None:
            self._refusal = RpcError(TRUNCATED)
        if not self._messages:
            self._settle()
        is_news = self._messages or is_last or self._refusal is not None
        if is_news and self.task is None:
            self._begin_service()
        elif is_news and self._arrived is not None:
            arrived, self._arrived = self._arrived, None
            if not arrived.done():
                arrived.set_result(None)

    def _answer_at_once(self, at_once: AtOnce, data: bytes) -> bytes:
        """Answer the messages of `data`, and give back what is left of it."""
        if self._body:
            data = bytes(self._body) + data
        answers, rest = answers_to(at_once, self._counts, data)
        if not answers:
            return data[len(self._body) :]
        if self._body:
            self._release(len(self._body))
            self._body.clear()
        self._answer_now(answers)
        return rest

    def _keep(self, data: bytes) -> None:
        """Add to what has been received; whole messages wait for the service."""
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

    def lost(self, code: int) -> None:  # noqa: ARG002  # the task learns that it is cancelled
        self.is_over = True
        self._count_ahead(0)
        self.host.done(self)
        if self.task is not None:
            if self._is_running:
                self.task.cancel()
        elif self._last is None:  # If not, it is served, and waits to be taken.
            self._served(None)

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
        if self.held:
            self._release(self.held - len(self._body))
        self.taken += self._owed  # As `_take`, which is called if there is more to do.
        self._owed = 0
        if self.taken >= GRANT_BYTES:
            self._take(0)
