"""The leases there are and the keys that each carries: what of the lessor knows no time."""

from __future__ import annotations

from collections.abc import Iterable, ValuesView

from lease.errors import LeaseNotFoundError
from lease.items import Held, Items
from lease.lease import NO_LEASE, Lease, LeaseID, by_expiry


class Holdings:
    """None at first. The lessor puts leases in and takes them out."""

    def __init__(self) -> None:
        self._hold({})

    def _hold(self, leases: dict[LeaseID, Lease]) -> None:
        """Hold these and no others, with no key attached."""
        self._leases = leases  # In the order of their grants.
        self._items = Items()

    def __len__(self) -> int:
        """How many leases there are, the due ones included."""
        return len(self._leases)

    def lookup(self, lease_id: LeaseID) -> Lease:
        """The lease of that id, due or not.

        Raises:
            LeaseNotFoundError: there is none.
        """
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFoundError(lease_id)
        return lease

    def leases(self) -> list[Lease]:
        """All leases, soonest expiry first, ties in the order of their grants. O(n log n)."""
        return sorted(self._leases.values(), key=by_expiry)

    def granted(self) -> ValuesView[Lease]:
        """All leases as they are, in the order of their grants."""
        return self._leases.values()

    # Keys

    def get_lease(self, key: bytes) -> LeaseID:
        """The id of the lease that `key` is attached to, or `NO_LEASE`."""
        lease = self._items.get(key)
        return NO_LEASE if lease is None else lease.id

    def attach(self, lease_id: LeaseID, keys: Iterable[bytes]) -> None:
        """Let `keys` go when the lease goes. A key that another lease had is moved.

        Raises:
            LeaseNotFoundError: there is no such lease; nothing has changed.
        """
        self._items.attach(self.lookup(lease_id), keys)

    def adopt_all(self, held: Iterable[tuple[bytes, Held]]) -> None:
        """`attach` every key that names a lease, while none is attached: for a start.

        What names it has the lease's own id afterwards: 32 bytes that need not be kept twice.

        Raises:
            CorruptLeaseError: one names a lease that is not there.
        """
        self._items.add_all(held, self._leases)

    def detach(self, lease_id: LeaseID, keys: Iterable[bytes]) -> None:
        """Let go of those of `keys` that are attached to this lease; others are not its matter.

        Raises:
            LeaseNotFoundError: there is no such lease; nothing has changed.
        """
        self._items.detach(self.lookup(lease_id), keys)
