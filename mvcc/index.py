"""The keys in order, and the newest version of each.

Two sorted lists: keys that are live, and keys whose newest version is a tombstone but which
older revisions may still show. So counting and ranging over the present never walks the dead.

Invariants, checked by `check_invariants`:
  1. `live` holds exactly the keys whose entry has a frame; `dead` all the others.
  2. No entry without a version: a key that compaction emptied is in neither list.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedList

from mvcc.entry import Entry
from mvcc.keyrange import KeyRange


class Index:
    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._live: SortedList[bytes] = SortedList()
        self._dead: SortedList[bytes] = SortedList()

    def __len__(self) -> int:
        """How many keys are live."""
        return len(self._live)

    def live(self, key: bytes) -> Entry | None:
        """The entry of `key` if it exists now."""
        entry = self.entries.get(key)
        return entry if entry is not None and entry.frame is not None else None

    def put(
        self, key: bytes, frame: bytes, create: int, main: int, sub: int, version: int, lease: int
    ) -> None:
        """Make main.sub the newest version of `key`."""
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = Entry()
            self._live.add(key)
        else:
            entry.supersede()
            if version == 1:
                self._dead.remove(key)
                self._live.add(key)
        entry.frame = frame
        entry.create_revision = create
        entry.mod_revision = main
        entry.sub = sub
        entry.version = version
        entry.lease = lease

    def delete(self, key: bytes, main: int, sub: int) -> None:
        """Make the tombstone main.sub the newest version of `key`, which must be live."""
        entry = self.entries[key]
        entry.supersede()
        entry.frame = None
        entry.create_revision = entry.version = entry.lease = 0
        entry.mod_revision = main
        entry.sub = sub
        self._live.remove(key)
        self._dead.add(key)

    def drop(self, key: bytes) -> None:
        """Forget a key of which nothing but the newest tombstone is left."""
        entry = self.entries.pop(key)
        assert entry.frame is None
        assert entry.older is None
        self._dead.remove(key)

    def count(self, keys: KeyRange) -> int:
        """How many live keys lie in `keys`. O(log n)."""
        return _count(self._live, keys)

    def keys(self, keys: KeyRange, limit: int = 0, *, reverse: bool = False) -> list[bytes]:
        """Live keys in `keys`, in byte order, at most `limit` of them if that is above 0."""
        found = self.walk(keys, reverse=reverse)
        return list(islice(found, limit) if limit > 0 else found)

    def walk(self, keys: KeyRange, *, reverse: bool = False) -> Iterator[bytes]:
        """The same one by one; nothing may be put or deleted before the last."""
        if keys.is_empty:
            return iter(())
        found: Iterator[bytes] = self._live.irange(keys.start, keys.end, (True, False), reverse)
        return found

    def count_ever(self, keys: KeyRange) -> int:
        """How many keys `keys_ever` has. O(log n)."""
        return _count(self._live, keys) + _count(self._dead, keys)

    def keys_ever(self, keys: KeyRange) -> list[bytes]:
        """Keys in `keys` that are live or were at some revision still kept, in byte order."""
        if keys.is_empty:
            return []
        live = self._live.irange(keys.start, keys.end, (True, False))
        dead = self._dead.irange(keys.start, keys.end, (True, False))
        return sorted([*live, *dead])

    def load(self, entries: dict[bytes, Entry]) -> None:
        """Replace everything by `entries`. For recovery: one sort, no insertion."""
        self.entries = entries
        self._live = SortedList(key for key, entry in entries.items() if entry.frame is not None)
        self._dead = SortedList(key for key, entry in entries.items() if entry.frame is None)

    def check_invariants(self) -> None:
        """Assert what the module docstring promises. O(n); for tests."""
        live = {key for key, entry in self.entries.items() if entry.frame is not None}
        assert set(self._live) == live
        assert len(self._live) == len(live)
        assert set(self._dead) == self.entries.keys() - live
        assert len(self._dead) == len(self.entries) - len(live)
        for entry in self.entries.values():
            assert entry.mod_revision > 0
            older = list(entry.since(0, entry.mod_revision))
            assert older == sorted(older)
            if entry.frame is None:
                assert (entry.create_revision, entry.version, entry.lease) == (0, 0, 0)


def _count(sorted_keys: SortedList[bytes], keys: KeyRange) -> int:
    start: int = sorted_keys.bisect_left(keys.start)
    end: int = len(sorted_keys) if keys.end is None else sorted_keys.bisect_left(keys.end)
    return max(0, end - start)
