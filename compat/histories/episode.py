"""One episode: load and faults for some seconds, then quiet, and the account of it.

Episodes follow each other over one server and one data directory. What an episode leaves behind
goes into the history of the next: its keys, leases that live on, and calls of which nobody knows
whether they are still to happen.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Final

from compat.histories import account
from compat.histories.api import Api, kv_of
from compat.histories.clients import Client, World
from compat.histories.faults import Faults
from compat.histories.proxy import Proxy
from compat.histories.record import Call, History, Kind, Outage
from compat.histories.watchers import WANTED, Watcher
from compat.targets import Server

CLIENTS: Final = 12
CARRIED_CALLS_MAX: Final = 8  # Of each lease that lives on, the newest.
OBSERVER: Final = 99  # Undisturbed by faults other than the server's end.


@dataclass
class Carried:
    """What one episode hands to the next."""

    calls: list[Call] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)


class Episodes:
    """All episodes of one run."""

    def __init__(self, server: Server, seed: str, kinds: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._server = server
        self._seed = seed
        self._kinds = kinds
        self._world = World()
        self._carried = Carried()

    async def run(self, number: int, seconds: float) -> History:
        """The history of the episode of that number, which draws from the seed and it."""
        random = Random(f"{self._seed}/{number}")
        proxy = Proxy(self._server.port)
        port = await proxy.start()
        async with Api(OBSERVER, self._server.endpoint, []) as observer:
            begin = await account.now(observer)
            revision = begin.header.revision
            if number:
                await account.compact(observer, revision)
            history = History(
                revision,
                {kv.key: kv_of(kv) for kv in begin.kvs},
                calls=list(self._carried.calls),
                outages=list(self._carried.outages),
                began=time.monotonic(),
            )
            await self._load(history, random, proxy, f"127.0.0.1:{port}", seconds)
        proxy.close()
        self._carried = _carried(history)
        return history

    async def _load(
        self, history: History, random: Random, proxy: Proxy, endpoint: str, seconds: float
    ) -> None:
        """Fill in the history; the server serves when it returns."""
        self._world.leases.clear()
        self._world.revision = history.base_revision
        first = history.base_revision + 1
        ending = asyncio.Event()
        last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        faults = Faults(self._server, proxy, Random(random.random()), self._kinds)
        async with AsyncExitStack() as stack:
            clients, watchers = [], []
            for number in range(CLIENTS):
                api = await stack.enter_async_context(Api(number, endpoint, history.calls))
                client = Client(api, Random(random.random()), self._world, first)
                clients.append(asyncio.ensure_future(client.run(ending)))
            for number, wanted in enumerate(WANTED):
                # The first hears everything at once, so that instants are sharp.
                where = endpoint if number else self._server.endpoint
                api = await stack.enter_async_context(Api(CLIENTS + number, where, []))
                chance = Random(random.random())
                watcher = Watcher(api, wanted, chance, self._world, history.watches, first)
                watchers.append(asyncio.ensure_future(watcher.run(last)))
            nemesis = asyncio.ensure_future(faults.run(ending))
            every = (nemesis, *clients, *watchers)
            try:
                await asyncio.wait(every, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
                ending.set()
                await nemesis
                await asyncio.gather(*clients)
                self._server.check_alive()
                history.outages += faults.outages
                api = await stack.enter_async_context(Api(OBSERVER, self._server.endpoint, []))
                await account.complete(history, api)
                last.set_result(history.last_revision)
                await asyncio.gather(*watchers)
            finally:  # Nothing is left to be ended but after a failure.
                self.counts.update(faults.counts)
                for task in every:
                    task.cancel()


def _carried(history: History) -> Carried:
    """What the next episode has to know: a lease may end in it, and an unknown call happen."""
    newest: Counter[int] = Counter()
    calls: list[Call] = []
    for call in reversed(history.calls):
        if call.kind is Kind.KV:
            # Not for ever: by now it has been read from its socket, or that is gone.
            if call.is_unknown and call.may_write and call.invoke > history.ended - 60:
                calls.append(call)
        elif call.lease in history.leases and call.kind is not Kind.TTL:
            newest[call.lease] += 1
            if newest[call.lease] <= CARRIED_CALLS_MAX or call.kind is Kind.GRANT:
                calls.append(call)
    calls.reverse()
    recent = [outage for outage in history.outages if outage.end > history.ended - 60]
    return Carried(calls, recent)
