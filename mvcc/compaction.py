"""Compaction: refuse the past at once, remove it in bounded steps.

`schedule` makes every revision below the target unreadable; that is all a non-physical Compact
waits for. `step` then removes rows, a bounded number at a time, until the target is swept.

A row can only be garbage because something newer at or below the target replaced it. All that
was garbage for the compaction before is gone already, so it is enough to walk the rows between
the last swept revision and the target: each of them makes every older version of its key
garbage, and a tombstone makes itself garbage too. Only what happened exactly at the target stays
whole, tombstones too, so that a watch from there sees all of it (etcd 3.5.16). The cost is that
of what changed since the last compaction, not of what the store holds.

After a crash the sweep begins again at the last swept revision; what it already removed it does
not find.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Column
from mvcc.entry import Version
from mvcc.errors import CompactedError, FutureRevisionError
from mvcc.revision import decode, encode, encode_tombstone
from mvcc.store import Store

META_SCHEDULED: Final = b"scheduledCompactRev"
META_FINISHED: Final = b"finishedCompactRev"
META_FREED: Final = b"freedBytes"
STEP_ROWS_MAX: Final = 1000  # Rows walked in a step: etcd's --compaction-batch-limit.


class Compactor:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._next: bytes | None = None  # Where the sweep under way goes on.
        self.resume()

    @property
    def is_sweeping(self) -> bool:
        return self._next is not None

    def resume(self) -> None:
        """Begin the sweep that the recovered store has not finished."""
        if self._store.swept_revision < self._store.compact_revision:
            self._next = encode(max(self._store.swept_revision, 0), 0)

    def check(self, revision: int) -> None:
        """Raise what `schedule` would refuse.

        Raises:
            CompactedError: already compacted at `revision` or above.
            FutureRevisionError: `revision` has not happened.
        """
        if revision <= self._store.compact_revision:
            raise CompactedError(revision, self._store.compact_revision)
        if revision > self._store.current:
            raise FutureRevisionError(revision, self._store.current)

    def schedule(self, revision: int) -> None:
        """Refuse all reads below `revision` from now on, and sweep up to it."""
        store = self._store
        # A sweep under way goes on to the new target, but from the old one's first row: what
        # happened there was to stay whole, and no longer is.
        previous = encode(max(store.compact_revision, 0), 0)
        if self._next is None or self._next > previous:
            self._next = previous
        store.compact_revision = revision
        store.put_meta(META_SCHEDULED, revision)

    def step(self, rows_max: int = STEP_ROWS_MAX) -> bool:
        """Remove what the next `rows_max` rows made garbage. True once all is swept.

        Rows are read from disk, so none of them may be in an unwritten batch.
        """
        store = self._store
        assert self._next is not None
        target = store.compact_revision
        end = encode(target + 1, 0)
        newest: dict[bytes, Version] = {}  # By key, of the rows walked in this step.
        walked = 0
        for row_key, value in islice(store.backend.scan(Column.KEY, self._next, end), rows_max):
            newest[KeyValue.FromString(value).key] = Version(*decode(row_key))
            self._next = row_key + b"\0"
            walked += 1
        for key, version in newest.items():
            self._collect(key, version, target)
        store.put_meta(META_FREED, store.freed)
        if walked < rows_max:
            self._next = None
            store.swept_revision = target
            store.put_meta(META_FINISHED, target)
        return self._next is None

    def _collect(self, key: bytes, version: Version, target: int) -> None:
        """Remove all of `key` below the target that `version` made garbage."""
        index = self._store.index
        entry = index.entries[key]
        is_below = version.main < target
        for older in entry.drop_older_than(version.main, version.sub if is_below else 0):
            self._remove(older)
        if version.is_tombstone and is_below:
            self._remove(version)
            if (entry.mod_revision, entry.sub) == (version.main, version.sub):
                index.drop(key)
            else:
                entry.drop_oldest()

    def _remove(self, version: Version) -> None:
        store = self._store
        assert store.batch is not None
        row_key = (encode_tombstone if version.is_tombstone else encode)(version.main, version.sub)
        value = store.backend.get(Column.KEY, row_key)
        assert value is not None, "the index names only rows that exist"
        store.batch.delete(Column.KEY, row_key)
        size = len(row_key) + len(value)
        store.in_use -= size
        store.freed += size
