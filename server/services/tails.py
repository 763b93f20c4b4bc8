"""Watchers that a service keeps for itself: for a coroutine that waits for what happens to keys.

A tail takes events in order from a revision on and misses none. What it holds is bounded: one
that is not read falls behind, and is caught up from history, as a client's watcher is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple, Self

from etcdpb.kv_pb2 import Event
from etcdpb.rpc_pb2 import WatchResponse
from mvcc.keyrange import KeyRange
from mvcc.store import Store
from mvcc.watch import WatchHub
from mvcc.watcher import Sink, Watcher
from server.engine import Engine
from server.status import TooManyRequestsError

# Calls that wait for a lock, a leader or its next word. One more is refused as etcd refuses what
# is too much; each costs some 10 KiB: its call's task, its watcher, its place at the transport.
TAILS_MAX: Final = 10_000
HELD_REVISIONS_MAX: Final = 16  # Of events not yet taken; then history.


class Happened(NamedTuple):
    """What happened in one revision, or in several read from history."""

    revision: int  # For the header of who tells of it.
    events: list[Event]


class Tails:
    """Makes tails, and counts those there are."""

    def __init__(self, engine: Engine, store: Store, hub: WatchHub) -> None:
        self.engine = engine
        self.store = store
        self.hub = hub
        self.count = 0

    def follow(self, keys: KeyRange, after_revision: int, *, no_put: bool = False) -> Tail:
        """The events on `keys` that came after that revision.

        The tail counts, and is fed, inside a `with` block; entering one more than there may be
        raises TooManyRequestsError.
        """
        return Tail(self, keys, after_revision, no_put=no_put)


class Tail(Sink):
    """One watcher and what it has been offered. It is the watcher's sink."""

    def __init__(self, tails: Tails, keys: KeyRange, after_revision: int, *, no_put: bool) -> None:
        self._tails = tails
        self._held: deque[Happened] = deque()
        self._wake = asyncio.Event()
        self._watcher = Watcher(0, keys, self, start_revision=after_revision + 1, no_put=no_put)

    def __enter__(self) -> Self:
        if self._tails.count >= TAILS_MAX:
            raise TooManyRequestsError
        self._tails.count += 1
        self._tails.hub.add(self._watcher)
        return self

    def __exit__(self, *_: object) -> None:
        self._tails.hub.remove(self._watcher)
        self._tails.count -= 1

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:  # noqa: ARG002  # its own
        """Called by the hub: one revision's events."""
        self._wake.set()
        if len(self._held) >= HELD_REVISIONS_MAX:
            return False
        self._held.append(_happened(revision, events))
        return True

    async def next(self) -> Happened | None:
        """What comes next; None if it is compacted, and the tail is of no more use."""
        while not self._held:
            if self._watcher.is_synced:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._tails.engine.settled()
            caught = self._tails.hub.catch_up(self._watcher)
            if caught.compact_revision:
                return None
            if caught.events:
                return _happened(self._tails.store.published, caught.events)
            await asyncio.sleep(0)  # A long history is read in turns with everything else.
        return self._held.popleft()


def _happened(revision: int, events: list[bytes]) -> Happened:
    """The events are encoded as fields of a WatchResponse."""
    return Happened(revision, list(WatchResponse.FromString(b"".join(events)).events))
