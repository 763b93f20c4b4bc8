"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import bisect
from dataclasses import dataclass, field
from typing import Final

TURNS_TO_SETTLE: Final = 10  # What a loop is given that cannot be asked.
TURNS_TO_SETTLE_MAX: Final = 1_000  # A longer chain of wake-ups is a loop that spins.


@dataclass(order=True, slots=True)
class _Sleeper:
    deadline: float
    arrival: int  # Breaks ties: who went to sleep first wakes first.
    wake: asyncio.Event = field(compare=False, default_factory=asyncio.Event)


class FakeClock:
    """Satisfies `server.clock.Clock`. Sleepers wake in the order of their deadlines.

    While one is awake `now()` reads its very deadline, so a task that sleeps in steps
    takes every step of an `advance` that spans many.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._sleepers: list[_Sleeper] = []  # Sorted; the next to wake is the first.
        self._arrivals = 0

    @property
    def sleepers(self) -> int:
        """How many tasks wait for the clock."""
        return len(self._sleepers)

    def now(self) -> float:
        return self._now

    async def sleep_until(self, deadline: float) -> None:
        if deadline <= self._now:
            await asyncio.sleep(0)
            return
        self._arrivals += 1
        sleeper = _Sleeper(deadline, self._arrivals)
        bisect.insort(self._sleepers, sleeper)
        try:
            await sleeper.wake.wait()
        finally:
            if sleeper in self._sleepers:  # Cancelled before its time came.
                self._sleepers.remove(sleeper)

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, waking each sleeper whose deadline is passed or reached."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back, but was asked for {seconds} s")
        target = self._now + seconds
        await settle()  # Tasks only just made get to their first sleep.
        while self._sleepers and self._sleepers[0].deadline <= target:
            sleeper = self._sleepers.pop(0)
            self._now = max(self._now, sleeper.deadline)  # Later only after a `jump`.
            sleeper.wake.set()
            await settle()
        self._now = target

    def jump(self, seconds: float) -> None:
        """Move on without letting anyone run: what a stall of the whole process looks like.

        Sleepers that came due wake at the next `advance`, even one of zero seconds, and
        read the late time.
        """
        self._now += seconds


async def settle() -> None:
    """Let every task run until each of them waits for something.

    Asks the loop itself: a turn after which nothing is ready to run was the last one needed. The
    server's own loop does not tell, and has sockets that nobody can ask either: it is given a few.
    """
    loop = asyncio.get_running_loop()
    ready = getattr(loop, "_ready", None)
    if ready is None:
        for _ in range(TURNS_TO_SETTLE):
            await asyncio.sleep(0)
        return
    for _ in range(TURNS_TO_SETTLE_MAX):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError(f"tasks still ran after {TURNS_TO_SETTLE_MAX} turns of the loop")
