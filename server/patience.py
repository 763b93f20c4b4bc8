"""When a request has waited long enough: etcd's ReqTimeout, five seconds and two elections.

A request waits for the disk and for those before it, and for nothing else; so it waits this long
only when the disk is as good as gone. Who asked is then told that the request timed out, which
says nothing of what becomes of it: a change that was on its way to the disk may still get there.
One that was not is forgotten, and is never made.

No request has a timer or a time of its own. Requests are answered in the order of their arrival,
so it is enough to count them now and then: all that were there so many looks ago and still are
have waited for so long. Looks are counted, not the time between them, so that a process which
was stopped for a while first does what it can.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from server.clock import Clock
from server.engine import Engine
from server.log import fields
from server.pending import Asked

logger = logging.getLogger(__name__)

LOOKS: Final = 7  # Within the time a request has. It is kept to that, and one look more.


class Patience:
    def __init__(self, engine: Engine, clock: Clock, *, timeout_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._timeout_s = timeout_s

    async def run(self) -> None:
        """Serve until cancelled."""
        seen: deque[Asked] = deque(maxlen=LOOKS)
        while True:
            seen.append(self._engine.asked())
            await self._clock.sleep_until(self._clock.now() + self._timeout_s / LOOKS)
            if len(seen) == LOOKS and (count := self._engine.give_up(seen[0])):
                logger.warning(
                    "requests timed out waiting for the disk",
                    extra=fields(requests=count, timeout_s=self._timeout_s),
                )
