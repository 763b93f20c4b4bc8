"""Watchers of many kinds, some of them sharing a stream; each is recorded as a `Watch` of its own.

A stream leaves now and then, or is cut off by a fault, and comes back: each of its watchers
mostly from behind what it last heard, sometimes from any earlier revision of the episode, which it
then hears again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

from compat.histories.api import EOF, Api, Error, heard_of
from compat.histories.clients import World
from compat.histories.record import Watch
from etcdpb import rpc_pb2

STAY_S: Final = (0.5, 6.0)  # How long it hears before it leaves by itself.
COME_BACK_S: Final = 0.15
FROM_ANYWHERE: Final = 0.25  # Of the resumptions.
PROGRESS_EVERY_S: Final = 0.4
ALL_WATCHERS: Final = -1  # The id of a progress notification that was asked for.
FINISH_MAX_S: Final = 10.0
FINISH_ASK_S: Final = 0.1


class Range(NamedTuple):
    key: bytes
    end: bytes = b""


EVERYTHING: Final = Range(b"\0", b"\0")


@dataclass(frozen=True)
class Wanted:
    """One stream with a watcher for each of `ranges`."""

    ranges: tuple[Range, ...]
    prev_kv: bool = False
    asks_progress: bool = False
    stays: bool = False  # Leaves only when it is cut off.


WANTED: Final = (
    Wanted((EVERYTHING,), prev_kv=True, stays=True),
    Wanted((EVERYTHING,), asks_progress=True),
    Wanted((Range(b"hot/", b"hot0"), Range(b"hot/2")), prev_kv=True, asks_progress=True),
    Wanted((Range(b"leased/", b"leased0"),)),
    Wanted((Range(b"hot/0"), Range(b"leased/", b"leased0"), Range(b"hot/0")), asks_progress=True),
    Wanted((Range(b"hot/1"),), prev_kv=True),
)


class Stream:
    """One stream of watchers, from its opening to its end."""

    def __init__(self, call: Any, watches: Sequence[Watch], world: World) -> None:
        self.watches = watches
        self._call = call
        self._world = world
        self._writing = asyncio.Lock()  # grpc takes one message at a time.
        self._ids: dict[int, Watch] = {}  # In the order in which they were asked for.

    def cancel(self) -> None:
        self._call.cancel()

    async def hear(self) -> None:
        """Until it is cancelled or broken off."""
        async with self._writing:
            for watch in self.watches:
                create = rpc_pb2.WatchCreateRequest(
                    key=watch.key,
                    range_end=watch.end,
                    start_revision=watch.start,
                    prev_kv=watch.prev_kv,
                )
                await self._call.write(rpc_pb2.WatchRequest(create_request=create))
        while (response := await self._call.read()) is not EOF:
            self._take(response)

    async def ask(self) -> None:
        """For progress, of all of its watchers."""
        async with self._writing:
            await self._call.write(rpc_pb2.WatchRequest(progress_request={}))

    async def ask_often(self, random: Random) -> None:
        with suppress(Error, asyncio.InvalidStateError):
            while True:
                await asyncio.sleep(random.uniform(0, 2 * PROGRESS_EVERY_S))
                await self.ask()

    async def finish(self, last: int) -> None:
        """Ask how far they are until each has been told all."""
        deadline = time.monotonic() + FINISH_MAX_S
        while late := [watch for watch in self.watches if told(watch) < last]:
            if time.monotonic() > deadline:
                for watch in late:
                    watch.refusal = f"was not told in {FINISH_MAX_S} s that it is at {last}"
                break
            await self.ask()
            await asyncio.sleep(FINISH_ASK_S)
        for watch in self.watches:
            watch.is_whole = True

    def _take(self, response: rpc_pb2.WatchResponse) -> None:
        heard = heard_of(response, time.monotonic())
        if response.created:
            self._ids[response.watch_id] = self.watches[len(self._ids)]
            return
        meant = self.watches if response.watch_id == ALL_WATCHERS else ()
        for watch in meant or (self._ids[response.watch_id],):
            if response.canceled:
                watch.refusal = response.cancel_reason or "without a reason"
            else:
                watch.heard.append(heard)
                self._world.revision = max(self._world.revision, told(watch))


class Watcher:
    def __init__(
        self,
        api: Api,
        wanted: Wanted,
        random: Random,
        world: World,
        watches: list[Watch],
        first_revision: int,
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._random = random
        self._world = world
        self._watches = watches
        self._first = first_revision
        self._next = [first_revision] * len(wanted.ranges)  # What each has to hear of next.
        self._number = 0

    async def run(self, last: asyncio.Future[int]) -> None:
        """Hear until `last` is known, the last revision to hear of, and then up to that."""
        while not last.done():
            self._number += 1
            watches = [self._begin(index) for index in range(len(self._wanted.ranges))]
            self._watches += watches
            stream = Stream(self._api.method("Watch", "Watch")(), watches, self._world)
            leaving = asyncio.ensure_future(self._leave(stream, last))
            hearing = asyncio.ensure_future(stream.hear())
            tasks = [leaving, hearing]
            if self._wanted.asks_progress:
                tasks.append(asyncio.ensure_future(stream.ask_often(self._random)))
            try:
                # Not `hearing` alone: grpc.aio may forget to wake a reader whose call is cancelled.
                await asyncio.wait((leaving, hearing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                stream.cancel()
                for task in tasks:
                    task.cancel()
            _raise_bug(await asyncio.gather(*tasks, return_exceptions=True))
            self._next = [
                max(before, told(watch) + 1)
                for before, watch in zip(self._next, watches, strict=True)
            ]
            await asyncio.sleep(self._random.uniform(0, COME_BACK_S))

    def _begin(self, index: int) -> Watch:
        key, end = self._wanted.ranges[index]
        start = self._next[index]
        if self._random.random() < FROM_ANYWHERE:
            start = self._random.randint(self._first, start)
        name = f"watcher {self._api.number}.{self._number} of {key!r}..{end!r}"
        return Watch(name, key, end, start, self._wanted.prev_kv)

    async def _leave(self, stream: Stream, last: asyncio.Future[int]) -> None:
        stay_s = None if self._wanted.stays else self._random.uniform(*STAY_S)
        try:
            await asyncio.wait((last,), timeout=stay_s)
            if last.done():
                with suppress(Error, asyncio.InvalidStateError):
                    await stream.finish(last.result())
        finally:
            stream.cancel()


def _raise_bug(outcomes: Sequence[BaseException | None]) -> None:
    """That a stream is cut off, or written to when it is over, is no bug."""
    for outcome in outcomes:
        if outcome is not None and not isinstance(
            outcome, Error | asyncio.InvalidStateError | asyncio.CancelledError
        ):
            raise outcome


def told(watch: Watch) -> int:
    """Up to where it has been told all; 0 if it has been told nothing."""
    if not watch.heard:
        return 0
    heard = watch.heard[-1]
    return heard.events[-1].revision if heard.events else heard.revision
