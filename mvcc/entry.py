"""All versions of one key, as far as memory needs to know them.

The newest version is held in full. Of the older ones only their revisions are kept, packed;
their bytes are on disk. Worked example (main.sub, `t` is a tombstone):

    put 1.0; put 2.0; delete 3.0; put 4.0     newest 4.0   older 1.0 2.0 3.0t
    as of 2 -> 2.0     as of 3 -> nothing, the key was deleted     as of 0 -> nothing
    compact 2: all older than 2.0 goes        newest 4.0   older 2.0 3.0t
    compact 4: all older than 4.0 goes        newest 4.0   older (none)

Invariant: `older` ascends, and the newest version is above all of it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple


class Version(NamedTuple):
    main: int
    sub: int
    is_tombstone: bool


class Entry:
    """A key's newest version, and where the older ones stand.

    `frame` is None while the newest version is a tombstone; create_revision, version and
    lease are then 0. Mutated only by `Index`.
    """

    __slots__ = ("create_revision", "frame", "lease", "mod_revision", "older", "sub", "version")

    def __init__(
        self,
        frame: bytes | None = None,
        create_revision: int = 0,
        mod_revision: int = 0,
        sub: int = 0,
        version: int = 0,
        lease: int = 0,
    ) -> None:
        self.frame = frame
        self.create_revision = create_revision
        self.mod_revision = mod_revision
        self.sub = sub
        self.version = version
        self.lease = lease
        self.older: array[int] | None = None  # main, sub << 1 | is_tombstone, main, ...

    def supersede(self) -> None:
        """Move the newest version to the older ones. The caller sets the new one at once."""
        code = self.sub << 1 | (self.frame is None)
        if self.older is None:
            self.older = array("Q", (self.mod_revision, code))
        else:
            self.older.append(self.mod_revision)
            self.older.append(code)

    def as_of(self, revision: int) -> Version | None:
        """The newest version at or below `revision`; it may be a tombstone."""
        if self.mod_revision <= revision:
            return Version(self.mod_revision, self.sub, self.frame is None)
        if self.older is None:
            return None
        at = self._position_after(revision)
        return self._older_at(at - 1) if at else None

    def since(self, revision: int, until: int) -> Iterator[Version]:
        """Versions with revision <= main <= until, oldest first."""
        if self.older is not None:
            for at in range(self._position_after(revision - 1), len(self.older) // 2):
                version = self._older_at(at)
                if version.main > until:
                    return
                yield version
        if revision <= self.mod_revision <= until:
            yield Version(self.mod_revision, self.sub, self.frame is None)

    def drop_older_than(self, main: int, sub: int) -> list[Version]:
        """Forget every version before main.sub; return them, oldest first."""
        if self.older is None:
            return []
        dropped = []
        for at in range(len(self.older) // 2):
            version = self._older_at(at)
            if (version.main, version.sub) >= (main, sub):
                break
            dropped.append(version)
        del self.older[: 2 * len(dropped)]
        if not self.older:
            self.older = None
        return dropped

    def drop_oldest(self) -> None:
        """Forget the oldest of the older versions."""
        assert self.older is not None
        del self.older[:2]
        if not self.older:
            self.older = None

    def _position_after(self, revision: int) -> int:
        """How many of the older versions are at or below `revision`."""
        older = self.older
        assert older is not None
        return bisect_right(range(len(older) // 2), revision, key=lambda at: older[2 * at])

    def _older_at(self, at: int) -> Version:
        assert self.older is not None
        code = self.older[2 * at + 1]
        return Version(self.older[2 * at], code >> 1, bool(code & 1))
