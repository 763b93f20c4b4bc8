"""A renewal starts the full TTL over, in one attribute, or says why it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lease.errors import LeaseDueError, LeaseNotFoundError, NotPrimaryError
from lease.lease import GONE
from lease.lessor import NO_LEASE, Lease, LeaseID
from tests.lease.support import L1, L2, L3, build, expired_ids


def test_a_renewal_returns_the_ttl_and_starts_all_of_it_over() -> None:
    """TestLessorRenew."""
    bench = build(ttl_min=5)
    lease = bench.lessor.grant(L1, 10, now=0)
    assert bench.lessor.renew(L1, now=4) == 10
    assert lease.remaining(4) == 10
    assert expired_ids(bench.lessor, 13) == []
    assert expired_ids(bench.lessor, 14) == [L1]


def test_the_ttl_returned_is_the_one_that_was_raised() -> None:
    bench = build(ttl_min=5)
    bench.lessor.grant(L1, 1, now=0)
    assert bench.lessor.renew(L1, now=0) == 5


def test_the_very_instant_of_expiry_is_too_late() -> None:
    """TestLessorExpire: etcd lets such a renewal wait for the revoke."""
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    with pytest.raises(LeaseDueError) as caught:
        bench.lessor.renew(L1, now=10)
    assert caught.value.lease_id == L1
    assert lease.expiry == 10
    bench.lessor.revoke(L1)
    with pytest.raises(LeaseNotFoundError):
        bench.lessor.renew(L1, now=10)


def test_one_second_before_expiry_is_in_time() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    assert bench.lessor.renew(L1, now=9) == 10


def test_a_horizon_held_back_lets_a_waiting_keepalive_win() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    # The process stood still from 9 to 30, and the keepalive came in between.
    assert bench.lessor.renew(L1, now=30, horizon=9) == 10
    assert lease.expiry == 40


def test_what_was_due_at_the_horizon_is_refused() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    with pytest.raises(LeaseDueError):
        bench.lessor.renew(L1, now=30, horizon=10)


def test_a_horizon_is_never_in_the_future() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    assert bench.lessor.renew(L1, now=5, horizon=5) == 10
    with pytest.raises(AssertionError, match="horizon"):
        bench.lessor.renew(L1, now=5, horizon=6)


@pytest.mark.parametrize("lease_id", [L2, NO_LEASE])
def test_an_unknown_lease_cannot_be_renewed(lease_id: int) -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    with pytest.raises(LeaseNotFoundError):
        bench.lessor.renew(lease_id, now=1)  # type: ignore[arg-type]  # NewType and parametrize


def test_without_a_primary_the_refusal_comes_before_the_search_for_the_lease() -> None:
    """`Renew` in server/lease/lessor.go asks in this order."""
    bench = build(primary=False)
    lease = bench.lessor.grant(L1, 10, now=0)
    for lease_id in (L1, L2):
        with pytest.raises(NotPrimaryError):
            bench.lessor.renew(lease_id, now=1)
    assert lease.remaining(0) > 10**12


def test_a_renewal_touches_one_attribute_of_one_lease_and_no_container() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    bench.lessor.attach(L1, [b"a", b"b"])
    before, rows = bench.lessor.stats(), dict(bench.bucket.rows)
    bench.journal.clear()
    for now in range(1, 10_000):
        bench.lessor.renew(L1, now=now)
    assert bench.lessor.stats() == before
    assert (bench.journal, bench.bucket.rows) == ([], rows)
    assert (lease.id, lease.ttl, lease.keys, lease.expiry) == (L1, 10, {b"a", b"b"}, 10_009)
    bench.lessor.check_invariants(9_999)


# Many at once


def test_many_leases_are_renewed_in_order_and_counted() -> None:
    bench = build(ttl_min=5)
    leases = [bench.lessor.grant(each, 10 * each, now=0) for each in (L1, L2)]
    assert bench.lessor.renew_all([*leases, leases[0]], now=4, horizon=4) == 3
    assert [each.expiry for each in leases] == [14, 24]
    assert bench.lessor.renew_all([], now=5, horizon=5) == 0


@pytest.mark.parametrize("horizon", [9, 10, 11])
def test_many_renewals_stop_at_the_first_that_is_due(horizon: int) -> None:
    bench = build()
    lasting = bench.lessor.grant(L1, 100, now=0)
    due = bench.lessor.grant(L2, 10, now=0)
    count = bench.lessor.renew_all([lasting, due, lasting], now=20, horizon=horizon)
    assert count == (3 if horizon < 10 else 1)
    assert lasting.expiry == 120
    assert due.expiry == (30 if horizon < 10 else 10)


def test_a_lease_that_somebody_kept_beyond_its_revoke_is_never_renewed() -> None:
    """Not even once another lease has its id."""
    bench = build()
    kept = bench.lessor.grant(L1, 10, now=0)
    bench.lessor.revoke(L1)
    assert kept.expiry == GONE
    again = bench.lessor.grant(L1, 20, now=0)
    assert bench.lessor.renew_all([kept], now=1, horizon=1) == 0
    assert bench.lessor.renew_all([again, kept], now=1, horizon=1) == 1
    assert (kept.expiry, again.expiry) == (GONE, 21)
    bench.lessor.restart(kept, now=2)
    bench.lessor.demote()
    bench.lessor.promote(0, now=3)
    assert (kept.expiry, again.expiry) == (GONE, 23)
    assert not bench.lessor.is_due(kept, 30)
    assert bench.lessor.expired(30, limit=10) == [again]
    bench.lessor.check_invariants(30)


def test_without_a_primary_many_renewals_are_none() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    bench.lessor.demote()
    before = lease.expiry
    assert bench.lessor.renew_all([lease], now=1, horizon=1) == 0
    assert lease.expiry == before


@given(
    st.lists(st.tuples(st.sampled_from((L1, L2, L3)), st.integers(1, 20)), max_size=8),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_many_renewals_are_so_many_single_ones(
    asked: list[tuple[LeaseID, int]], now: int, back: int
) -> None:
    horizon = max(0, now - back)
    ways = []
    for is_batch in (True, False):
        bench = build(ttl_min=1)
        given_out: list[Lease] = []
        for lease_id, ttl in asked:  # A second grant of an id is behind the revoke of the first.
            if lease_id in {each.id for each in bench.lessor.leases()}:
                bench.lessor.revoke(lease_id)
            given_out.append(bench.lessor.grant(lease_id, ttl, now=0))
        live = bench.lessor.leases()
        count = 0
        if is_batch:
            count = bench.lessor.renew_all(given_out, now=now, horizon=horizon)
        else:
            for each in given_out:
                if each not in live or each.expiry <= horizon:
                    break
                bench.lessor.renew(each.id, now=now, horizon=horizon)
                count += 1
        ways.append((count, [(each.id, each.expiry) for each in bench.lessor.leases()]))
    assert ways[0] == ways[1]
