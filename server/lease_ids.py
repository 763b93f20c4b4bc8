"""Ids for leases whose client leaves the choice to the server.

etcd's generator (pkg/idutil): 16 bits of the member's id, 40 bits of wall-clock milliseconds at
the start, 8 bits of a counter that carries into them. So ids do not collide with those of an
earlier run unless it granted more than 256 leases a millisecond. A lease id is positive.
"""

from __future__ import annotations

from typing import Final

from lease.lessor import NO_LEASE, LeaseID

_LOW_48: Final = (1 << 48) - 1
_LOW_40: Final = (1 << 40) - 1
_POSITIVE: Final = (1 << 63) - 1


class LeaseIDs:
    def __init__(self, member_id: int, unix_ms: int) -> None:
        self._prefix = (member_id & 0xFFFF) << 48
        self._suffix = (unix_ms & _LOW_40) << 8

    def next(self) -> LeaseID:
        """An id that this generator has not given before; never 0."""
        while True:
            self._suffix = (self._suffix + 1) & _LOW_48
            lease_id = (self._prefix | self._suffix) & _POSITIVE
            if lease_id != NO_LEASE:
                return LeaseID(lease_id)
