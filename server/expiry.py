"""Turns the passing of time into revokes. Decides nothing itself.

Every tick it looks whether anything can be due and, if so, submits slices until nothing is. Each
slice is one command among the others and waits for its group to be durable, so clients' requests
come in between; no count limits how many leases go in a second, unless --lease-revoke-rate does.

It begins only once the sockets have been read: after a stall of the process the engine holds the
horizon of what is due back (see `server.lease_clock`). What tells a stall is that the clock was
not observed; so it is, every tick, by a task of its own: a slice may wait long for a slow disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from lease.lessor import Lessor
from lease.wheel import TICKS_PER_S
from server.clock import Clock, next_tick
from server.commands.lease import SLICE_LEASES_MAX, ExpireDue
from server.engine import Engine

logger = logging.getLogger(__name__)

_NO_CAP: Final = 0


class Expirer:
    def __init__(
        self,
        engine: Engine,
        lessor: Lessor,
        clock: Clock,
        *,
        revoke_rate: int = _NO_CAP,
        on_expired: Callable[[list[float]], None] | None = None,
    ) -> None:
        """`revoke_rate` in leases a second; 0 for no cap.

        `on_expired` is told of each slice how many seconds after its deadline each lease went.
        """
        self._engine = engine
        self._lessor = lessor
        self._clock = clock
        self._revoke_rate = revoke_rate
        self._on_expired = on_expired
        self._has_work = asyncio.Event()
        # When leases went, and how many: those of the last second, at most a cap's worth.
        self._recent: deque[tuple[float, int]] = deque()
        self._recent_total = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._observe())
            tasks.create_task(self._expire())

    async def _observe(self) -> None:
        while True:
            await self._clock.sleep_until(next_tick(self._clock.now(), TICKS_PER_S))
            if self._lessor.has_work(self._engine.horizon()):
                self._has_work.set()

    async def _expire(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while (limit := self._limit()) > 0:
                expired = await self._engine.run(ExpireDue(self._clock.now, limit))
                self._note([lateness for _, lateness in expired])
                if not expired and self._lessor.idle:
                    break

    def _limit(self) -> int:
        """How many leases may be revoked now: no more than the cap in any one second."""
        if self._revoke_rate == _NO_CAP:
            return SLICE_LEASES_MAX
        a_second_ago = self._clock.now() - 1
        while self._recent and self._recent[0][0] <= a_second_ago:
            self._recent_total -= self._recent.popleft()[1]
        return min(SLICE_LEASES_MAX, self._revoke_rate - self._recent_total)

    def _note(self, lateness_s: list[float]) -> None:
        if not lateness_s:
            return
        if self._on_expired is not None:
            self._on_expired(lateness_s)
        if self._revoke_rate != _NO_CAP:
            self._recent.append((self._clock.now(), len(lateness_s)))
            self._recent_total += len(lateness_s)
