"""KeySet against the dullest set there is: every short key, listed."""

from __future__ import annotations

import itertools
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.keyrange import KeyRange
from server.auth.keyset import KeySet

# All keys of up to three letters, the empty one left out: it is no key.
LETTERS: Final = (0, 1, 2)
KEYS: Final = [
    bytes(letters) for length in (1, 2, 3) for letters in itertools.product(LETTERS, repeat=length)
]
# Ends may be longer than keys: a single key's range is a byte longer than the key.
ENDS: Final = [*KEYS, *(key + b"\0" for key in KEYS), None]

keys: Final = st.sampled_from([b"", *KEYS])
wires: Final = st.tuples(keys, st.sampled_from([b"", *KEYS]))


def listed(range_: KeyRange) -> set[bytes]:
    return {key for key in KEYS if key in range_}


@given(st.lists(wires, max_size=6), st.sampled_from(KEYS), st.sampled_from(ENDS))
def test_a_range_is_covered_exactly_when_the_union_leaves_no_gap(
    granted: list[tuple[bytes, bytes]], start: bytes, end: bytes | None
) -> None:
    """Between any two keys there are others, so the listed ones do not tell of every gap."""
    ranges = [KeyRange.from_wire(*each) for each in granted]
    kept = [each for each in ranges if each.start and not each.is_empty]
    asked = KeyRange(start, end)
    if asked.is_empty:
        return
    at: bytes | None = start
    while at is not None and (end is None or at < end):  # Walk over it, as far as it goes.
        reach = [each.end for each in kept if at in each]
        if not reach:
            break
        at = None if None in reach else max(each for each in reach if each is not None)
    is_covered = at is None or (end is not None and at >= end)
    assert KeySet(ranges).covers(asked) == is_covered
    if is_covered:
        assert listed(asked) <= set().union(*map(listed, kept))


@given(st.lists(wires, max_size=6), st.sampled_from(KEYS))
def test_a_key_is_held_exactly_when_a_range_has_it(
    granted: list[tuple[bytes, bytes]], key: bytes
) -> None:
    ranges = [KeyRange.from_wire(*each) for each in granted]
    held = KeySet(ranges)
    assert held.holds(key) == any(each.start and key in each for each in ranges)
    assert held.holds(key) == held.covers(KeyRange.from_wire(key, b""))


@pytest.mark.parametrize(
    ("granted", "asked", "is_covered"),
    [
        # TestRangePermission and TestKeyPermission, server/auth/range_perm_cache_test.go.
        ([(b"a", b"c"), (b"x", b"z")], (b"a", b"z"), False),
        ([(b"a", b"f"), (b"c", b"d"), (b"f", b"z")], (b"a", b"z"), True),
        ([(b"a", b"d"), (b"a", b"b"), (b"c", b"f")], (b"a", b"f"), True),
        ([(b"a", b"c"), (b"c", b"f")], (b"a", b"f"), True),
        ([(b"a", b"c"), (b"c\0", b"f")], (b"a", b"f"), False),
        ([(b"a", b"\0")], (b"a", b"\0"), True),
        ([(b"a", b"\0")], (b"z", b"zz"), True),
        ([(b"b", b"\0")], (b"a", b"\0"), False),
        ([(b"a", b"z")], (b"a", b"\0"), False),
        ([(b"\0", b"\0")], (b"\0", b"\0"), True),
        ([(b"a", b"")], (b"a", b"a\0"), True),
        ([(b"a", b""), (b"a\0", b"")], (b"a", b"a\0\0"), True),
        ([(b"a", b"")], (b"a", b"b"), False),
        # No keys at all: what counts is where it would begin.
        ([(b"a", b"z")], (b"c", b"b"), True),
        ([(b"b", b"z")], (b"c", b"a"), True),
        ([(b"b", b"\0")], (b"c", b"b"), True),
        ([(b"a", b"c")], (b"d", b"b"), False),
        ([(b"a", b"c")], (b"c", b"b"), False),
        ([(b"b", b"z")], (b"a", b"a"), False),
        ([(b"a", b"")], (b"a", b"a"), True),
        # What no etcd of today grants any more: it holds nothing.
        ([(b"", b"\0")], (b"a", b""), False),
        ([(b"z", b"a")], (b"b", b""), False),
    ],
)
def test_ranges_as_etcd_judges_them(
    granted: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes], is_covered: bool
) -> None:
    held = KeySet(KeyRange.from_wire(*each) for each in granted)
    assert held.covers(KeyRange.from_wire(*asked)) == is_covered
