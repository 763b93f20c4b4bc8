"""A transport's two ends without a transport: calls that keep their answer, streams in memory.

They keep the contract of `server.call` and are strict about it: a call answered twice, or two
coroutines sending on one stream, fail the test.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from server.auth.caller import ServerToken
from server.call import Burst
from server.status import Status, status_of


class Answer:
    """A unary call. Knows whether it was answered, and with what."""

    __slots__ = ("_on_done", "error", "message", "token")
    peer_cn: str | None = None

    def __init__(self, on_done: Callable[[Answer], None] | None = None) -> None:
        self.token: str | ServerToken | None = None
        self.message: bytes | None = None
        self.error: Exception | None = None
        self._on_done = on_done

    @property
    def is_done(self) -> bool:
        return self.message is not None or self.error is not None

    @property
    def status(self) -> Status:
        """What the client reads of the refusal. A bug's own error is raised as it is."""
        assert self.error is not None, "the call was not refused"
        status = status_of(self.error)
        if status is None:
            raise self.error
        return status

    def reply(self, message: bytes) -> None:
        assert not self.is_done, "a call is answered once"
        self.message = message
        self._tell()

    def fail(self, error: Exception) -> None:
        assert not self.is_done, "a call is answered once"
        self.error = error
        self._tell()

    def _tell(self) -> None:
        if self._on_done is not None:
            self._on_done(self)


class Pipe:
    """A stream. The test is the client: it writes, half-closes, and may stop reading.

    `now` stamps what arrives.
    """

    token: str | ServerToken | None = None
    peer_cn: str | None = None

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self.sent: list[bytes] = []  # By the server, in order.
        self.sent_at: list[float] = []
        self._now = now
        self._inbox: deque[bytes | None] = deque()
        self._arrived = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._is_sending = False

    # The client's end

    def write(self, message: bytes) -> None:
        self._inbox.append(message)
        self._arrived.set()

    def half_close(self) -> None:
        self._inbox.append(None)
        self._arrived.set()

    def pause(self) -> None:
        """Stop reading: the server's `send` waits from now on."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    # The server's end

    async def receive(self) -> bytes | None:
        while not self._inbox:
            self._arrived.clear()
            await self._arrived.wait()
        if self._inbox[0] is None:
            return None
        return self._inbox.popleft()

    async def send(self, message: bytes) -> None:
        assert not self._is_sending, "one coroutine at a time may send"
        self._is_sending = True
        try:
            await self._reading.wait()
        finally:
            self._is_sending = False
        self.sent.append(message)
        self.sent_at.append(self._now())

    def send_all_now(self, burst: Burst) -> bool:
        if not self._reading.is_set():
            return False
        return all(map(self.send_now, burst.messages))

    def send_now(self, message: bytes) -> bool:
        assert not self._is_sending, "it would overtake what is being sent"
        if not self._reading.is_set():
            return False
        self.sent.append(message)
        self.sent_at.append(self._now())
        return True
