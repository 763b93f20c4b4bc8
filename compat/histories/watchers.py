"""Watchers of many kinds; what each of their streams hears is recorded as a `Watch` of its own.

A watcher leaves now and then, or is cut off by a fault, and comes back: mostly from behind what it
last heard, sometimes from any earlier revision of the episode, which it then hears again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from compat.histories.api import EOF, Api, Error, heard_of
from compat.histories.clients import World
from compat.histories.record import Heard, Watch
from etcdpb import rpc_pb2

STAY_S: Final = (0.5, 6.0)  # How long it hears before it leaves by itself.
COME_BACK_S: Final = 0.15
FROM_ANYWHERE: Final = 0.25  # Of the resumptions.
PROGRESS_EVERY_S: Final = 0.4
FINISH_MAX_S: Final = 10.0
FINISH_ASK_S: Final = 0.1


@dataclass(frozen=True)
class Wanted:
    key: bytes
    end: bytes = b""
    prev_kv: bool = False
    asks_progress: bool = False
    stays: bool = False  # Leaves only when it is cut off.


WANTED: Final = (
    Wanted(b"\0", b"\0", prev_kv=True, stays=True),
    Wanted(b"\0", b"\0", asks_progress=True),
    Wanted(b"hot/", b"hot0", prev_kv=True, asks_progress=True),
    Wanted(b"leased/", b"leased0"),
    Wanted(b"hot/0", asks_progress=True),
    Wanted(b"hot/1", prev_kv=True),
)


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
        self._next = first_revision  # The revision that it has to hear of next.
        self._number = 0

    async def run(self, last: asyncio.Future[int]) -> None:
        """Hear until `last` is known, the last revision to hear of, and then up to that."""
        while not last.done():
            wanted = self._wanted
            start = self._next
            if self._random.random() < FROM_ANYWHERE:
                start = self._random.randint(self._first, max(self._first, self._next))
            self._number += 1
            watch = Watch(
                f"watcher {self._api.number}.{self._number} of {wanted.key!r}..{wanted.end!r}",
                wanted.key,
                wanted.end,
                start,
                wanted.prev_kv,
            )
            self._watches.append(watch)
            stream = self._api.method("Watch", "Watch")()
            stay_s = 1e9 if wanted.stays else self._random.uniform(*STAY_S)
            leaving = asyncio.ensure_future(self._leave(stream, watch, stay_s, last))
            asking = asyncio.ensure_future(self._ask(stream)) if wanted.asks_progress else None
            try:
                await self._hear(stream, watch)
            except Error:
                pass  # Cut off, or the server is gone.
            except asyncio.CancelledError:
                if not leaving.done():
                    raise  # We are told to end, not the stream.
            finally:
                for task in (leaving, asking):
                    if task is not None:
                        task.cancel()
                stream.cancel()
            await asyncio.sleep(self._random.uniform(0, COME_BACK_S))

    async def _leave(
        self, stream: Any, watch: Watch, stay_s: float, last: asyncio.Future[int]
    ) -> None:
        await asyncio.wait((last,), timeout=stay_s)
        if last.done():
            with suppress(Error, asyncio.InvalidStateError):
                await self._finish(stream, watch, last.result())
        stream.cancel()

    async def _finish(self, stream: Any, watch: Watch, last: int) -> None:
        """Ask how far it is until it has been told all."""
        deadline = time.monotonic() + FINISH_MAX_S
        while not watch.heard or _told(watch.heard[-1]) < last:
            if time.monotonic() > deadline:
                watch.refusal = f"was not told in {FINISH_MAX_S} s that it is at {last}"
                break
            await stream.write(rpc_pb2.WatchRequest(progress_request={}))
            await asyncio.sleep(FINISH_ASK_S)
        watch.is_whole = True

    async def _ask(self, stream: Any) -> None:
        with suppress(Error, asyncio.InvalidStateError):
            while True:
                await asyncio.sleep(self._random.uniform(0, 2 * PROGRESS_EVERY_S))
                await stream.write(rpc_pb2.WatchRequest(progress_request={}))

    async def _hear(self, stream: Any, watch: Watch) -> None:
        await stream.write(
            rpc_pb2.WatchRequest(
                create_request=rpc_pb2.WatchCreateRequest(
                    key=watch.key,
                    range_end=watch.end,
                    start_revision=watch.start,
                    prev_kv=watch.prev_kv,
                )
            )
        )
        while (response := await stream.read()) is not EOF:
            self.take(watch, response)

    def take(self, watch: Watch, response: rpc_pb2.WatchResponse) -> None:
        heard = heard_of(response, time.monotonic())
        if response.canceled:
            watch.refusal = response.cancel_reason or "without a reason"
        elif not response.created:
            watch.heard.append(heard)
            newest = _told(heard)
            self._next = max(self._next, newest + 1)
            self._world.revision = max(self._world.revision, newest)


def _told(heard: Heard) -> int:
    return heard.events[-1].revision if heard.events else heard.revision
