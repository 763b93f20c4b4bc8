"""The records of all leases in their bucket, and which of them no grant would write."""

from __future__ import annotations

from lease import record
from lease.bucket import LeaseBucket
from lease.lease import FOREVER, Lease, LeaseID


class Records:
    """One lessor's. A lease without a record, or the reverse, is seen by nobody."""

    __slots__ = ("_bucket", "_odd", "_ttl_min")

    def __init__(self, bucket: LeaseBucket, *, ttl_min: int) -> None:
        self._bucket = bucket
        self._ttl_min = ttl_min
        # Sizes of values that `read` found and no grant would write: a TTL that was raised, or a
        # field that etcd knows and we do not.
        self._odd: dict[LeaseID, int] = {}

    def put(self, lease_id: LeaseID, ttl: int) -> None:
        self._bucket.put(record.encode_key(lease_id), record.encode_value(lease_id, ttl))

    def delete(self, lease: Lease) -> None:
        """The value follows from the lease unless it is an odd one, so nothing is read."""
        size = self._odd.pop(lease.id, 0) if self._odd else 0
        if not size:
            size = record.value_bytes(lease.id, lease.ttl)
        self._bucket.delete(record.encode_key(lease.id), size)

    def read(self) -> dict[LeaseID, Lease]:
        """A lease for each row, in the bucket's order. A TTL below the shortest is raised.

        The whole bucket is read: etcd once stopped at the largest positive id and lost the
        negative ones (etcd#12535).

        Raises:
            CorruptLeaseError: there is a row that no lessor wrote; nothing has changed.
        """
        leases: dict[LeaseID, Lease] = {}
        odd: dict[LeaseID, int] = {}
        ttl_min = self._ttl_min
        for lease_id, ttl, strange in record.decode_all(self._bucket.scan()):
            if strange is not None:
                odd[lease_id] = len(strange)
            if ttl < ttl_min:
                odd.setdefault(lease_id, record.value_bytes(lease_id, ttl))
                ttl = ttl_min
            leases[lease_id] = Lease(lease_id, ttl, FOREVER)
        self._odd = odd
        return leases

    def forget(self) -> None:
        """Let go of what is held in memory."""
        self._odd = {}
