"""Which leases a user may end: those of whose keys it may write every single one.

A put with a lease asks that each time. Where there are many keys they are counted once, for a lease
and a user, and the count is kept right from then on: each key that comes to the lease or leaves it
moves it by at most one. A verdict is then one look, however many keys there are. With the next
change to users or roles all counts are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lease.lessor import LeaseID
from server.auth.keyset import KeySet

USERS_PER_LEASE_MAX: Final = 8  # One more takes the place of the one first asked for.


class _Count:
    """How many keys of a lease a user may not write."""

    __slots__ = ("forbidden", "writable")

    def __init__(self, writable: KeySet, keys: Iterable[bytes]) -> None:
        self.writable = writable
        self.forbidden = sum(not writable.holds(key) for key in keys)


class LeaseVerdicts:
    __slots__ = ("_counts", "_revision")

    def __init__(self) -> None:
        self._revision = 0  # The auth revision of the counts.
        self._counts: dict[LeaseID, dict[str, _Count]] = {}

    def may_write_all(
        self,
        user: str,
        writable: KeySet,
        revision: int,
        lease_id: LeaseID,
        keys: Callable[[], Iterable[bytes]],
    ) -> bool:
        """Whether `writable`, the user's as of `revision`, holds all of the lease's `keys`."""
        if revision != self._revision:
            self._counts.clear()
            self._revision = revision
        counts = self._counts.setdefault(lease_id, {})
        count = counts.get(user)
        if count is None:
            if len(counts) >= USERS_PER_LEASE_MAX:
                del counts[next(iter(counts))]
            count = counts[user] = _Count(writable, keys())
        return count.forbidden == 0

    def moved(self, key: bytes, old_lease: int, lease: int) -> None:
        """A key has left one lease and come to another; 0 is none."""
        for lease_id, step in ((old_lease, -1), (lease, 1)):
            for count in self._counts.get(LeaseID(lease_id), {}).values():
                if not count.writable.holds(key):
                    count.forbidden += step

    def ended(self, lease_id: LeaseID) -> None:
        """The lease is gone, and its keys with it."""
        self._counts.pop(lease_id, None)

    def __len__(self) -> int:
        """How many leases there are counts of."""
        return len(self._counts)
