"""The three spellings of a range on the wire, and which keys lie in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.keyrange import KeyRange


@pytest.mark.parametrize(
    ("key", "range_end", "inside", "outside"),
    [
        (b"b", b"", [b"b"], [b"a", b"b\0", b"c"]),
        (b"b", b"\0", [b"b", b"b\0", b"c", b"\xff\xff"], [b"", b"a", b"a\xff"]),
        (b"\0", b"\0", [b"\0", b"a", b"\xff"], [b""]),
        (b"b", b"d", [b"b", b"b\0", b"c", b"c\xff"], [b"a", b"d", b"d\0"]),
        (b"b", b"b", [], [b"a", b"b", b"c"]),
        (b"d", b"b", [], [b"b", b"c", b"d", b"e"]),
    ],
)
def test_a_range_on_the_wire_means_these_keys(
    key: bytes, range_end: bytes, inside: list[bytes], outside: list[bytes]
) -> None:
    keys = KeyRange.from_wire(key, range_end)
    assert [each in keys for each in inside] == [True] * len(inside)
    assert [each in keys for each in outside] == [False] * len(outside)


def test_a_range_is_empty_where_its_end_is_not_above_its_start() -> None:
    assert KeyRange(b"b", b"b").is_empty
    assert KeyRange(b"b", b"a").is_empty
    assert not KeyRange(b"b", b"b\0").is_empty
    assert not KeyRange(b"b", None).is_empty


def test_a_range_is_single_where_only_its_start_can_lie_in_it() -> None:
    assert KeyRange.from_wire(b"b", b"").is_single
    assert KeyRange.from_wire(b"b", b"b\0").is_single
    assert not KeyRange.from_wire(b"b", b"b\1").is_single
    assert not KeyRange.from_wire(b"b", b"c").is_single
    assert not KeyRange.from_wire(b"b", b"\0").is_single


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (KeyRange(b"a", b"b"), b"a"),
        (KeyRange(b"a\xff", b"b"), b"a\xff"),
        (KeyRange(b"a\xff\xff", b"b"), b"a\xff\xff"),
        (KeyRange(b"a/", b"a0"), b"a/"),
        (KeyRange(b"\0", None), b""),
        (KeyRange(b"", None), b""),
        (KeyRange(b"a", None), None),
        (KeyRange(b"a", b"c"), None),
        (KeyRange(b"a", b"b\0"), None),
        (KeyRange(b"ab", b"b"), None),
        (KeyRange(b"\xff", b"\xff\xff"), None),
        (KeyRange(b"", b"a"), None),
        (KeyRange(b"b", b"a"), None),
    ],
)
def test_a_range_that_is_all_keys_with_a_prefix_knows_it(
    keys: KeyRange, prefix: bytes | None
) -> None:
    assert keys.prefix == prefix


_octets = st.sampled_from(b"\0\1a\xfe\xff")
_short = st.lists(_octets, max_size=3).map(bytes)


@given(_short, st.none() | _short, _short.filter(bool))
def test_the_keys_of_a_range_with_a_prefix_are_those_that_begin_so(
    start: bytes, end: bytes | None, key: bytes
) -> None:
    keys = KeyRange(start, end)
    if keys.prefix is not None:
        assert (key in keys) == key.startswith(keys.prefix)
