"""Which key goes with which lease: the item map, and the keys in each lease, as one.

Invariant, checked by `check_invariants`: a key belongs to at most one lease, and `get(key)` is the
lease exactly when the lease has the key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from lease.errors import CorruptLeaseError
from lease.lease import NO_LEASE, Lease, LeaseID
from lease.record import encode_key


class Held(Protocol):
    """What says of a key which lease it belongs to."""

    lease: int  # The id; `NO_LEASE` for none.


class Items:
    """The map of all keys that have a lease. Only the lessor calls it."""

    __slots__ = ("_leases", "keyed")

    def __init__(self) -> None:
        self._leases: dict[bytes, Lease] = {}  # By key.
        self.keyed = 0  # Leases that have a key. Read-only for others.

    def __len__(self) -> int:
        """How many keys have a lease."""
        return len(self._leases)

    def get(self, key: bytes) -> Lease | None:
        return self._leases.get(key)

    def attach(self, lease: Lease, keys: Iterable[bytes]) -> None:
        """Let `keys` be this lease's. One that another lease had is moved."""
        leases = self._leases
        for key in keys:
            old = leases.get(key)
            if old is lease:
                continue
            if old is not None:
                self._remove(old, key)
            leases[key] = lease
            if lease.keys is None:
                self.keyed += 1
            lease.add_key(key)

    def add_all(self, held: Iterable[tuple[bytes, Held]], leases: Mapping[LeaseID, Lease]) -> None:
        """See `Holdings.adopt_all`. All in one loop: there are millions."""
        by_key, by_id = self._leases, leases.get
        keyed = 0
        for key, holder in held:
            if holder.lease == NO_LEASE:
                continue
            lease = by_id(holder.lease)  # type: ignore[call-overload]  # a LeaseID, if it is there
            if lease is None:
                reason = f"key {key!r} belongs to it, and it has no record"
                raise CorruptLeaseError(encode_key(LeaseID(holder.lease)), reason)
            holder.lease = lease.id
            by_key[key] = lease
            if lease.keys is None:
                keyed += 1
                lease.keys = key
            else:
                lease.add_key(key)
        self.keyed += keyed

    def detach(self, lease: Lease, keys: Iterable[bytes]) -> None:
        """Let go of those of `keys` that are this lease's."""
        leases = self._leases
        for key in keys:
            if leases.get(key) is lease:
                del leases[key]
                self._remove(lease, key)

    def detach_all(self, lease: Lease, keys: Iterable[bytes]) -> None:
        """Let go of `keys`, which are all that the lease has had and may still have."""
        leases = self._leases
        for key in keys:
            if leases.get(key) is lease:
                del leases[key]
        if lease.keys is not None:
            lease.keys = None
            self.keyed -= 1

    def _remove(self, lease: Lease, key: bytes) -> None:
        lease.remove_key(key)
        if lease.keys is None:
            self.keyed -= 1

    def check_invariants(self, leases: Collection[Lease]) -> None:
        """Assert what the module promises, of all leases there are. O(n); for tests."""
        keys = {key: id(lease) for lease in leases for key in lease.sorted_keys()}
        assert {key: id(lease) for key, lease in self._leases.items()} == keys, (
            "map and leases differ"
        )
        assert len(keys) == sum(lease.key_count for lease in leases), "a key with two leases"
        assert self.keyed == sum(lease.keys is not None for lease in leases)
        for lease in leases:
            assert not isinstance(lease.keys, set) or len(lease.keys) > 1, "a set for one key"
