"""What the calls of one server share: limits, time, and who waits until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from server import failures
from server.clock import Clock
from server.status import Status

if TYPE_CHECKING:
    from server.transport.streaming import StreamingCall

AHEAD_BYTES_MAX: Final = 64 << 20  # What all streams send ahead of their clients, together.
UNTAKEN_S: Final = 60.0  # How long a unary answer waits for a client that gives it no window.


class Waiting(Protocol):
    """A call that something must become of by its deadline, in clock seconds."""

    deadline: float

    def expire(self) -> None: ...


class Host:
    def __init__(self, clock: Clock, limit_bytes: int) -> None:
        self.clock = clock
        self.limit_bytes = limit_bytes  # Of a message.
        self.is_stopping = False  # No new calls.
        self.active = 0  # Requests under way that the ASGI app has.
        self.streams: dict[StreamingCall, None] = {}
        self.ahead_bytes = 0  # Of messages that wait for the windows of streams.
        self._waiting: dict[Waiting, None] = {}

    def wait(self, call: Waiting, seconds: float) -> None:
        """Expire `call` in so many seconds, unless it is done by then."""
        call.deadline = self.clock.now() + seconds
        self._waiting[call] = None

    def done(self, call: Waiting) -> None:
        self._waiting.pop(call, None)

    def expire(self) -> None:
        """End what has waited too long. Called several times a second."""
        if not self._waiting:
            return
        now = self.clock.now()
        for call in [call for call in self._waiting if call.deadline <= now]:
            del self._waiting[call]
            call.expire()

    def status_of(self, error: Exception, *, of_stream: bool = False) -> Status:
        """What the client reads. What is no refusal is logged."""
        return failures.told(error, of_stream=of_stream)
