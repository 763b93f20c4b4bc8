"""The due are reported in time, soonest first, in slices, and again until they are revoked."""

from __future__ import annotations

from lease.lessor import LeaseID
from lease.wheel import RETRY_S, TICK_S
from tests.lease.support import L1, L2, L3, build, expired_ids


def test_a_lease_is_reported_from_the_instant_of_its_expiry_and_not_before() -> None:
    """TestLessorExpire."""
    bench = build()
    lease = bench.lessor.grant(L1, 5, now=0)
    assert not bench.lessor.is_due(lease, 4)
    assert expired_ids(bench.lessor, 4) == []
    assert bench.lessor.is_due(lease, 5)
    assert expired_ids(bench.lessor, 5) == [L1]


def test_an_expired_lease_can_be_revoked_and_is_then_never_reported_again() -> None:
    """TestLessorExpire."""
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    bench.lessor.attach(L1, [b"a"])
    (lease,) = bench.lessor.expired(5, limit=1)
    assert bench.lessor.revoke(lease.id) == 1
    assert not bench.lessor.is_due(lease, 5)
    assert expired_ids(bench.lessor, 1_000) == []
    assert bench.lessor.stats().wheel_entries == 0


def test_a_lease_whose_revoke_got_lost_is_reported_again_after_a_while() -> None:
    """etcd#10686: there, such a lease lived forever."""
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    assert RETRY_S == 1
    assert [expired_ids(bench.lessor, now / 4) for now in range(20, 30)] == [
        [L1], [], [], [],
        [L1], [], [], [],
        [L1], [],
    ]  # fmt: skip


def test_the_soonest_come_first_also_when_the_clock_has_jumped_over_all_of_them() -> None:
    bench = build()
    for lease_id, ttl in ((L3, 30), (L1, 10), (L2, 20)):
        bench.lessor.grant(lease_id, ttl, now=0)
    assert expired_ids(bench.lessor, 10**9) == [L1, L2, L3]


def test_a_renewed_lease_keeps_its_turn_when_the_clock_has_jumped_over_it() -> None:
    bench = build()
    for lease_id, ttl in ((L1, 10), (L2, 11), (L3, 12)):
        bench.lessor.grant(lease_id, ttl, now=0)
    bench.lessor.renew(L1, now=9)
    assert expired_ids(bench.lessor, 100) == [L2, L3, L1]


def test_leases_of_one_tick_come_soonest_first_too() -> None:
    bench = build()
    for lease_id, now in ((L1, 0.03), (L2, 0.01), (L3, 0.02)):
        bench.lessor.grant(lease_id, 5, now=now)
    assert expired_ids(bench.lessor, 6) == [L2, L3, L1]


def test_ties_come_in_the_order_of_their_grants() -> None:
    bench = build()
    for lease_id in (L3, L1, L2):
        bench.lessor.grant(lease_id, 5, now=0)
    assert expired_ids(bench.lessor, 5) == [L3, L1, L2]


def test_a_slice_is_no_longer_than_asked_for_and_the_next_continues() -> None:
    bench = build()
    for number in range(1, 8):
        bench.lessor.grant(LeaseID(number), 5, now=0)
    slices = []
    while True:
        slices.append(expired_ids(bench.lessor, 5, limit=3))
        if bench.lessor.idle:
            break
        assert bench.lessor.stats().due == 7 - 3 * len(slices)
    assert slices == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_lease_renewed_while_it_waited_for_the_next_slice_is_left_out() -> None:
    bench = build()
    bench.lessor.grant(L1, 5, now=0)
    bench.lessor.grant(L2, 5, now=0)
    assert expired_ids(bench.lessor, 5, limit=1) == [L1]
    bench.lessor.renew(L2, now=5, horizon=4)
    assert expired_ids(bench.lessor, 9) == [L1]
    assert expired_ids(bench.lessor, 10) == [L1, L2]
    bench.lessor.check_invariants(10)


def test_a_lease_revoked_while_it_waited_for_the_next_slice_is_left_out() -> None:
    bench = build()
    for lease_id in (L1, L2, L3):
        bench.lessor.grant(lease_id, 5, now=0)
    assert expired_ids(bench.lessor, 5, limit=1) == [L1]
    bench.lessor.revoke(L2)
    assert expired_ids(bench.lessor, 5) == [L3]
    bench.lessor.check_invariants(5)


def test_the_successor_of_a_due_lease_is_not_due() -> None:
    """The id is the same, the lease is not: neither slice nor `is_due` may confuse them."""
    bench = build()
    bench.lessor.grant(L2, 5, now=0)
    old = bench.lessor.grant(L1, 5, now=0)
    assert expired_ids(bench.lessor, 5, limit=1) == [L2]
    bench.lessor.revoke(L1)
    new = bench.lessor.grant(L1, 5, now=5)
    assert expired_ids(bench.lessor, 5) == []
    assert (bench.lessor.is_due(old, 5), bench.lessor.is_due(new, 5)) == (False, False)
    bench.lessor.revoke(L2)
    assert expired_ids(bench.lessor, 10) == [L1]


def test_an_expiry_between_two_ticks_is_reported_at_the_second() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 5, now=0.02)
    assert bench.lessor.is_due(lease, 5.02)
    assert expired_ids(bench.lessor, 5.04) == []
    assert expired_ids(bench.lessor, 5 + TICK_S) == [L1]


def test_nothing_expires_without_a_primary() -> None:
    bench = build(primary=False)
    lease = bench.lessor.grant(L1, 5, now=0)
    assert not bench.lessor.is_due(lease, 10**9)
    assert expired_ids(bench.lessor, 10**9) == []
    assert bench.lessor.idle
