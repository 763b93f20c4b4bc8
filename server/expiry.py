"""Turns the passing of time into revokes. Decides nothing itself.

Every tick it asks whether anything is due and, if so, submits slices until nothing is. Each
slice is one command among the others and waits for its group to be durable, so clients' requests
come in between; no count limits how many leases go in a second, unless --lease-revoke-rate does.

It begins only once the sockets have been read: after a stall of the process the engine holds the
horizon of what is due back (see `server.lease_clock`).
"""

from __future__ import annotations

import logging
import math
from typing import Final

from lease.lessor import Lessor
from lease.wheel import TICK_S
from server.clock import Clock
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
    ) -> None:
        """`revoke_rate` in leases a second; 0 for no cap."""
        self._engine = engine
        self._lessor = lessor
        self._clock = clock
        self._revoke_rate = revoke_rate
        self._allowance = float(revoke_rate)
        self._allowed_at = clock.now()
        self.expired_total = 0
        self.largest_lateness_s = 0.0

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            deadline = (math.floor(self._clock.now() / TICK_S) + 1) * TICK_S
            await self._clock.sleep_until(deadline)
            self._engine.horizon()  # Observed each tick, so that a stall can be told.
            if not len(self._lessor):
                continue
            while (limit := self._limit()) > 0:
                expired = await self._engine.run(ExpireDue(self._clock.now, limit))
                self._note([lateness for _, lateness in expired])
                if not expired and self._lessor.idle:
                    break

    def _limit(self) -> int:
        """How many leases may be revoked now."""
        if self._revoke_rate == _NO_CAP:
            return SLICE_LEASES_MAX
        now = self._clock.now()
        earned = (now - self._allowed_at) * self._revoke_rate
        # What was not used is kept for one second at most: the cap is one a second.
        self._allowance = min(self._allowance + earned, float(self._revoke_rate))
        self._allowed_at = now
        return min(SLICE_LEASES_MAX, int(self._allowance))

    def _note(self, lateness_s: list[float]) -> None:
        self.expired_total += len(lateness_s)
        if self._revoke_rate:
            self._allowance -= len(lateness_s)
        if lateness_s:
            self.largest_lateness_s = max(self.largest_lateness_s, *lateness_s)
