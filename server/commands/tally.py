"""What the commands have done since the start: plain numbers, for whoever looks in from outside.

They count what etcd's own counters count (server/storage/mvcc/metrics_txn.go and
server/lease/lessor.go): a DeleteRange is one delete however many keys went, the end of a lease is
one delete for each of its keys, and a transaction is counted as one if it did more than one
thing. Only what is applied counts, not what was refused.
"""

from __future__ import annotations

from typing import Final

TTL_BUCKETS: Final = 24  # Up to 1, 2, 4 … 2**23 seconds: etcd's buckets of granted TTLs.
KEYS_BUCKETS: Final = 19  # None, up to 1, 2, 4 … 2**17 keys of a lease at its end.


class Tally:
    __slots__ = (
        "deletes",
        "expired",
        "granted",
        "keys_counts",
        "keys_sum",
        "put_bytes",
        "puts",
        "ranges",
        "revoked",
        "ttl_counts",
        "ttl_sum_s",
        "txns",
    )

    def __init__(self) -> None:
        self.puts = 0
        self.put_bytes = 0  # Of keys and values.
        self.deletes = 0
        self.ranges = 0
        self.txns = 0
        self.granted = 0
        self.revoked = 0  # Those that expired are among them.
        self.expired = 0
        self.ttl_counts = [0] * (TTL_BUCKETS + 1)  # The last one is of what is longer still.
        self.ttl_sum_s = 0
        self.keys_counts = [0] * (KEYS_BUCKETS + 1)  # Of revoked leases, as above.
        self.keys_sum = 0

    @property
    def operations(self) -> int:
        return self.ranges + self.puts + self.deletes

    def grant(self, ttl: int) -> None:
        """A lease of `ttl` seconds, at least 1, was granted."""
        self.granted += 1
        self.ttl_sum_s += ttl
        # The bucket of 2**k takes what is above 2**(k - 1) and up to 2**k.
        self.ttl_counts[min((ttl - 1).bit_length(), TTL_BUCKETS)] += 1

    def revoke(self, keys: int) -> None:
        """A lease ended and took so many keys with it."""
        self.revoked += 1
        self.deletes += keys
        self.keys_sum += keys
        self.keys_counts[min((keys - 1).bit_length() + 1, KEYS_BUCKETS) if keys else 0] += 1
        if keys > 1:
            self.txns += 1
