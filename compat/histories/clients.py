"""Clients that race: over few keys that all write, and over leases with keys of their own.

Hot keys are for linearizability. A lease's keys are left in peace most of the time, so that they
are still attached when it ends; now and then one is moved to another lease, overwritten or deleted
by somebody else. Every lease is renewed for a while that is drawn with it, and then left to expire,
or revoked.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from compat.histories.api import Api
from compat.histories.record import Delete, Get, Guard, Put

HOT: Final = [b"hot/%d" % number for number in range(5)]
LEASED: Final = b"leased/"
LEASED_END: Final = b"leased0"
HOT_ALL: Final = (b"hot/", b"hot0")
FILLER: Final = b"." * 4096
LARGE_EVERY: Final = 8
LEASES_MAX: Final = 3  # Of one client.
KEYS_PER_LEASE_MAX: Final = 4
TTLS_S: Final = (2, 2, 2, 3, 3, 4, 8)
REVOKED: Final = 0.3  # Of the leases; the rest expire.
PAUSE_MEAN_S: Final = 0.025  # Between two calls of one client.
AFTER_NO_ANSWER_S: Final = 0.1


@dataclass
class Held:
    """A lease as its owner knows it."""

    lease: int
    ttl: int
    renewed_until: float
    is_revoked_then: bool
    renewed_at: float
    keys: list[bytes] = field(default_factory=list)


@dataclass
class World:
    """What all clients share."""

    leases: dict[int, list[bytes]] = field(default_factory=dict)  # Those that may be alive.
    revision: int = 0  # The newest that anybody was told.
    values: itertools.count[int] = field(default_factory=itertools.count)

    def value(self) -> bytes:
        """One never used before. Some are large, so that who is held up falls behind."""
        number = next(self.values)
        return b"v%d" % number + FILLER * (number % LARGE_EVERY == 0)


class Client:
    def __init__(self, api: Api, random: Random, world: World, first_revision: int) -> None:
        self._api = api
        self._random = random
        self._world = world
        self._first_revision = first_revision  # History before it may be compacted.
        self._held: list[Held] = []
        self._modified: dict[bytes, int] = {}  # Mod revisions as last seen, for guards.
        self._steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (14, self._put),
            (14, self._get),
            (5, self._range),
            (3, self._get_past),
            (5, self._delete),
            (2, self._delete_range),
            (8, self._swap),
            (5, self._put_many),
            (6, self._grant),
            (16, self._tend),
            (4, self._time_to_live),
            (4, self._touch_leased),
        ]

    async def run(self, ending: asyncio.Event) -> None:
        if not self._api.number:  # Keys that were moved to no lease would pile up for ever.
            await self._api.kv(Delete(LEASED, LEASED_END))
        weights = [weight for weight, _ in self._steps]
        steps = [step for _, step in self._steps]
        while not ending.is_set():
            count = len(self._api.calls)
            (step,) = self._random.choices(steps, weights)
            await step()
            if any(
                call.is_unknown and call.client == self._api.number
                for call in self._api.calls[count:]
            ):
                await asyncio.sleep(AFTER_NO_ANSWER_S)
            await asyncio.sleep(self._random.expovariate(1 / PAUSE_MEAN_S))

    # --- keys ---

    def _hot(self) -> bytes:
        return self._random.choice(HOT)

    def _lease(self) -> int:
        """Some lease for a hot key, mostly none."""
        leases = list(self._world.leases)
        return self._random.choice(leases) if leases and self._random.random() < 0.2 else 0

    async def _put(self) -> None:
        await self._api.kv(Put(self._hot(), self._world.value(), self._lease()))

    async def _get(self) -> None:
        key = self._hot()
        call = await self._api.kv(Get(key), serializable=self._random.random() < 0.2)
        if call.is_answered:
            self._modified[key] = call.results[0][0].mod if call.results[0] else 0
            self._world.revision = max(self._world.revision, call.revision)

    async def _range(self) -> None:
        key, end = self._random.choice((HOT_ALL, (LEASED, LEASED_END), (b"\0", b"\0")))
        await self._api.kv(Get(key, end), serializable=self._random.random() < 0.2)

    async def _get_past(self) -> None:
        newest = self._world.revision
        if newest >= self._first_revision:
            revision = self._random.randint(self._first_revision, newest)
            await self._api.kv(Get(*HOT_ALL, revision))

    async def _delete(self) -> None:
        await self._api.kv(Delete(self._hot()))

    async def _delete_range(self) -> None:
        await self._api.kv(Delete(b"hot/3", b"hot0"))

    async def _swap(self) -> None:
        """Compare and swap: what fails reads instead."""
        key = self._hot()
        call = await self._api.kv(
            Put(key, self._world.value(), self._lease()),
            guards=[Guard(key, self._modified.get(key, 0))],
            otherwise=[Get(key)],
        )
        if call.is_answered:
            shown = call.results[0]
            seen = shown[0].mod if shown else 0
            self._modified[key] = call.revision if call.succeeded else seen

    async def _put_many(self) -> None:
        """Two puts and another key's deletion or reading, at one revision."""
        first, second, third = self._random.sample(HOT, 3)
        last = Delete(third) if self._random.random() < 0.5 else Get(third)
        await self._api.kv(
            Put(first, self._world.value(), self._lease()), Put(second, self._world.value()), last
        )

    # --- leases ---

    async def _grant(self) -> None:
        """One with some keys, put at once or one by one."""
        if len(self._held) >= LEASES_MAX:
            return
        random, ttl = self._random, self._random.choice(TTLS_S)
        call = await self._api.grant(random.getrandbits(62) | 1, ttl)
        if not call.is_answered:
            return
        now = time.monotonic()
        lifetime = ttl * random.uniform(0, 3)
        held = Held(call.lease, call.ttl, now + lifetime, random.random() < REVOKED, now)
        self._held.append(held)
        self._world.leases[held.lease] = held.keys
        held.keys += [
            LEASED + b"%x/%d" % (held.lease, number)
            for number in range(random.randrange(KEYS_PER_LEASE_MAX + 1))
        ]
        puts = [Put(key, self._world.value(), held.lease) for key in held.keys]
        if len(puts) > 1 and random.random() < 0.5:
            await self._api.kv(*puts)
            return
        for put in puts:
            await self._api.kv(put)

    async def _tend(self) -> None:
        """Renew the lease whose turn it is, revoke one whose time is over, forget one that went."""
        now = time.monotonic()
        for held in list(self._held):
            if now < held.renewed_until:
                continue
            if held.is_revoked_then:
                await self._api.revoke(held.lease)
                self._forget(held)
                return
            if now > held.renewed_at + held.ttl + 2:
                self._forget(held)
        due = [held for held in self._held if now < held.renewed_until]
        if due:
            held = min(due, key=lambda held: held.renewed_at)
            call = await self._api.renew(held.lease)
            if call.is_answered:
                held.renewed_at = call.done
                if not call.ttl:
                    self._forget(held)

    def _forget(self, held: Held) -> None:
        self._held.remove(held)
        self._world.leases.pop(held.lease, None)

    async def _time_to_live(self) -> None:
        leases = list(self._world.leases)
        if leases:
            await self._api.time_to_live(self._random.choice(leases))

    async def _touch_leased(self) -> None:
        """Move somebody's leased key to another lease, or to none, or delete it."""
        keys = [key for keys in self._world.leases.values() for key in keys]
        if not keys:
            return
        key, leases = self._random.choice(keys), list(self._world.leases)
        if self._random.random() < 0.3:
            await self._api.kv(Delete(key))
        else:
            lease = self._random.choice([0, *leases])
            await self._api.kv(Put(key, self._world.value(), lease))
