"""What the leases do. The `tenure_` ones are ours: etcd tells nothing of what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.commands.tally import KEYS_BUCKETS, TTL_BUCKETS
from server.metrics.histogram import doubling, histogram
from server.metrics.sources import Sources
from server.metrics.text import Family, counter, gauge

_TTL_BOUNDS_S: Final = doubling(1, TTL_BUCKETS)
_KEYS_BOUNDS: Final = [0, *doubling(1, KEYS_BUCKETS - 1)]


def families(sources: Sources) -> Iterator[Family]:
    tally, stats = sources.state.tally, sources.state.lessor.stats()
    lag = sources.observed.expiry_lag_s
    yield counter("etcd_debugging_lease_granted_total", "Leases granted.", tally.granted)
    yield counter(
        "etcd_debugging_lease_revoked_total",
        "Leases revoked, by request or because they were due.",
        tally.revoked,
    )
    yield counter("etcd_debugging_lease_renewed_total", "Renewals.", sources.engine.renewals)
    yield histogram(
        "etcd_debugging_lease_ttl_total",
        "TTLs granted, in seconds.",
        _TTL_BOUNDS_S,
        tally.ttl_counts,
        tally.ttl_sum_s,
    )
    yield counter(
        "etcd_debugging_server_lease_expired_total",
        "Leases revoked because they were due.",
        tally.expired,
    )
    yield gauge("tenure_lease_live", "Leases there are, the due ones too.", stats.leases)
    yield gauge("tenure_lease_keys", "Keys attached to a lease.", stats.keys)
    yield gauge(
        "tenure_lease_keyless",
        "Leases without a key: a lost reply to a grant leaves one behind.",
        stats.keyless,
    )
    yield gauge(
        "tenure_lease_due",
        "Leases found due whose revoke is yet to begin.",
        stats.due,
    )
    yield gauge(
        "tenure_lease_pending",
        "Leases whose grant or revoke is on its way to the disk.",
        len(sources.state.unsettled),
    )
    yield histogram(
        "tenure_lease_revoked_keys",
        "How many keys each lease had when it was revoked.",
        _KEYS_BOUNDS,
        tally.keys_counts,
        tally.keys_sum,
    )
    yield gauge(
        "tenure_lease_kept",
        "Leases that would go on after a restart with the time they have left.",
        stats.kept,
    )
    yield gauge(
        "tenure_lease_wheel_entries",
        "Entries of the timing wheel; the surplus over the leases is of revoked ones.",
        stats.wheel_entries,
    )
    yield histogram(
        "tenure_lease_expiry_lag_seconds",
        "How long after its deadline a lease that nobody renewed was revoked.",
        lag.bounds,
        lag.counts,
        lag.sum,
    )
