"""How soon PING is acknowledged: at once, but of one connection only so often.

grpc's clients measure a connection by PING, and send the next one as soon as something comes after
the last was acknowledged (grpc-go's internal/transport/bdp_estimator.go). Under load that is a PING
for every few calls: a frame each way, with a system call and a waking of its own on either side.
While one is held they send no other; and what they measure, how many bytes come meanwhile, is as
good over a longer time. RFC 9113 section 6.7 would have the answer before all other frames, and
whoever finds out whether a silent server lives still has it at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from server.clock import Clock
from server.transport.peer import Peer

PACE_S: Final = 0.05  # Between two acknowledgements of a connection, at most.


class PingPace:
    """Of one server. Bound: an entry for each connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paced: list[Peer] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, connection: Peer) -> None:
        """One was acknowledged: see to those that come behind it."""
        self._paced.append(connection)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._paced:
            await self._clock.sleep_until(self._clock.now() + PACE_S)
            self._paced = [connection for connection in self._paced if connection.acknowledge()]
        self._task = None

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
