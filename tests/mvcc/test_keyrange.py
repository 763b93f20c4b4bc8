"""The three spellings of a range on the wire, and which keys lie in it."""

from __future__ import annotations

import pytest

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
