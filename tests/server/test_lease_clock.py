"""Up to which instant leases count as due, after a stall and otherwise. Times in seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.lease_clock import GRACE_S, STALL_S, LeaseClock
from tests.support.clock import FakeClock

T0 = 1000.0


def _clock() -> LeaseClock:
    return LeaseClock(FakeClock(T0))


def test_the_horizon_is_now_while_somebody_looks_often_enough() -> None:
    clock = _clock()
    for now in (T0, T0 + STALL_S, T0 + 2 * STALL_S):  # A gap of just the limit is no stall.
        assert clock.observe(now) == now


def test_after_a_stall_the_horizon_stays_where_it_was_until_the_grace_is_over() -> None:
    clock = _clock()
    clock.observe(T0 + 0.25)
    woken = T0 + 10
    assert clock.observe(woken) == T0 + 0.25
    assert clock.observe(woken + GRACE_S - 0.0625) == T0 + 0.25
    assert clock.observe(woken + GRACE_S) == woken + GRACE_S


def test_a_stall_in_the_grace_of_another_holds_the_horizon_where_the_first_began() -> None:
    """What waited in the sockets through the first has not all been read yet."""
    clock = _clock()
    first, second = T0 + 10, T0 + 20
    clock.observe(first)
    assert clock.observe(second) == T0
    assert clock.observe(second + GRACE_S - 0.0625) == T0
    assert clock.observe(second + GRACE_S) == second + GRACE_S


def test_a_stall_after_the_grace_of_another_holds_the_horizon_where_it_began() -> None:
    clock = _clock()
    clock.observe(T0 + 10)
    over = T0 + 10 + GRACE_S
    clock.observe(over)
    assert clock.observe(over + 10) == over


@pytest.mark.parametrize("begin", [T0, T0 + 5])
def test_a_clock_that_stands_still_is_no_stall(begin: float) -> None:
    clock = LeaseClock(FakeClock(begin))
    assert clock.observe(begin) == begin
    assert clock.observe(begin) == begin


@given(st.lists(st.integers(0, 48)))
def test_the_horizon_never_passes_now_and_never_goes_back(gaps: list[int]) -> None:
    clock = _clock()
    now = before = T0
    for sixteenths in gaps:  # Up to 3 s: binary fractions, so that the limits are hit exactly.
        now += sixteenths / 16
        horizon = clock.observe(now)
        assert before <= horizon <= now
        before = horizon
