"""The wheel is lazy, bounded in work and in size, and never early whatever the clock does."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lease.lease import Lease, LeaseID
from lease.wheel import DEAD_MIN, RETRY_S, TICK_S, VISITS_MAX, Wheel
from tests.lease.support import L1

Leases = dict[LeaseID, Lease]


def fill(count: int, *, expiry: float, ttl: int = 10) -> tuple[Wheel, Leases]:
    """A wheel with `count` leases that all expire at `expiry`, added at time 0."""
    leases: Leases = {}
    wheel = Wheel(leases)
    for number in range(1, count + 1):
        enter(wheel, leases, number, expiry=expiry, ttl=ttl)
    return wheel, leases


def enter(wheel: Wheel, leases: Leases, number: int, *, expiry: float, ttl: int = 10) -> None:
    lease = Lease(LeaseID(number), ttl, expiry)
    leases[lease.id] = lease
    wheel.add(lease, now=0)


def drain(wheel: Wheel, now: float) -> tuple[list[Lease], int]:
    """Everything due at `now`, and in how many calls."""
    taken = wheel.take(now, limit=10**9)
    calls = 1
    while wheel.behind:
        taken += wheel.take(now, limit=10**9)
        calls += 1
    return taken, calls


def test_a_renewed_lease_moves_once_per_ttl_however_often_it_was_renewed() -> None:
    wheel, leases = fill(1, expiry=10)
    for quarter in range(1, 120):
        leases[L1].expiry = quarter / 4 + 10
        assert wheel.take(quarter / 4, limit=1) == []
        wheel.check_invariants(quarter / 4)
        assert wheel.entries == 1
    # Renewed last at 29.75: it stood at 10, then at what 10 saw, and so on.
    assert wheel.take(39.5, limit=1) == []
    assert wheel.take(39.75, limit=1) == [leases[L1]]


def test_a_lease_stands_at_the_first_tick_not_before_its_expiry() -> None:
    wheel, leases = fill(1, expiry=5)
    enter(wheel, leases, 2, expiry=5.02)
    enter(wheel, leases, 3, expiry=5.05)
    assert {tick: [lease.id for lease in slot] for tick, slot in wheel._slots.items()} == {
        100: [1],
        101: [2, 3],
    }


def test_the_entry_of_a_revoked_lease_is_dropped_also_if_its_id_lives_again() -> None:
    wheel, leases = fill(1, expiry=10)
    leases[L1].expiry = 15  # Renewed, then revoked; the id is granted anew.
    enter(wheel, leases, 1, expiry=17)
    assert wheel.entries == 2
    wheel.take(10, limit=1)
    assert wheel.entries == 1


def test_a_jump_over_a_billion_ticks_costs_no_more_than_what_stands_there() -> None:
    wheel, leases = fill(0, expiry=0)
    for number in range(1, 101):
        enter(wheel, leases, number, expiry=number * 10_000_000, ttl=9_000_000_000)
    taken, calls = drain(wheel, 10.0**9)
    assert [lease.id for lease in taken] == list(range(1, 101))
    assert calls == 1
    wheel.check_invariants(10.0**9)


def test_a_clock_that_starts_far_from_0_makes_no_difference() -> None:
    leases: Leases = {L1: Lease(L1, 5, 10.0**9 + 5)}
    wheel = Wheel(leases)
    wheel.add(leases[L1], now=10.0**9)
    assert wheel.take(10.0**9 + 4, limit=1) == []
    assert wheel.take(10.0**9 + 5, limit=1) == [leases[L1]]


def test_the_work_of_one_call_is_bounded_and_the_next_continues() -> None:
    count = VISITS_MAX * 5 // 2
    wheel, leases = fill(count, expiry=10)
    for lease in leases.values():
        lease.expiry = 15  # All renewed: nothing to report, everything to move on.
    assert wheel.take(10, limit=1) == []
    assert wheel.behind
    wheel.check_invariants(10)
    taken, calls = drain(wheel, 10)
    assert (taken, calls) == ([], 2)
    assert not wheel.behind
    wheel.check_invariants(10)
    taken, calls = drain(wheel, 15)
    assert [lease.id for lease in taken] == list(leases)
    # An entry is visited in its slot and again when it is handed out.
    assert calls == 5
    wheel.check_invariants(15)


def test_a_lease_that_enters_while_its_tick_is_being_walked_is_not_lost() -> None:
    wheel, leases = fill(VISITS_MAX + 1, expiry=10)
    wheel.take(10, limit=1)
    enter(wheel, leases, VISITS_MAX + 2, expiry=10)
    wheel.check_invariants(10)
    taken, _ = drain(wheel, 10)
    assert len(taken) == VISITS_MAX + 1
    taken, _ = drain(wheel, 10 + TICK_S)
    assert [lease.id for lease in taken] == [VISITS_MAX + 2]


def test_a_lease_that_enters_behind_the_walk_is_found_at_the_next_tick() -> None:
    """A slow grant: its deadline lies in a tick that was walked while it was under way."""
    wheel, leases = fill(0, expiry=0)
    wheel.take(20, limit=1)
    enter(wheel, leases, 1, expiry=5, ttl=5)
    wheel.check_invariants(20)
    assert wheel.take(20, limit=1) == []
    assert wheel.take(20 + TICK_S, limit=1) == [leases[L1]]


def test_a_clock_that_stands_still_or_goes_back_loses_nothing() -> None:
    wheel, leases = fill(3, expiry=10)
    assert len(wheel.take(10, limit=1)) == 1
    assert wheel.take(9, limit=9) == []  # Those waiting are not due yet, as of now.
    taken, _ = drain(wheel, 10 + TICK_S)
    assert [lease.id for lease in taken] == [2, 3]
    assert len(leases) == wheel.entries


def test_few_dead_entries_wait_for_their_tick() -> None:
    wheel, leases = fill(DEAD_MIN, expiry=1_000, ttl=1_000)
    leases.clear()
    wheel.take(1, limit=1)
    assert wheel.entries == DEAD_MIN
    assert drain(wheel, 1_000)[0] == []
    assert wheel.entries == 0


def sweep(wheel: Wheel, now: float) -> int:
    """Call `take` until it has no more work; return how many calls dropped entries."""
    calls = 0
    while True:
        before, has_work = wheel.entries, wheel.has_work(now)
        assert wheel.take(now, limit=1) == []
        if calls <= 1:
            wheel.check_invariants(now)  # Half-way it must hold too.
        if wheel.entries == before and not wheel.has_work(now):
            wheel.check_invariants(now)
            return calls
        assert has_work
        calls += wheel.entries < before


def test_too_many_dead_entries_are_swept_out_in_bounded_steps_before_their_tick() -> None:
    """etcd#11495 and #11730: what revoked leases leave must be bounded by the live ones."""
    wheel, leases = fill(DEAD_MIN + 1, expiry=10**9, ttl=9_000_000_000)
    leases.clear()
    assert sweep(wheel, 1) == DEAD_MIN // VISITS_MAX + 1
    assert wheel.entries == 0


def test_a_sweep_keeps_the_living_in_a_slot_of_both() -> None:
    count = 3 * DEAD_MIN
    wheel, leases = fill(count // 2, expiry=1_000, ttl=1_000)
    for number in range(count // 2 + 1, count + 1):
        enter(wheel, leases, number, expiry=900, ttl=1_000)
    for number in range(1, count + 1):
        if number % 3:
            del leases[LeaseID(number)]
    assert sweep(wheel, 1) > 3
    assert wheel.entries == len(leases) == DEAD_MIN
    taken, _ = drain(wheel, 1_000)
    assert {lease.id for lease in taken} == set(leases)


def test_dead_entries_are_allowed_half_as_many_as_there_are_living() -> None:
    count = 3 * (DEAD_MIN + 2)
    wheel, leases = fill(count, expiry=1_000, ttl=1_000)
    for number in range(1, count // 3 + 1):
        del leases[LeaseID(number)]
    wheel.take(1, limit=1)
    assert wheel.entries == count
    del leases[LeaseID(count)]
    sweep(wheel, 1)
    assert wheel.entries == len(leases)


def test_ticks_that_a_sweep_emptied_are_forgotten_too() -> None:
    wheel, leases = fill(0, expiry=0)
    for number in range(1, DEAD_MIN + 2):
        enter(wheel, leases, number, expiry=1_000 + number, ttl=100_000)
    leases.clear()
    sweep(wheel, 1)
    assert (wheel._slots, wheel._agenda) == ({}, [])
    enter(wheel, leases, 1, expiry=2_000, ttl=100_000)
    wheel.check_invariants(1)
    assert wheel.take(2_000, limit=1) == [leases[L1]]


def test_a_slot_whose_tick_comes_during_a_sweep_is_walked_and_the_sweep_goes_on() -> None:
    wheel, leases = fill(DEAD_MIN, expiry=2, ttl=100_000)
    for number in range(DEAD_MIN + 1, 4 * DEAD_MIN + 1):
        enter(wheel, leases, number, expiry=5 + number % 7, ttl=100_000)
    for number in range(1, 4 * DEAD_MIN + 1):
        if number % 2:
            del leases[LeaseID(number)]
    taken: list[LeaseID] = []
    for tick in range(15 * 20):
        due = wheel.take(tick / 20, limit=10**9)
        if tick in (10, 2 * 20, 5 * 20):
            wheel.check_invariants(tick / 20)
        for lease in due:
            taken.append(lease.id)
            del leases[lease.id]
    assert sorted(taken) == list(range(2, 4 * DEAD_MIN + 1, 2))


def swept_half_way() -> tuple[Wheel, Leases]:
    """A wheel whose sweep has emptied the tick of second 2 and not yet come to the others."""
    wheel, leases = fill(2 * DEAD_MIN, expiry=1_000, ttl=100_000)
    enter(wheel, leases, 0, expiry=2)
    leases.clear()
    wheel.take(1, limit=1)
    assert 2 * 20 not in wheel._slots
    assert wheel._unswept
    return wheel, leases


def test_a_tick_that_comes_after_a_sweep_has_emptied_it_is_passed_over() -> None:
    wheel, _ = swept_half_way()
    assert wheel.take(2, limit=1) == []
    assert not wheel.behind


def test_a_tick_that_is_used_again_after_a_sweep_has_emptied_it_is_walked_once() -> None:
    wheel, leases = swept_half_way()
    enter(wheel, leases, 1, expiry=2)
    wheel.check_invariants(1)
    assert wheel.take(2, limit=9) == [leases[L1]]
    assert wheel.take(2, limit=9) == []
    assert not wheel.behind


def test_a_cleared_wheel_finds_nothing_and_can_be_filled_again() -> None:
    wheel, leases = fill(2 * VISITS_MAX, expiry=10)
    wheel.take(10, limit=1)  # So there is something in a slot, in the walk and in the queue.
    wheel.clear()
    leases.clear()
    assert (wheel.entries, wheel.due, wheel.behind) == (0, 0, False)
    assert wheel.take(1_000, limit=1) == []
    wheel.check_invariants(1_000)
    leases[L1] = Lease(L1, 10, 1_010)
    wheel.add(leases[L1], now=1_000)
    assert wheel.take(1_010, limit=1) == [leases[L1]]


def test_a_lease_is_reported_again_no_sooner_than_its_shortest_ttl_could_end() -> None:
    """Else a lease whose TTL was started over after its report could stand too late."""
    assert RETRY_S <= 1


def test_the_last_instant_before_an_expiry_is_early_although_it_rounds_to_its_tick() -> None:
    wheel, leases = fill(1, expiry=1.8)
    just_before = math.nextafter(1.8, 0)
    assert math.floor(just_before * 20) == 36
    assert wheel.take(just_before, limit=1) == []
    assert wheel.take(1.8, limit=1) == [leases[L1]]


@given(
    expiry=st.floats(0, 10**9, allow_subnormal=False),
    early=st.floats(0, 0.2),
    steps=st.lists(st.floats(0.001, 0.06), min_size=1, max_size=20),
)
def test_no_lease_is_early_and_none_more_than_a_tick_late(
    expiry: float, early: float, steps: list[float]
) -> None:
    leases: Leases = {L1: Lease(L1, 9_000_000_000, expiry)}
    wheel = Wheel(leases)
    now = max(0.0, expiry - early)
    wheel.add(leases[L1], now=now)
    for step in steps:
        taken = wheel.take(now, limit=1) if wheel.has_work(now) else []
        if taken:
            assert now >= expiry
            return
        assert now < expiry + TICK_S * 1.001  # A billion seconds leave seven digits for them.
        now += step


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_behind_says_whether_anything_due_was_left(limit: int) -> None:
    wheel, leases = fill(2, expiry=10)
    enter(wheel, leases, 3, expiry=11)
    assert len(wheel.take(11, limit=limit)) == limit
    assert wheel.behind == wheel.has_work(11) == (limit < 3)


def test_the_invariants_notice_a_lease_that_stands_too_late() -> None:
    wheel, leases = fill(1, expiry=10)
    wheel.check_invariants(0)
    leases[L1].expiry = 9
    with pytest.raises(AssertionError, match="too late"):
        wheel.check_invariants(0)
