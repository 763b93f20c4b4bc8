"""Spreading puts off and never brings forward, and keeps to three quarters of the cap."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lease.pileup import spread


def test_fewer_leases_than_the_cap_are_left_as_they_are() -> None:
    assert spread([10.0] * 7, revoke_rate=8) == [10.0] * 7


def test_as_many_leases_as_the_cap_are_spread() -> None:
    """`Promote` in server/lease/lessor.go: the seventh is the first beyond three quarters."""
    assert spread([10.0] * 8, revoke_rate=8) == [10.0] * 6 + [10 + 7 / 6, 10 + 8 / 6]


def test_a_lease_further_into_the_window_is_put_off_by_that_much_less() -> None:
    remaining = [10.0] * 4 + [10.5]
    assert spread(remaining, revoke_rate=4) == [10.0] * 3 + [10 + 4 / 3, 10 + 5 / 3]


def test_a_lease_within_the_overflow_is_counted_with_it() -> None:
    # Eight leases of a share of three: the overflow ends at 10 + 8/3, beyond 12.
    assert spread([10.0] * 8 + [12.0], revoke_rate=4)[-1] == 10 + 9 / 3


def test_a_lease_beyond_the_overflow_begins_a_window_of_its_own() -> None:
    remaining = [10.0] * 8 + [13.0] * 3
    assert spread(remaining, revoke_rate=4)[-3:] == [13.0] * 3


def test_the_end_of_a_window_belongs_to_it() -> None:
    assert spread([10.0] * 3 + [11.0], revoke_rate=4)[-1] == 10 + 4 / 3
    assert spread([10.0] * 3 + [11.5], revoke_rate=4)[-1] == 11.5


def test_a_window_begun_by_a_later_lease_counts_that_lease() -> None:
    remaining = [10.0] + [20.0] * 4
    assert spread(remaining, revoke_rate=4)[1:] == [20.0] * 3 + [20 + 4 / 3]


def test_fifty_thousand_leases_of_one_ttl_end_over_little_more_than_a_minute() -> None:
    """At etcd's own cap of 1,000 a second; its TTLs after a restart spanned as much."""
    spread_out = spread([60.0] * 50_000, revoke_rate=1_000)
    assert round(spread_out[-1]) == 60 + 67


@pytest.mark.parametrize("revoke_rate", [1, 2])
def test_the_smallest_caps_still_spread_to_one_a_second(revoke_rate: int) -> None:
    """etcd's share comes to 0 for a cap of 1."""
    assert spread([5.0, 5.0, 5.0], revoke_rate=revoke_rate) == [5.0, 7.0, 8.0]


def test_no_leases_need_no_spreading() -> None:
    assert spread([], revoke_rate=1) == []


@given(
    st.lists(st.integers(1, 200), max_size=60).map(
        lambda quarters: sorted(q / 4 for q in quarters)
    ),
    st.integers(1, 12),
)
def test_nothing_is_brought_forward_and_no_second_exceeds_the_cap(
    remaining: list[float], revoke_rate: int
) -> None:
    spread_out = spread(remaining, revoke_rate=revoke_rate)
    assert all(after >= before for before, after in zip(remaining, spread_out, strict=True))
    if len(remaining) >= revoke_rate:
        # Two windows may meet within one second of the clock.
        a_second = Counter(int(seconds) for seconds in spread_out)
        share = max(1, revoke_rate * 3 // 4)
        assert max(a_second.values(), default=0) <= 2 * share + 1
