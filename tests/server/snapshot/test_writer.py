"""Trees of pages: what is written is read back, whatever it is and however deep it goes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.snapshot.pages import (
    BRANCH,
    BUCKET,
    BUCKET_HEADER,
    FIRST_PAGE,
    HEADER,
    INLINE_BYTES_MAX,
    KEY_BYTES_MAX,
    PAGE_BYTES,
)
from server.snapshot.reader import BoltFile, Bucket
from server.snapshot.writer import (
    SLICE_BYTES_MAX,
    SLICE_ROWS_MAX,
    Extent,
    Pages,
    Tree,
    UnwritableError,
    emit,
    measure,
)
from tests.server.snapshot.support import (
    Nested,
    finished,
    page_at,
    read_all,
    read_nested,
    write_nested,
    written,
)

Rows = list[tuple[bytes, bytes]]

_keys = st.binary(min_size=1, max_size=40)
_long_keys = st.integers(1, KEY_BYTES_MAX).map(lambda size: b"k" * size)
_values = st.one_of(
    st.binary(max_size=60), st.integers(0, 3 * PAGE_BYTES).map(lambda size: b"v" * size)
)
_rows = st.dictionaries(st.one_of(_keys, _long_keys), _values, max_size=60)
_nested: st.SearchStrategy[Nested] = st.recursive(
    st.dictionaries(_keys, _values, max_size=20),
    lambda inner: st.dictionaries(_keys, st.one_of(_values, inner), max_size=8),
    max_leaves=12,
)


def _many(count: int, value: bytes = b"") -> Rows:
    return [(b"%08d" % number, value) for number in range(count)]


@given(st.dictionaries(_keys, _rows, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, buckets: dict[bytes, dict[bytes, bytes]]
) -> None:
    content = [(name, sorted(rows.items())) for name, rows in sorted(buckets.items())]
    path = tmp_path_factory.getbasetemp() / "any.db"
    assert read_all(path, written(content)) == dict(content)


@given(_nested)
def test_buckets_within_buckets_are_read(
    tmp_path_factory: pytest.TempPathFactory, rows: Nested
) -> None:
    pages = Pages(is_dry=False)
    root = write_nested(pages, rows).end()
    path = tmp_path_factory.getbasetemp() / "nested.db"
    path.write_bytes(Extent(root, pages.next, 0).header() + pages.take())
    with BoltFile.open(path, path.stat().st_size) as file:
        assert read_nested(file, Bucket(root)) == rows


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 5000, 30_000])
def test_any_number_of_rows_is_read(tmp_path: Path, count: int) -> None:
    rows = _many(count)
    assert read_all(tmp_path / "db", written([(b"b", rows)])) == {b"b": rows}


def _depth(data: bytes, number: int) -> int:
    """Levels below a page, itself included; every branch has two children or more."""
    _, kind, count, _ = HEADER.unpack_from(page_at(data, number))
    if kind != BRANCH:
        return 1
    assert count >= 2
    children = [
        int.from_bytes(data[at : at + 8], "little")
        for at in range(number * PAGE_BYTES + 24, number * PAGE_BYTES + 24 + 16 * count, 16)
    ]
    depths = {_depth(data, child) for child in children}
    assert len(depths) == 1, "every leaf is equally far from the root"
    return 1 + depths.pop()


@pytest.mark.parametrize(
    ("count", "value_bytes", "depth"),
    [
        (2, 1500, 1),
        (3, 1500, 2),  # Two rows a leaf, so the third begins a second one.
        (2 * 170, 1500, 2),  # 170 children of 8-byte keys fill a page: 16 + 170 * 24 is 4096.
        (2 * 170 + 1, 1500, 3),
        (2 * 170 * 3, 1500, 3),
        (60_000, 1500, 4),
    ],
)
def test_a_tree_grows_by_a_level_when_a_page_is_full(
    count: int, value_bytes: int, depth: int
) -> None:
    pages = Pages(is_dry=False)
    tree = Tree(pages)
    for key, value in _many(count, b"v" * value_bytes):
        tree.add(key, value)
    root = tree.end()
    data = bytes(FIRST_PAGE * PAGE_BYTES) + pages.take()
    assert _depth(data, root) == depth


def test_a_small_bucket_stands_in_the_row_that_names_it() -> None:
    """bbolt's own bound: a quarter of a page, header included (inlineable in bucket.go)."""
    fits = INLINE_BYTES_MAX - HEADER.size - 16 - 1
    for size, is_inline in ((fits, True), (fits + 1, False)):
        tree = Tree(Pages(is_dry=False))
        tree.add(b"k", b"v" * size)
        root, _ = BUCKET_HEADER.unpack_from(tree.end_bucket())
        assert (root == 0) == is_inline


def test_a_bucket_that_holds_another_does_not_stand_in_a_row() -> None:
    """bbolt would not look for a bucket there."""
    pages = Pages(is_dry=True)
    tree = Tree(pages)
    tree.add(b"b", Tree(pages).end_bucket(), BUCKET)
    root, _ = BUCKET_HEADER.unpack_from(tree.end_bucket())
    assert root == FIRST_PAGE


def test_a_page_is_full_when_it_is_full() -> None:
    fits = PAGE_BYTES - HEADER.size - 2 * (16 + 1)
    for size, pages_used in ((fits, 1), (fits + 1, 3)):  # A second leaf, and a branch above both.
        pages = Pages(is_dry=True)
        tree = Tree(pages)
        tree.add(b"a", bytes(size // 2))
        tree.add(b"b", bytes(size - size // 2))
        tree.end()
        assert pages.next - FIRST_PAGE == pages_used


def test_an_empty_bucket_is_the_32_bytes_that_bbolt_stores() -> None:
    assert Tree(Pages(is_dry=True)).end_bucket() == bytes(24) + bytes.fromhex("0200000000000000")


@pytest.mark.parametrize("key", [b"", b"k" * (KEY_BYTES_MAX + 1)])
def test_a_key_that_bbolt_refuses_is_refused(key: bytes) -> None:
    with pytest.raises(UnwritableError, match=rf"a key of {len(key)} bytes is not in 1..32768"):
        Tree(Pages(is_dry=True)).add(key, b"")


def test_others_get_a_turn_after_so_many_rows_or_bytes() -> None:
    def slices(rows: Rows) -> int:
        return sum(1 for _ in measure([(b"b", rows)]))

    once = slices([])
    assert slices(_many(SLICE_ROWS_MAX - 1)) == once
    assert slices(_many(SLICE_ROWS_MAX)) == once + 1
    assert slices(_many(2 * SLICE_ROWS_MAX)) == once + 2
    assert slices(_many(2, bytes(SLICE_BYTES_MAX // 2 - 1))) == once
    assert slices(_many(2, bytes(SLICE_BYTES_MAX // 2))) == once + 1


def test_what_waits_to_be_taken_does_not_grow_with_the_rows() -> None:
    pages = Pages(is_dry=False)
    most = 0
    for _ in emit([(b"b", _many(200_000, bytes(100)))], pages):
        most = max(most, pages.waiting_bytes)
        pages.take()
    assert most < SLICE_BYTES_MAX


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(0, 3000))
def test_pages_follow_one_another_without_a_gap(count: int, value_bytes: int) -> None:
    """Which is all there is to say about them: no page is free, none is used twice."""
    pages = Pages(is_dry=False)
    content = [(b"b", _many(count, bytes(value_bytes)))]
    extent = finished(emit(content, pages))
    data = bytes(FIRST_PAGE * PAGE_BYTES) + pages.take()
    starts = []
    number = FIRST_PAGE
    while number < extent.high_water:
        said, _, _, overflow = HEADER.unpack_from(page_at(data, number))
        assert said == number
        starts.append(number)
        number += 1 + overflow
    assert number == extent.high_water == len(data) // PAGE_BYTES
    assert all(one < two for one, two in pairwise(starts))
    assert extent.root == starts[-1]
