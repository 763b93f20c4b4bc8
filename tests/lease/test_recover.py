"""A lessor rebuilt from the bucket is the one that wrote it, less what only memory knew."""

from __future__ import annotations

import pytest

from lease.errors import CorruptLeaseError, LeaseExistsError, LeaseNotFoundError
from lease.lessor import FOREVER, NO_LEASE
from lease.record import encode_key
from tests.lease.support import L1, L2, LARGEST, NEGATIVE, SMALLEST, build, expired_ids


def test_ids_and_ttls_survive_and_nothing_expires_before_a_promotion() -> None:
    """TestLessorRecover."""
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    bench.lessor.grant(L2, 20, now=0)
    lessor = bench.restarted()
    assert [(lease.id, lease.ttl) for lease in lessor.leases()] == [(L1, 10), (L2, 20)]
    assert {lease.expiry for lease in lessor.leases()} == {FOREVER}
    assert not lessor.primary
    assert expired_ids(lessor, 10**9) == []
    lessor.check_invariants(0)


def test_a_promotion_after_a_restart_gives_the_full_ttl() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    lessor = bench.restarted()
    lessor.promote(0, now=9)
    assert expired_ids(lessor, 18) == []
    assert expired_ids(lessor, 19) == [L1]


def test_negative_ids_are_recovered_from_the_far_end_of_the_bucket() -> None:
    """etcd#12535: a range up to the largest positive id lost them."""
    bench = build()
    for lease_id in (NEGATIVE, SMALLEST, LARGEST, L1):
        bench.lessor.grant(lease_id, 10, now=0)
    assert [lease.id for lease in bench.restarted().leases()] == [L1, LARGEST, SMALLEST, NEGATIVE]


def test_a_revoked_lease_is_not_recovered_and_its_id_is_free() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    bench.lessor.revoke(L1)
    lessor = bench.restarted()
    assert len(lessor) == 0
    lessor.grant(L1, 10, now=0)


def test_a_recovered_id_is_taken() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    with pytest.raises(LeaseExistsError):
        bench.restarted().grant(L1, 10, now=0)


@pytest.mark.parametrize(("ttl_min", "ttl"), [(9, 10), (10, 10), (11, 11)])
def test_a_stored_ttl_below_the_shortest_is_raised_in_memory(ttl_min: int, ttl: int) -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    assert bench.restarted(ttl_min=ttl_min).lookup(L1).ttl == ttl
    assert bench.bucket.ttls() == {L1: 10}


REMAINING_TTL = b"\x18\x05"  # Field 3 of leasepb.Lease, as an etcd with checkpoints writes it.


@pytest.mark.parametrize(("ttl_min", "more"), [(1, b""), (300, b""), (1, REMAINING_TTL)])
def test_a_recovered_lease_takes_its_record_along_as_it_stands(ttl_min: int, more: bytes) -> None:
    """The bucket holds what it is told that the row holds against what it does hold."""
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    bench.bucket.rows[encode_key(L1)] += more
    later = bench.restarted(ttl_min=ttl_min)
    later.revoke(L1)
    assert not bench.bucket.rows
    later.grant(L1, 300, now=0)  # What was odd about the old one is not the new one's.
    later.revoke(L1)
    assert not bench.bucket.rows


def test_keys_come_back_by_attaching_and_go_with_their_lease_again() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    bench.lessor.attach(L1, [b"a"])
    lessor = bench.restarted()
    assert lessor.get_lease(b"a") == NO_LEASE
    lessor.attach(L1, [b"a"])
    assert lessor.revoke(L1) == 1


def test_recovering_replaces_all_that_was_held() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    bench.lessor.attach(L1, [b"a"])
    del bench.bucket.rows[encode_key(L1)]
    bench.lessor.recover()
    assert not bench.lessor.primary
    assert bench.lessor.get_lease(b"a") == NO_LEASE
    with pytest.raises(LeaseNotFoundError):
        bench.lessor.lookup(L1)
    stats = bench.lessor.stats()
    assert (stats.leases, stats.keyless, stats.keys, stats.wheel_entries) == (0, 0, 0, 0)
    bench.lessor.check_invariants(0)


def test_a_corrupt_row_stops_the_recovery_and_changes_nothing() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    bench.bucket.rows[encode_key(L2)] = b""
    with pytest.raises(CorruptLeaseError) as caught:
        bench.lessor.recover()
    assert caught.value.key == encode_key(L2)
    assert bench.lessor.lookup(L1) is lease
    assert bench.lessor.primary
    bench.lessor.check_invariants(0)


def test_a_stopped_lessor_holds_nothing_and_the_records_stay() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    bench.lessor.attach(L1, [b"a"])
    bench.lessor.stop()
    assert len(bench.lessor) == 0
    assert not bench.lessor.primary
    assert bench.lessor.get_lease(b"a") == NO_LEASE
    assert expired_ids(bench.lessor, 10**9) == []
    assert bench.bucket.ttls() == {L1: 10}
    bench.lessor.check_invariants(0)
    bench.lessor.recover()
    assert bench.lessor.lookup(L1).ttl == 10
