"""Up to which instant leases count as due.

Normally that is now. But a process that was stopped, or a loop that was blocked, wakes up with
keepalives waiting in its sockets that were sent in time. So after a stall the horizon stays
where it was until the sockets have been read: whoever asked in time is renewed, and only then
does what is left expire.

The clock is observed at least every tick of the expirer, so a gap between two observations is a
stall. The cost is that after one an expiry comes up to `GRACE_S` later.
"""

from __future__ import annotations

from typing import Final

from server.clock import Clock

STALL_S: Final = 0.5  # A longer gap between two observations is a stall. Ten ticks.
GRACE_S: Final = 0.25  # For reading the sockets afterwards; grpc's own threads need a moment.


class LeaseClock:
    def __init__(self, clock: Clock) -> None:
        self._last = clock.now()
        self._held = self._last
        self._held_until = self._last

    def observe(self, now: float) -> float:
        """The horizon at clock time `now`: never later than it, and it never goes back."""
        if now - self._last > STALL_S:
            if self._last >= self._held_until:
                self._held = self._last
            self._held_until = now + GRACE_S
        self._last = now
        return self._held if now < self._held_until else now
