"""What happens to the server and to its clients while they are at work, drawn from a seed.

kill   SIGKILL, and a start after a while, now and then with another SIGKILL on its way up
term   SIGTERM, and a start
stop   SIGSTOP, mostly for longer than the short TTLs, and SIGCONT
cut    some connections are broken off, or held up for a while and then let go or broken off
slow   each wait for the disk takes longer for a while; only a server of `seeded` can do that
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from compat.histories.proxy import Proxy
from compat.histories.record import Outage
from compat.targets import Server

KINDS: Final = ("kill", "term", "stop", "cut", "slow")
PAUSE_S: Final = (0.3, 3.0)  # Between two faults.
DOWN_S: Final = (0.0, 1.5)
KILLED_STARTING: Final = 0.25  # Of the kills: there is another one while it comes up.
STARTING_S: Final = (0.0, 0.8)
STOP_S: Final = (0.3, 4.5)
HOLD_S: Final = (0.2, 3.0)
SLOW_SIGNAL: Final = signal.SIGUSR1


class Faults:
    """One at a time. After `run` the server serves, and nothing is held up."""

    def __init__(self, server: Server, proxy: Proxy, random: Random, kinds: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.outages: list[Outage] = []
        self._server = server
        self._proxy = proxy
        self._random = random
        known: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill,
            "term": self._term,
            "stop": self._stop,
            "cut": self._cut,
            "slow": self._slow,
        }
        self._kinds = [(kind, known[kind]) for kind in kinds]

    async def run(self, ending: asyncio.Event) -> None:
        bag: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        while self._kinds and not ending.is_set():
            if not bag:  # Each kind comes as often as every other one.
                bag = self._random.sample(self._kinds, len(self._kinds))
            pause_s = self._random.uniform(*PAUSE_S)
            try:
                await asyncio.wait_for(ending.wait(), pause_s)
            except TimeoutError:
                kind, cause = bag.pop()
                self.counts[kind] += 1
                await cause()

    async def _kill(self) -> None:
        await self._restart(signal.SIGKILL)

    async def _term(self) -> None:
        await self._restart(signal.SIGTERM)

    async def _restart(self, how: signal.Signals) -> None:
        begin = time.monotonic()
        await asyncio.to_thread(self._server.stop, how)
        await asyncio.sleep(self._random.uniform(*DOWN_S))
        if how == signal.SIGKILL and self._random.random() < KILLED_STARTING:
            self._server.launch()
            await asyncio.sleep(self._random.uniform(*STARTING_S))
            await asyncio.to_thread(self._server.stop, how)
            self.counts["kill"] += 1
        await asyncio.to_thread(self._server.start)
        self.counts["restarts"] += 1
        self.outages.append(Outage(begin, time.monotonic(), is_restart=True))

    async def _stop(self) -> None:
        begin = time.monotonic()
        self._server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(*STOP_S))
        self._server.send_signal(signal.SIGCONT)
        self.outages.append(Outage(begin, time.monotonic(), is_restart=False))

    async def _cut(self) -> None:
        links = [link for link in self._proxy.links if self._random.random() < 0.5]
        if self._random.random() < 0.5:
            for link in links:
                link.flowing.clear()
            await asyncio.sleep(self._random.uniform(*HOLD_S))
            if self._random.random() < 0.5:
                for link in links:
                    link.flowing.set()
                return
        self._proxy.cut(links)

    async def _slow(self) -> None:
        self._server.send_signal(SLOW_SIGNAL)
