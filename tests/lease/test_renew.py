"""A renewal starts the full TTL over, in one attribute, or says why it cannot."""

from __future__ import annotations

import pytest

from lease.errors import LeaseDueError, LeaseNotFoundError, NotPrimaryError
from lease.lessor import NO_LEASE
from tests.lease.support import L1, L2, build, expired_ids


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
