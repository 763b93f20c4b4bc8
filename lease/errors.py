"""Everything the lessor refuses, and the one thing it cannot read.

The classes carry data; code and text that a client reads are decided once, in `server.status`.
Whenever one of them is raised, the lessor is as it was before the call.
"""

from __future__ import annotations


class LeaseError(Exception):
    """A request the lessor refuses, or a record it cannot read."""


class LeaseNotFoundError(LeaseError):
    """No such lease: never granted, revoked, or the id 0, which no lease can have."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(f"no lease {lease_id:x}")
        self.lease_id = lease_id


class LeaseExistsError(LeaseError):
    """The id is taken, be it by a lease that is due and not yet revoked."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(f"lease {lease_id:x} exists")
        self.lease_id = lease_id


class TTLTooLargeError(LeaseError):
    """A TTL above `lease.lease.TTL_MAX_S`."""

    def __init__(self, ttl: int) -> None:
        super().__init__(f"TTL of {ttl} s")
        self.ttl = ttl


class NotPrimaryError(LeaseError):
    """A renewal asked of a lessor that is not primary: it knows no deadlines to move."""

    def __init__(self) -> None:
        super().__init__("not the primary lessor")


class LeaseDueError(LeaseError):
    """A renewal that comes too late: the deadline has passed and the revoke has not happened.

    etcd lets such a renewal wait for the revoke. Here the caller revokes the lease now, in
    order, and answers with TTL 0.
    """

    def __init__(self, lease_id: int) -> None:
        super().__init__(f"lease {lease_id:x} is due")
        self.lease_id = lease_id


class CorruptLeaseError(LeaseError):
    """A row of the lease bucket that no lessor wrote, or one that must be there and is not.

    Not to be skipped: keys would stay.
    """

    def __init__(self, key: bytes, reason: str) -> None:
        super().__init__(f"lease record {key.hex() or '(empty key)'}: {reason}")
        self.key = key
        self.reason = reason
