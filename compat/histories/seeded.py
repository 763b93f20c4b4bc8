"""Tenure with a bug in it, or with a slow disk: what the checker must find, and what it must not.

python -m compat.histories.seeded BUG [flags of the server]

Only this entry point patches anything, in its own process; it is no part of what is installed. The
bugs are of the kind that a careless change would bring. `none` has no bug. Each of them, `none`
too, makes the disk slow for `SLOW_S` when it is sent SIGUSR1: every fsync of RocksDB is done and
then waits, in the thread that did it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from etcdpb.rpc_pb2 import RangeRequest
from lease.lease import Lease
from lease.lessor import Lessor
from mvcc.backend.base import Batch, Column
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from mvcc.entry import Version
from mvcc.view import range_keys
from mvcc.watch_history import History
from mvcc.watcher import Watcher
from server.cli import main as serve
from server.services import encode
from server.services.kv import KVService

SLOW_S: Final = 3.0
SLOW_SYNC_S: Final = 0.15
HELD_S: Final = 0.3  # How long the bug "reply before fsync" keeps a group in memory.
EVERY: Final = 3  # How often a bug shows: once in so many occasions.
STALE_BY: Final = 2  # Revisions.


def slow_disk() -> None:
    """On SIGUSR1."""
    until = 0.0

    def on_signal(*_: object) -> None:
        nonlocal until
        until = time.monotonic() + SLOW_S

    signal.signal(signal.SIGUSR1, on_signal)
    sync = RocksBackend.sync

    def slowly(self: RocksBackend) -> None:
        sync(self)
        if time.monotonic() < until:
            time.sleep(SLOW_SYNC_S)

    RocksBackend.sync = slowly  # type: ignore[method-assign]


def reply_before_fsync() -> None:
    """A group is answered while it is in memory only; it is written `HELD_S` later.

    Without the last step, which is to write it before it is read, Tenure itself would notice. And
    it would not start again, since its mark tells what was acknowledged: so the mark is told less.
    """
    held: deque[tuple[float, Batch]] = deque()
    write, get, scan, close = (
        RocksBackend.write,
        RocksBackend.get,
        RocksBackend.scan,
        RocksBackend.close,
    )

    def let_go(self: RocksBackend, until: float) -> None:
        while held and held[0][0] <= until:
            write(self, held.popleft()[1])

    def later(self: RocksBackend, batch: Batch) -> None:
        now = time.monotonic()
        let_go(self, now - HELD_S)
        held.append((now, batch))
        loop = asyncio.get_running_loop()
        loop.call_later(HELD_S, lambda: let_go(self, time.monotonic() - HELD_S))

    def read(self: RocksBackend, column: Column, key: bytes) -> bytes | None:
        let_go(self, time.monotonic())
        return get(self, column, key)

    def walk(
        self: RocksBackend, column: Column, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        let_go(self, time.monotonic())
        return scan(self, column, start, end)

    def leave(self: RocksBackend) -> None:
        let_go(self, time.monotonic())
        close(self)

    RocksBackend.write = later  # type: ignore[method-assign]
    RocksBackend.get = read  # type: ignore[method-assign]
    RocksBackend.scan = walk  # type: ignore[method-assign]
    RocksBackend.close = leave  # type: ignore[method-assign]
    Mark.set = lambda *_: None  # type: ignore[method-assign]


def renewal_lost() -> None:
    """A keepalive is answered with its TTL, and some leases are none the better for it."""
    renew_known, renew_all = Lessor.renew_known, Lessor.renew_all

    def forget(leases: Iterable[Lease], before: Sequence[float]) -> None:
        for lease, expiry in zip(leases, before, strict=False):
            if lease.id % EVERY == 0:
                lease.expiry = expiry

    def renew_one(self: Lessor, lease: Lease, now: float, horizon: float) -> bool:
        before = lease.expiry
        is_renewed = renew_known(self, lease, now, horizon)
        forget([lease], [before])
        return is_renewed

    def renew_many(self: Lessor, leases: Iterable[Lease], *, now: float, horizon: float) -> int:
        some = list(leases)
        before = [lease.expiry for lease in some]
        count = renew_all(self, some, now=now, horizon=horizon)
        forget(some, before)
        return count

    Lessor.renew_known = renew_one  # type: ignore[method-assign]
    Lessor.renew_all = renew_many  # type: ignore[method-assign]


def revoke_not_atomic() -> None:
    """The keys of a lease go one by one, each at a revision of its own."""

    def revoke(self: Any, lease: Lease) -> int:
        keys: list[bytes] = lease.sorted_keys()
        for key in keys:
            txn = self._range_deleter()
            txn.delete_range(key, None)
            txn.end()
        self._keeper.forget(lease)
        self._records.delete(lease)
        self.detach(lease.id, keys)
        del self._leases[lease.id]
        lease.expiry = float("-inf")
        return len(keys)

    Lessor.revoke_known = revoke  # type: ignore[method-assign]


def watch_gap_on_resume() -> None:
    """A watcher that begins in the past sometimes misses the first of what it should be told."""
    rows = History._rows
    begun = 0

    def with_a_gap(self: History, watcher: Watcher) -> Iterator[tuple[bytes, Version, bytes]]:
        nonlocal begun
        found = rows(self, watcher)
        if watcher.next_revision == watcher.start_revision:
            begun += 1
            if begun % EVERY == 0:
                next(iter(found), None)
        return found

    History._rows = with_a_gap  # type: ignore[method-assign]


def stale_read() -> None:
    """A key is sometimes shown as it was a little before, header and all."""
    fresh = KVService._get
    asked = 0

    def stale(self: Any, key: bytes) -> bytes:
        nonlocal asked
        asked += 1
        revision = self._store.published - STALE_BY
        if asked % EVERY or revision <= max(1, self._store.compact_revision):
            return fresh(self, key)
        past = RangeRequest(key=key, revision=revision)
        return encode.range_response(self._headers.at(revision), range_keys(self._store, past))

    KVService._get = stale  # type: ignore[method-assign]


NONE: Final = "none"
BUGS: Final[Mapping[str, Callable[[], None]]] = {
    "reply-before-fsync": reply_before_fsync,
    "renewal-lost": renewal_lost,
    "revoke-not-atomic": revoke_not_atomic,
    "watch-gap-on-resume": watch_gap_on_resume,
    "stale-read": stale_read,
}


def main(argv: Sequence[str]) -> int:
    bug, *flags = argv
    assert threading.current_thread() is threading.main_thread()
    slow_disk()
    if bug != NONE:
        BUGS[bug]()
    return serve(flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
