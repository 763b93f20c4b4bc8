"""Becoming primary starts every TTL over; ceasing to be ends all expiry."""

from __future__ import annotations

from collections import Counter

import pytest

from lease.errors import NotPrimaryError
from lease.lessor import FOREVER, LeaseID, Lessor
from tests.lease.support import L1, L2, build, expired_ids


def test_each_lease_expires_at_its_full_ttl_plus_the_extension() -> None:
    bench = build(primary=False)
    bench.lessor.grant(L1, 5, now=0)
    bench.lessor.grant(L2, 6, now=0)
    bench.lessor.promote(1, now=100)
    assert bench.lessor.primary
    assert [lease.remaining(100) for lease in bench.lessor.leases()] == [6, 7]
    assert expired_ids(bench.lessor, 105) == []
    assert expired_ids(bench.lessor, 106) == [L1]
    assert expired_ids(bench.lessor, 107) == [L1, L2]


def test_a_renewal_after_an_extension_counts_from_the_renewal_and_is_not_late() -> None:
    """The renewal brings the expiry forward, from 110 to 106: the wheel must notice."""
    bench = build(primary=False)
    bench.lessor.grant(L1, 5, now=0)
    bench.lessor.promote(5, now=100)
    assert bench.lessor.renew(L1, now=101) == 5
    bench.lessor.check_invariants(101)
    assert expired_ids(bench.lessor, 105) == []
    assert expired_ids(bench.lessor, 106) == [L1]


def test_promoting_a_primary_starts_every_ttl_over() -> None:
    """`Promote` in server/lease/lessor.go does not ask what the lessor was."""
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    assert expired_ids(bench.lessor, 5) == [L1]
    bench.lessor.promote(0, now=5)
    assert expired_ids(bench.lessor, 9) == []
    assert expired_ids(bench.lessor, 10) == [L1]
    bench.lessor.check_invariants(10)


def test_after_a_demotion_nothing_expires_and_a_due_lease_is_due_no_more() -> None:
    """TestLessorExpireAndDemote."""
    bench = build()
    lease = bench.lessor.grant(L1, 5, now=0)
    waiting = bench.lessor.grant(L2, 5, now=0)
    assert expired_ids(bench.lessor, 5, limit=1) == [L1]
    bench.lessor.demote()
    assert not bench.lessor.primary
    assert (lease.expiry, waiting.expiry) == (FOREVER, FOREVER)
    assert not bench.lessor.is_due(lease, 10**9)
    assert expired_ids(bench.lessor, 10**9) == []
    assert (bench.lessor.stats().due, bench.lessor.stats().wheel_entries) == (0, 0)
    with pytest.raises(NotPrimaryError):
        bench.lessor.renew(L1, now=5)
    bench.lessor.check_invariants(5)


def test_leases_and_keys_survive_a_demotion() -> None:
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    bench.lessor.attach(L1, [b"a"])
    bench.lessor.demote()
    bench.lessor.promote(0, now=50)
    assert expired_ids(bench.lessor, 55) == [L1]
    assert bench.lessor.revoke(L1) == 1


def test_a_lessor_that_is_demoted_grants_leases_that_wait_for_the_next_promotion() -> None:
    bench = build()
    bench.lessor.demote()
    bench.lessor.grant(L1, 5, now=0)
    bench.lessor.promote(0, now=50)
    assert expired_ids(bench.lessor, 55) == [L1]


def pile_up(revoke_rate: int) -> Lessor:
    """As the etcd test builds it: ten seconds' worth of leases each of TTL 10 and TTL 11."""
    bench = build(ttl_min=5, primary=False)
    for number in range(1, 101):
        bench.lessor.grant(LeaseID(2 * number), 10, now=0)
        bench.lessor.grant(LeaseID(2 * number + 1), 11, now=0)
    lessor = Lessor(bench.bucket, bench.deleter, ttl_min=5, revoke_rate=revoke_rate)
    lessor.recover()
    lessor.promote(0, now=1_000)
    return lessor


def test_a_pile_up_is_spread_to_between_half_the_cap_and_the_cap_a_second() -> None:
    """TestLessorRenewExtendPileup, with its numbers."""
    lessor = pile_up(10)
    a_second = Counter(int(lease.remaining(1_000) + 0.1) for lease in lessor.leases())
    for second in range(10, 30):
        assert 5 <= a_second[second] <= 10
    lessor.check_invariants(1_000)


def test_without_a_cap_no_lease_lives_longer_for_it() -> None:
    lessor = pile_up(0)
    assert Counter(lease.remaining(1_000) for lease in lessor.leases()) == {10: 100, 11: 100}


def test_a_spread_lease_is_reported_when_its_own_time_comes() -> None:
    lessor = pile_up(10)
    reported: dict[LeaseID, float] = {}
    expiry = {lease.id: lease.expiry for lease in lessor.leases()}
    for tick in range(1_000 * 20, 1_045 * 20):
        for lease in lessor.expired(tick / 20, limit=1_000):
            reported.setdefault(lease.id, tick / 20)
    assert reported.keys() == expiry.keys()
    assert all(0 <= at - expiry[lease_id] <= 0.05 for lease_id, at in reported.items())


def test_a_spread_lease_that_is_renewed_expires_after_its_own_ttl_again() -> None:
    lessor = pile_up(10)
    last = lessor.leases()[-1]
    assert last.expiry > 1_025
    lessor.renew(last.id, now=1_005)
    lessor.check_invariants(1_005)
    expires_at = 1_005 + last.ttl
    assert last.id not in expired_ids(lessor, expires_at - 1, limit=1_000)
    assert last.id in expired_ids(lessor, expires_at, limit=1_000)
