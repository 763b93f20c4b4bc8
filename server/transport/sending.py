"""The half of a stream that sends: what waits, what becomes DATA of it, and when `send` returns.

What the service sends is packed into DATA when the connection writes, so messages that come
together leave together. What waits for the client's window is bounded by `SEND_AHEAD_BYTES`,
above which `send` does not return.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from server.call import Burst
from server.call_counts import CallCounts
from server.transport.connection import Connection
from server.transport.head import Head
from server.transport.host import AHEAD_BYTES_MAX, Host
from server.transport.rpc import Rpc
from server.transport.wire import PREFIX_BYTES, RESPONSE_HEADERS, joined, prefixed

SEND_AHEAD_BYTES: Final = 256 << 10  # Of messages that wait for the client's window.
SEND_NOW_MESSAGES_MAX: Final = 16  # Before the connection writes: more may be worth a wait.


class SendingCall(Rpc):
    """Part of a `StreamingCall`."""

    def __init__(
        self,
        connection: Connection,
        id: int,
        head: Head,
        host: Host,
        counts: CallCounts,
        on_dirty: Callable[[SendingCall], None],
    ) -> None:
        super().__init__(connection, id, head, host)
        self._counts = counts
        self.on_dirty = on_dirty
        self.unsent = deque()
        # Asked for with each message; what only the class has, CPython 3.11 looks up anew then.
        self.is_over = self._is_begun = self._is_dirty = False
        self.unsent_bytes = 0
        self._last: bytes | None = None  # The trailers, once the service has said its last.
        self._drained: asyncio.Future[None] | None = None
        self._ahead = 0  # Of `Host.ahead_bytes`.

    def expire(self) -> None:
        """As `host.Waiting`; made in `StreamingCall`."""
        raise NotImplementedError

    # --- the connection's side ---

    def writable(self) -> None:
        if self._is_begun and not self.is_over:
            self._push()

    def pack(self) -> None:
        """Move what was sent since the last time into frames; the connection is about to write."""
        self._is_dirty = False
        if self.is_over:
            return
        unsent = self.unsent
        if (
            unsent
            and len(unsent) == 1  # As nearly always,
            and self._is_begun
            and not self._ahead  # and nothing that had to be left before.
            and self._send_whole(unsent[0])
        ):
            unsent.clear()
            self.unsent_bytes = 0
            if self._drained is not None:
                self._wake_sender()
            return
        self._begin()
        self._push()

    def _push(self) -> None:
        is_all = self._send_body()
        if self._ahead or not is_all:
            self._count_ahead(self.unsent_bytes)
        if is_all and self._last is not None:
            self.host.done(self)
            self._close(self._last)
        else:
            self._wake_sender()

    def _count_ahead(self, size: int) -> None:
        self.host.ahead_bytes += size - self._ahead
        self._ahead = size

    def _wake_sender(self) -> None:
        if self._drained is not None and self.unsent_bytes < SEND_AHEAD_BYTES:
            drained, self._drained = self._drained, None
            if not drained.done():
                drained.set_result(None)

    # --- the service's side ---

    def _answer_now(self, body: bytes) -> None:
        """Send what answers a frame of the read under way: it is written at the end of that."""
        if self.unsent or not self._is_begun or not self._send_whole(body):
            self._send(body)

    async def send(self, message: bytes) -> None:
        self._counts.messages_sent += 1
        self._counts.sent_bytes += len(message)
        self._send(prefixed(message))
        while self._is_far_ahead() and not self.is_over:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def send_now(self, message: bytes) -> bool:
        unsent = self.unsent
        assert unsent is not None
        size = len(message) + PREFIX_BYTES
        if size > SEND_AHEAD_BYTES or (
            unsent
            and (
                len(unsent) >= SEND_NOW_MESSAGES_MAX
                or self.unsent_bytes + size > SEND_AHEAD_BYTES
                or self._is_far_ahead()
            )
        ):
            return False
        counts = self._counts
        counts.messages_sent += 1
        counts.sent_bytes += len(message)
        # As `prefixed` and `_send`, for a watcher among thousands.
        unsent.append(len(message).to_bytes(PREFIX_BYTES, "big") + message)
        self.unsent_bytes += size
        if not self._is_dirty:
            self._is_dirty = True
            self.on_dirty(self)
        return True

    def send_all_now(self, burst: Burst) -> bool:
        messages = burst.messages
        body = burst.wire = burst.wire or joined(messages)
        if (
            len(body) > SEND_AHEAD_BYTES
            or len(messages) > SEND_NOW_MESSAGES_MAX
            or self.unsent
            or self._is_far_ahead()
        ):
            return False
        counts = self._counts
        counts.messages_sent += len(messages)
        counts.sent_bytes += len(body) - PREFIX_BYTES * len(messages)
        self._send(body)
        return True

    def _is_far_ahead(self) -> bool:
        """Whether the client is to take something before more is sent: all, if many are behind."""
        if self.unsent_bytes >= SEND_AHEAD_BYTES:
            return True
        return self.host.ahead_bytes >= AHEAD_BYTES_MAX and self.unsent_bytes > 0

    def _send(self, body: bytes) -> None:
        """Queue messages as they stand in DATA."""
        assert self.unsent is not None
        self.unsent.append(body)
        self.unsent_bytes += len(body)
        if not self._is_dirty:
            self._is_dirty = True
            self.on_dirty(self)

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self.connection.send_block(0, self.id, RESPONSE_HEADERS)
