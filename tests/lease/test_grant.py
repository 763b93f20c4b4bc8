"""What may be granted, what a grant leaves behind, and where a lease can be found."""

from __future__ import annotations

import pytest

from lease.errors import LeaseExistsError, LeaseNotFoundError, TTLTooLargeError
from lease.lease import GONE
from lease.lessor import FOREVER, NO_LEASE, TTL_MAX_S, LeaseID, Lessor
from tests.lease.support import (
    L1,
    L2,
    L3,
    LARGEST,
    NEGATIVE,
    SMALLEST,
    Deleter,
    MemoryBucket,
    build,
)


def test_a_granted_lease_is_found_by_its_id_and_recorded() -> None:
    """TestLessorGrant."""
    bench = build(ttl_min=5)
    lease = bench.lessor.grant(L1, 7, now=100)
    assert bench.lessor.lookup(L1) is lease
    assert (lease.id, lease.ttl, lease.remaining(100), lease.keys) == (L1, 7, 7, None)
    assert bench.bucket.ttls() == {L1: 7}
    assert len(bench.lessor) == 1


@pytest.mark.parametrize(
    ("asked", "granted"),
    [(-(2**63), 5), (-1, 5), (0, 5), (4, 5), (5, 5), (6, 6), (TTL_MAX_S, TTL_MAX_S)],
)
def test_a_ttl_below_the_shortest_is_raised_to_it_on_disk_too(asked: int, granted: int) -> None:
    """TestLessorGrant."""
    bench = build(ttl_min=5)
    lease = bench.lessor.grant(L1, asked, now=0)
    assert (lease.ttl, lease.expiry, bench.bucket.ttls()) == (granted, granted, {L1: granted})


def test_an_id_can_be_granted_once_and_another_id_is_another_lease() -> None:
    """TestLessorGrant."""
    bench = build()
    first = bench.lessor.grant(L1, 5, now=0)
    with pytest.raises(LeaseExistsError) as caught:
        bench.lessor.grant(L1, 9, now=1)
    assert caught.value.lease_id == L1
    assert bench.lessor.lookup(L1) is first
    assert (first.ttl, first.expiry, bench.bucket.ttls()) == (5, 5, {L1: 5})
    assert bench.lessor.grant(L2, 5, now=0) is not first


def test_an_id_is_taken_until_its_revoke_even_if_the_lease_is_due() -> None:
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    assert bench.lessor.expired(9, limit=1)
    with pytest.raises(LeaseExistsError):
        bench.lessor.grant(L1, 5, now=9)
    bench.lessor.revoke(L1)
    assert bench.lessor.grant(L1, 5, now=9).expiry == 14


def test_a_ttl_above_the_longest_is_refused_even_for_an_id_that_exists() -> None:
    """TestLessorMaxTTL."""
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    for lease_id in (L1, L2):
        with pytest.raises(TTLTooLargeError) as caught:
            bench.lessor.grant(lease_id, TTL_MAX_S + 1, now=0)
        assert caught.value.ttl == TTL_MAX_S + 1
    assert bench.bucket.ttls() == {L1: 5}


def test_id_0_is_no_lease() -> None:
    """ErrLeaseNotFound of `Grant` in server/lease/lessor.go."""
    bench = build()
    with pytest.raises(LeaseNotFoundError):
        bench.lessor.grant(NO_LEASE, TTL_MAX_S + 1, now=0)
    assert not bench.bucket.rows


@pytest.mark.parametrize("lease_id", [NEGATIVE, SMALLEST, LARGEST])
def test_any_other_int64_is_an_id(lease_id: LeaseID) -> None:
    bench = build()
    bench.lessor.grant(lease_id, 5, now=0)
    bench.lessor.attach(lease_id, [b"k"])
    assert bench.lessor.get_lease(b"k") == lease_id
    assert bench.lessor.revoke(lease_id) == 1
    assert not bench.bucket.rows


def test_check_grant_refuses_what_grant_would_and_changes_nothing() -> None:
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    with pytest.raises(LeaseExistsError):
        bench.lessor.check_grant(L1, 5)
    with pytest.raises(TTLTooLargeError):
        bench.lessor.check_grant(L1, TTL_MAX_S + 1)
    with pytest.raises(LeaseNotFoundError):
        bench.lessor.check_grant(NO_LEASE, 5)
    bench.lessor.check_grant(L2, TTL_MAX_S)
    assert bench.bucket.ttls() == {L1: 5}
    assert len(bench.lessor) == 1


def test_a_lease_granted_without_a_primary_never_expires() -> None:
    bench = build(primary=False)
    assert bench.lessor.grant(L1, 5, now=0).expiry == FOREVER
    assert bench.lessor.expired(10**9, limit=1) == []


def test_the_full_ttl_counts_from_when_the_reply_leaves() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 5, now=0)
    bench.lessor.restart(lease, now=3)  # The fsync took three seconds.
    assert bench.lessor.expired(7, limit=1) == []
    assert bench.lessor.expired(8, limit=1) == [lease]


def test_a_lease_that_was_found_due_before_its_reply_left_lives_its_full_ttl() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 5, now=0)
    assert bench.lessor.expired(6, limit=1) == [lease]
    bench.lessor.restart(lease, now=6)
    assert not bench.lessor.is_due(lease, 10)
    assert bench.lessor.expired(10, limit=1) == []
    assert bench.lessor.expired(11, limit=1) == [lease]


def test_restart_leaves_a_revoked_lease_and_its_successor_alone() -> None:
    bench = build()
    old = bench.lessor.grant(L1, 5, now=0)
    bench.lessor.revoke(L1)
    new = bench.lessor.grant(L1, 5, now=1)
    bench.lessor.restart(old, now=4)
    assert (old.expiry, new.expiry) == (GONE, 6)


def test_restart_starts_no_clock_without_a_primary() -> None:
    bench = build(primary=False)
    lease = bench.lessor.grant(L1, 5, now=0)
    bench.lessor.restart(lease, now=3)
    assert lease.expiry == FOREVER


def test_leases_are_listed_soonest_first_and_ties_in_the_order_of_their_grants() -> None:
    """TestLessorGrant; the order of ties is what TestLeaseGrantAndList (tests/common) sees."""
    bench = build()
    assert bench.lessor.leases() == []
    for lease_id, ttl in ((L3, 10), (L1, 10), (LARGEST, 5), (NEGATIVE, 10), (L2, 20)):
        bench.lessor.grant(lease_id, ttl, now=0)
    bench.lessor.renew(L3, now=2)
    assert [lease.id for lease in bench.lessor.leases()] == [LARGEST, L1, NEGATIVE, L3, L2]


def test_looking_up_an_unknown_id_is_refused() -> None:
    bench = build()
    for lease_id in (L1, NO_LEASE):
        with pytest.raises(LeaseNotFoundError) as caught:
            bench.lessor.lookup(lease_id)
        assert caught.value.lease_id == lease_id


@pytest.mark.parametrize("ttl_min", [0, -1, TTL_MAX_S + 1])
def test_a_shortest_ttl_that_no_lease_could_have_is_refused(ttl_min: int) -> None:
    with pytest.raises(ValueError, match="shortest TTL"):
        Lessor(MemoryBucket(), Deleter(), ttl_min=ttl_min)


@pytest.mark.parametrize("ttl_min", [1, TTL_MAX_S])
def test_the_bounds_of_the_shortest_ttl_are_accepted(ttl_min: int) -> None:
    Lessor(MemoryBucket(), Deleter(), ttl_min=ttl_min)


def test_a_negative_cap_on_revokes_is_refused() -> None:
    with pytest.raises(ValueError, match="revokes a second"):
        Lessor(MemoryBucket(), Deleter(), ttl_min=2, revoke_rate=-1)
