"""Keys in order, held against a plain sorted list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.keylist import BLOCK_KEYS_MAX, BLOCK_KEYS_MIN, KeyList


def key(number: int) -> bytes:
    return b"%06d" % number


def assert_holds(keys: KeyList, expected: set[bytes], rng: random.Random) -> None:
    """It has exactly these, and finds them from anywhere to anywhere, up to any limit."""
    keys.check_invariants()
    ordered = sorted(expected)
    assert len(keys) == len(ordered)
    assert keys.slice(b"", None) == ordered
    assert keys.slice(b"", None, reverse=True) == ordered[::-1]
    for _ in range(20):
        start, end = key(rng.randrange(20_100)), key(rng.randrange(20_100))
        limit = rng.choice([1, 2, 250, 1_000, 3_000])
        for bound in (end, None):
            found = [each for each in ordered if start <= each and (bound is None or each < bound)]
            assert keys.count(start, bound) == len(found)
            assert keys.slice(start, bound) == found
            assert keys.slice(start, bound, limit) == found[:limit]
            assert keys.slice(start, bound, limit, reverse=True) == found[::-1][:limit]


@given(seed=st.integers(0, 2**32))
def test_it_is_a_sorted_list_whatever_comes_and_goes(seed: int) -> None:
    """Single keys, scattered ones and whole runs, in numbers that cut and join blocks."""
    rng = random.Random(seed)
    there = set(map(key, rng.sample(range(20_000), rng.choice([0, 1, 1_999, 2_001, 9_000]))))
    shuffled = list(there)
    rng.shuffle(shuffled)
    keys = KeyList(shuffled)
    for _ in range(6):
        first, width = rng.randrange(20_000), rng.choice([1, 10, 700, 20_000])
        count = rng.choice([1, 3, 200, 5_000])
        near = [key(number) for number in range(first, min(first + width, 20_000))]
        chosen = set(rng.sample(near, min(count, len(near))))
        coming, going = sorted(chosen - there), sorted(chosen & there)
        if rng.random() < 0.5:
            keys.add_all(coming)
            there.update(coming)
        elif rng.random() < 0.8:
            keys.remove_all(going)
            there.difference_update(going)
        else:
            for each in coming[:300]:
                keys.add(each)
                there.add(each)
            for each in going[:300]:
                keys.remove(each)
                there.discard(each)
    assert_holds(keys, there, rng)


@pytest.mark.parametrize("surplus", [0, 1])
def test_a_block_is_cut_only_when_it_is_too_long(surplus: int) -> None:
    keys = KeyList()
    for number in range(BLOCK_KEYS_MAX + surplus):
        keys.add(key(number))
    keys.check_invariants()
    assert len(keys._blocks) == 1 + surplus  # what is tested is the inside


def test_blocks_that_removal_empties_are_joined() -> None:
    """A list that was long and is short has few blocks, so looking through them stays cheap."""
    numbers = list(range(20 * BLOCK_KEYS_MAX))
    keys = KeyList(map(key, numbers))
    keep = set(numbers[:: BLOCK_KEYS_MAX // 4])
    keys.remove_all([key(number) for number in numbers if number not in keep])
    keys.check_invariants()
    assert keys.slice(b"", None) == [key(number) for number in sorted(keep)]
    assert len(keys._blocks) <= 1 + len(keep) // BLOCK_KEYS_MIN  # as above


@pytest.mark.parametrize("run", [[key(1), key(2)], [key(0), key(2)], [key(2)]])
def test_what_is_not_there_is_not_given_up_in_silence(run: list[bytes]) -> None:
    with pytest.raises(AssertionError):
        KeyList([key(number) for number in range(4_000) if number != 2]).remove_all(run)
