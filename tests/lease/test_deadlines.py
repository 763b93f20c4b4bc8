"""What is kept of leases' time for the next process: never less than they have, hardly more."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lease.deadlines import NO_WORD, SCRAP, TICKS_MAX, decode, encode, tick_after, tick_before
from lease.lease import TTL_MAX_S
from lease.lessor import LeaseID
from lease.wheel import TICK_S, TICKS_PER_S
from tests.lease.support import L1, L2, L3, Bench, build, expired_ids

ticks = st.integers(-TICKS_MAX, TICKS_MAX)


# --- words ---


@given(ticks)
def test_a_word_says_what_was_counted_fits_in_eight_bytes_and_is_never_0(count: int) -> None:
    word = encode(count)
    assert decode(word) == count
    assert 0 < word < 1 << 63


@pytest.mark.parametrize("count", [TICKS_MAX + 1, 1 << 60])
def test_a_count_beyond_the_bounds_is_cut(count: int) -> None:
    assert decode(encode(count)) == TICKS_MAX
    assert decode(encode(-count)) == -TICKS_MAX


def test_the_longest_ttl_that_ever_began_can_be_counted() -> None:
    assert TTL_MAX_S * TICKS_PER_S < TICKS_MAX


@given(ticks, st.integers(0, 7), st.integers(1, 255))
def test_any_damage_to_one_byte_of_a_word_shows(count: int, byte: int, damage: int) -> None:
    assert decode(encode(count) ^ (damage << 8 * byte)) is None


@pytest.mark.parametrize(
    "word", [NO_WORD, 1, (1 << 64) - 1, encode(0) + 1, encode(TICKS_MAX) + encode(0)]
)
def test_what_encode_does_not_make_is_no_word(word: int) -> None:
    assert decode(word) is None


@given(st.floats(-1e10, 1e10))
def test_ticks_are_on_the_side_that_is_said(seconds: float) -> None:
    assert tick_before(seconds) / TICKS_PER_S <= seconds <= tick_after(seconds) / TICKS_PER_S
    assert tick_after(seconds) - tick_before(seconds) <= 1


@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.15, 5.35, -0.05])
def test_a_time_that_is_a_tick_is_its_own_neighbour_on_both_sides(seconds: float) -> None:
    count = round(seconds * TICKS_PER_S)
    exact = count / TICKS_PER_S
    assert (tick_before(exact), tick_after(exact)) == (count, count)


# --- what the lessor keeps ---


def kept(bench: Bench, lease_id: LeaseID) -> float | None:
    """How much of its TTL the next process thinks that a lease has spent."""
    return bench.deadlines.spent().get(lease_id)


def test_a_ttl_is_spent_from_when_the_reply_leaves_and_a_renewal_begins_it_anew() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    bench.lessor.keep_time(1)
    assert kept(bench, L1) is None, "the full TTL, until its client was told"
    bench.lessor.restart(lease, now=2)
    bench.lessor.keep_time(5)
    assert kept(bench, L1) == 3
    bench.lessor.renew(L1, now=6)
    bench.lessor.keep_time(6.5)
    assert kept(bench, L1) == 0.5
    bench.lessor.renew_all([lease], now=7, horizon=7)
    bench.lessor.keep_time(8)
    assert kept(bench, L1) == 1
    bench.lessor.check_invariants(8)


@given(begin=st.floats(0, 1e6), served=st.floats(0, 9))
def test_what_is_kept_is_never_less_than_what_is_left_and_at_most_two_ticks_more(
    begin: float, served: float
) -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=begin)
    bench.lessor.restart(lease, now=begin)
    end = begin + served
    bench.lessor.keep_time(end)
    spent = kept(bench, L1)
    assert spent is not None
    assert end - begin - 2 * TICK_S - 1e-6 <= spent <= end - begin + 1e-9


def test_the_next_process_goes_on_with_what_was_left() -> None:
    bench = build()
    for lease_id, ttl in ((L1, 10), (L2, 6), (L3, 3)):
        bench.lessor.restart(bench.lessor.grant(lease_id, ttl, now=0), now=0)
    bench.lessor.keep_time(4)
    successor = bench.successor(now=500)
    assert {lease.id: lease.remaining(500) for lease in successor.leases()} == {L1: 6, L2: 2, L3: 0}
    assert expired_ids(successor, 500) == [L3], "its time was over"
    assert successor.renew(L2, now=501) == 6, "the full TTL, as granted"


def test_an_extension_comes_on_top_of_what_was_left() -> None:
    bench = build()
    bench.lessor.restart(bench.lessor.grant(L1, 10, now=0), now=0)
    bench.lessor.keep_time(4)
    successor = bench.successor(now=500, extend=5)
    assert successor.lookup(L1).remaining(500) == 11


def test_no_lease_has_more_left_than_its_ttl() -> None:
    """A clock behind the begin: an extension was kept, or a stall held the clock back."""
    bench = build()
    bench.lessor.restart(bench.lessor.grant(L1, 10, now=0), now=8)
    bench.lessor.keep_time(1)
    assert kept(bench, L1) == -7
    assert bench.successor(now=500).lookup(L1).remaining(500) == 10


def test_times_left_are_spread_under_a_cap_and_not_the_ttls() -> None:
    bench = build()
    for lease_id, begin in ((L1, 0), (L2, 0), (L3, 0), (LeaseID(4), 7)):
        bench.lessor.restart(bench.lessor.grant(lease_id, 10, now=begin), now=begin)
    bench.lessor.keep_time(8)
    successor = bench.successor(now=500, revoke_rate=2)
    assert sorted(lease.remaining(500) for lease in successor.leases()) == [2, 4, 5, 9]


def test_a_demoted_lessor_keeps_what_was_left_when_it_stopped_being_primary() -> None:
    bench = build()
    bench.lessor.restart(bench.lessor.grant(L1, 10, now=0), now=0)
    bench.lessor.keep_time(4)
    bench.lessor.demote()
    late = bench.lessor.grant(L2, 10, now=5)
    bench.lessor.restart(late, now=6)
    bench.lessor.keep_time(9)
    assert bench.deadlines.spent() == {L1: 4}
    bench.lessor.check_invariants(9)


def test_a_revoked_lease_leaves_nothing_to_whoever_has_its_id_or_its_slot_next() -> None:
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    bench.lessor.restart(lease, now=0)
    bench.lessor.keep_time(9)
    bench.lessor.revoke(L1)
    assert bench.deadlines.spent() == {}
    assert lease.slot == SCRAP
    again = bench.lessor.grant(L1, 10, now=9)
    assert bench.deadlines.spent() == {}
    bench.lessor.restart(lease, now=9)  # The old one: whoever still has it cannot harm the new.
    assert bench.deadlines.spent() == {}
    bench.lessor.restart(again, now=9)
    assert bench.deadlines.spent() == {L1: 0}


def test_the_slot_is_let_go_of_before_the_record_is() -> None:
    """So that a kill in between finds a lease with its full TTL, and not with an old deadline."""
    bench = build()
    lease = bench.lessor.grant(L1, 10, now=0)
    bench.lessor.attach(L1, [b"a"])
    bench.lessor.restart(lease, now=0)
    bench.lessor.keep_time(1)
    seen: list[object] = []
    bench.deleter.on_delete = lambda _key: seen.append(bench.deadlines.spent())
    bench.lessor.revoke(L1)
    assert seen == [{}]


def test_leases_for_which_there_is_no_room_live_all_the_same_and_share_the_scrap() -> None:
    bench = build(room=1)
    kept_one, other = (bench.lessor.grant(each, 10, now=0) for each in (L1, L2))
    for lease in (kept_one, other):
        bench.lessor.restart(lease, now=0)
        assert bench.lessor.renew(lease.id, now=1) == 10
    assert (kept_one.slot, other.slot) == (1, SCRAP)
    bench.lessor.keep_time(4)
    assert bench.deadlines.spent() == {L1: 3}
    assert bench.lessor.stats().kept == 1
    successor = bench.successor(now=100)
    assert [successor.lookup(each).remaining(100) for each in (L1, L2)] == [7, 10]
    bench.lessor.revoke(L2)
    bench.lessor.revoke(L1)
    assert bench.lessor.stats().kept == 0
    assert bench.lessor.grant(L3, 10, now=5).slot == 1, "room that has become free is used"
    bench.lessor.check_invariants(5)


def test_recovering_anew_gives_each_lease_one_slot_and_the_full_ttl_until_it_is_promoted() -> None:
    bench = build()
    bench.lessor.restart(bench.lessor.grant(L1, 10, now=0), now=0)
    bench.lessor.keep_time(1)
    bench.lessor.recover()
    assert bench.deadlines.spent() == {}
    assert bench.lessor.lookup(L1).slot == 1
    bench.lessor.promote(0, now=50)
    bench.lessor.keep_time(52)
    assert bench.deadlines.spent() == {L1: 2}


def test_without_a_place_to_keep_it_nothing_is_kept() -> None:
    bench = build()
    bench.lessor.grant(L1, 10, now=0)
    lessor = bench.restarted()
    lessor.promote(0, now=0)
    lessor.keep_time(5)
    assert lessor.renew(L1, now=5) == 10
    assert lessor.stats().kept == 0
    lessor.revoke(L1)
    lessor.check_invariants(5)
