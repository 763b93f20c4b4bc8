"""Time as a parameter: nothing below `server` reads a clock, and no test waits for one.

Only monotonic time exists here. Wall time has two uses in a server, a log line's stamp and a
certificate's validity, and neither decides anything about a lease.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds on a clock that never goes back. Only differences mean anything."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return once `now()` has reached `deadline`; at the next turn if it already has.

        Late is allowed, early is not: a caller may act on the deadline without looking again.
        """
        ...


def next_tick(now: float, per_s: int) -> float:
    """The first instant after `now` of so many a second: who ticks by it wakes with the others.

    Counted, not added up: a product with 0.05 may miss the next one. `per_s` is the sum of two
    powers of two, as 10 and 20 are, so that a quotient times `per_s` is the tick's very number.
    """
    return (math.floor(now * per_s) + 1) / per_s


class SystemClock:
    """The machine's monotonic clock."""

    __slots__ = ()

    now = staticmethod(time.monotonic)  # No call of ours around it: it is asked for each command.

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self.now()))
        # The loop fires a timer up to one tick of its clock early, so look before returning.
        if self.now() < deadline:
            await self.sleep_until(deadline)
