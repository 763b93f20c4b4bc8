"""The keys in order, and the newest version of each.

Two ordered lists: keys that are live, and keys whose newest version is a tombstone but which
older revisions may still show. So counting and ranging over the present never walks the dead.
A key that is deleted moves from one to the other when somebody next looks at either, and all that
have gathered move at once; one that is put anew before that never moves.

Invariants, checked by `check_invariants`:
  1. `live` holds exactly the keys whose entry has a frame, and those `gone`; `dead` all the others.
  2. No entry without a version: a key that compaction emptied is in none of them.
  3. `gone` has at most `GONE_MAX` keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mvcc.entry import Entry
from mvcc.keylist import KeyList
from mvcc.keyrange import KeyRange

GONE_MAX: Final = 10_000  # Deleted keys that may wait to be moved: some 3 ms of work.


class Index:
    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._live = KeyList()
        self._dead = KeyList()
        self._gone: dict[bytes, None] = {}  # In the order in which they were deleted.

    def __len__(self) -> int:
        """How many keys are live."""
        return len(self._live) - len(self._gone)

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
                if key in self._gone:
                    del self._gone[key]
                else:
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
        gone = self._gone
        gone[key] = None
        if len(gone) >= GONE_MAX:
            self._settle()

    def drop(self, key: bytes) -> None:
        """Forget a key of which nothing but the newest tombstone is left."""
        entry = self.entries.pop(key)
        assert entry.frame is None
        assert entry.older is None
        self._settle()
        self._dead.remove(key)

    def count(self, keys: KeyRange) -> int:
        """How many live keys lie in `keys`."""
        self._settle()
        return self._live.count(keys.start, keys.end)

    def keys(self, keys: KeyRange, limit: int = 0, *, reverse: bool = False) -> list[bytes]:
        """Live keys in `keys`, in byte order, at most `limit` of them if that is above 0."""
        if keys.is_single:
            return [keys.start] if self.live(keys.start) is not None else []
        self._settle()
        return self._live.slice(keys.start, keys.end, limit, reverse=reverse)

    def walk(self, keys: KeyRange, *, reverse: bool = False) -> Iterator[bytes]:
        """The same one by one, as of the call."""
        return iter(self.keys(keys, reverse=reverse))

    def count_ever(self, keys: KeyRange) -> int:
        """How many keys `keys_ever` has."""
        self._settle()
        start, end = keys.start, keys.end
        return self._live.count(start, end) + self._dead.count(start, end)

    def keys_ever(self, keys: KeyRange) -> list[bytes]:
        """Keys in `keys` that are live or were at some revision still kept, in byte order."""
        self._settle()
        live = self._live.slice(keys.start, keys.end)
        return sorted(live + self._dead.slice(keys.start, keys.end))

    def _settle(self) -> None:
        """Move what was deleted from the living to the dead."""
        if self._gone:
            gone = sorted(self._gone)
            self._gone = {}
            self._live.remove_all(gone)
            self._dead.add_all(gone)

    def load(self, entries: dict[bytes, Entry]) -> None:
        """Replace everything by `entries`. For recovery: one sort, no insertion."""
        self.entries = entries
        self._live = KeyList(key for key, entry in entries.items() if entry.frame is not None)
        self._dead = KeyList(key for key, entry in entries.items() if entry.frame is None)
        self._gone = {}

    def check_invariants(self) -> None:
        """Assert what the module docstring promises. O(n); for tests."""
        live = {key for key, entry in self.entries.items() if entry.frame is not None}
        gone = set(self._gone)
        assert len(gone) < GONE_MAX
        assert gone <= self.entries.keys() - live
        assert self._live.slice(b"", None) == sorted(live | gone)
        assert self._dead.slice(b"", None) == sorted(self.entries.keys() - live - gone)
        self._live.check_invariants()
        self._dead.check_invariants()
        for entry in self.entries.values():
            assert entry.mod_revision > 0
            older = list(entry.since(0, entry.mod_revision))
            assert older == sorted(older)
            if entry.frame is None:
                assert (entry.create_revision, entry.version, entry.lease) == (0, 0, 0)
