"""One lease: what was granted, until when it runs, and which keys it carries.

`keys` has one form for each count, so that a lease with no key or one, which is nearly every
lease there is, costs no container: None for no key, the key itself for exactly one, a set
from the second on. A set is 200 bytes before it holds anything.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NewType

LeaseID = NewType("LeaseID", int)  # Any int64 but 0: -1 and the smallest int64 are legal.

NO_LEASE: Final = LeaseID(0)
TTL_MAX_S: Final = 9_000_000_000  # etcd's MaxLeaseTTL (server/lease/lessor.go).
GONE: Final = -math.inf  # The expiry of a revoked lease: whoever still has it finds it due.
FOREVER: Final = math.inf  # The expiry of every lease while its lessor is not primary.
SORTED_AT_ONCE: Final = 5000  # Keys, between two looks at other work: a few milliseconds,
REVOKED_AT_ONCE: Final = 250  # and so are these, which are deleted.
by_expiry: Final = attrgetter("expiry")


@dataclass(slots=True, eq=False)
class Lease:
    """One grant. Changed only by the `Lessor` that made it; compared by identity.

    A lease may be granted again under the id of a revoked one: the id is the same then, the
    object is not. Whoever keeps a lease over time must ask the lessor whether it still lives.
    """

    id: LeaseID
    ttl: int  # Seconds, after the floor was applied; what the client is told.
    expiry: float  # Clock seconds; due from this instant on, and gone once revoked.
    keys: bytes | set[bytes] | None = None  # One form for each count: see the module.
    slot: int = 0  # Where its time is kept for the next process; 0 if nowhere (`lease.deadlines`).

    def remaining(self, now: float) -> float:
        """Seconds left; negative when overdue, infinite while the lessor is not primary."""
        return self.expiry - now

    def ttl_without(self, spent: float) -> float:
        """The full TTL less what is spent of it, in seconds: never more than it, nor below 0."""
        return self.ttl - min(spent, self.ttl) if spent > 0 else self.ttl

    @property
    def key_count(self) -> int:
        if self.keys is None:
            return 0
        return 1 if isinstance(self.keys, bytes) else len(self.keys)

    def sorted_keys(self) -> list[bytes]:
        """The attached keys in byte order; a list of its own that later changes leave alone."""
        if self.keys is None:
            return []
        return [self.keys] if isinstance(self.keys, bytes) else sorted(self.keys)

    def sorted_in_slices(self) -> Generator[None, None, list[bytes]]:
        """The same for very many keys, which must not change before the last slice."""
        assert isinstance(self.keys, set), "very many"
        unsorted, keys = list(self.keys), list[bytes]()
        for at in range(0, len(unsorted), SORTED_AT_ONCE):
            keys += sorted(unsorted[at : at + SORTED_AT_ONCE])
            yield
        keys.sort()  # Which only merges.
        return keys

    def add_key(self, key: bytes) -> None:
        """Take up a key that the lease does not have yet."""
        if self.keys is None:
            self.keys = key
        elif isinstance(self.keys, bytes):
            self.keys = {self.keys, key}
        else:
            self.keys.add(key)

    def remove_key(self, key: bytes) -> None:
        """Give up a key that the lease has."""
        if isinstance(self.keys, set):
            self.keys.remove(key)
            if len(self.keys) == 1:
                (self.keys,) = self.keys
        else:
            assert self.keys == key, "the item map names a key that the lease does not have"
            self.keys = None
