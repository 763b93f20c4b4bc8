"""A file that nobody vouches for: whatever its bytes are, reading ends, in rows or in a reason."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.snapshot.pages import (
    BRANCH,
    BUCKET,
    BUCKET_HEADER,
    FIRST_PAGE,
    HEADER,
    NO_FREELIST,
    PAGE_BYTES,
    Meta,
    leaf,
    meta_page,
)
from server.snapshot.reader import BoltError, BoltFile
from server.snapshot.writer import Extent, Pages, Tree
from tests.server.snapshot.support import ETCD_3_4, ETCD_3_5, Taken, page_at, read_all, written

HASH_BYTES: Final = 32

# One bucket `b` of three levels: leaves of two rows, branches above them, then the root leaf.
ROWS: Final = [(b"%08d" % number, b"v" * 1500) for number in range(400)]
DEEP: Final = written([(b"b", ROWS)])
FIRST_LEAF: Final = FIRST_PAGE
ROOT: Final = len(DEEP) // PAGE_BYTES - 1
TOP: Final = ROOT - 1  # The bucket's own root: the last page before the root bucket's.


@pytest.mark.parametrize("taken", [ETCD_3_5, ETCD_3_4], ids=["3.5.1", "3.4.23"])
def test_every_bucket_of_a_real_etcd_is_read(tmp_path: Path, taken: Taken) -> None:
    buckets = read_all(tmp_path / "db", taken.path.read_bytes()[:-HASH_BYTES])
    known = {b"alarm", b"auth", b"authRoles", b"authUsers", b"key", b"lease", b"members"}
    assert known <= buckets.keys()
    assert [key for key, _ in buckets[b"authUsers"]] == [b"eve", b"root"]
    assert dict(buckets[b"auth"])[b"authEnabled"] == b"\1"
    assert [key for key, _ in buckets[b"lease"]] == [taken.lease.to_bytes(8, "big")]
    revisions = [int.from_bytes(key[:8], "big") for key, _ in buckets[b"key"]]
    assert revisions == sorted(revisions)
    assert revisions[-1] == 9


def test_the_newer_of_two_meta_pages_counts(tmp_path: Path) -> None:
    rows = {b"b": ROWS}
    stale = meta_page(0, Meta(PAGE_BYTES, FIRST_LEAF, NO_FREELIST, ROOT + 1, 0))
    assert read_all(tmp_path / "db", stale + DEEP[PAGE_BYTES:]) == rows


@pytest.mark.parametrize("number", [0, 1])
def test_one_meta_page_is_enough(tmp_path: Path, number: int) -> None:
    damaged = bytearray(DEEP)
    damaged[number * PAGE_BYTES + 20] ^= 1
    assert read_all(tmp_path / "db", bytes(damaged)) == {b"b": ROWS}


def _patched(*patches: tuple[int, int, bytes]) -> bytes:
    """DEEP with bytes replaced: page, offset in it, what stands there instead."""
    data = bytearray(DEEP)
    for page, offset, patch in patches:
        at = page * PAGE_BYTES + offset
        data[at : at + len(patch)] = patch
    return bytes(data)


def _u16(number: int) -> bytes:
    return struct.pack("<H", number)


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def _u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def _with_root(root: int, high_water: int = ROOT + 1) -> bytes:
    return Extent(root, high_water, 0).header() + DEEP[FIRST_PAGE * PAGE_BYTES :]


KIND, COUNT, OVERFLOW = 8, 10, 12  # Where a page says what it is, of how much, and how long.
CHILD: Final = HEADER.size + 8  # Where a branch names its first page,
CHILDREN: Final = [CHILD + 16 * number for number in range(3)]  # and the ones behind it.

DAMAGE: Final[dict[str, tuple[bytes, str]]] = {
    "nothing at all": (b"", "it is no database of etcd: .*too short"),
    "text": (b"# A README\n" * 1000, "it is no database of etcd: .*does not begin as a bbolt file"),
    "zeros": (bytes(8 * PAGE_BYTES), "it is no database of etcd: .*does not begin as a bbolt file"),
    "another version": (
        _patched((0, 20, _u32(3)), (1, 20, _u32(3))),
        "is of version 3 of the format, and only 2 is known",
    ),
    "both metas damaged": (
        _patched((0, 40, b"!"), (1, 40, b"!")),
        "it is no database of etcd: .*its checksum is wrong",
    ),
    "a meta that says it is none": (
        _patched((0, KIND, _u16(2)), (1, KIND, _u16(2))),
        "it is no database of etcd: .*its flags are 0x2",
    ),
    "cut by a byte": (DEEP[:-1], rf"cut short: {len(DEEP) - 1} bytes of at least {len(DEEP)}"),
    "cut in the middle": (DEEP[: len(DEEP) // 2], "cut short"),
    "the root is a meta page": (_with_root(0), "names page 0, which belongs to something else"),
    "the root is the freelist": (_with_root(2), r"page 2 is neither branch nor leaf .*0x10"),
    "the root is beyond the end": (
        _with_root(ROOT + 1),
        f"names page {ROOT + 1}, and the last one is {ROOT}",
    ),
    "a root without end": (_with_root(2**63), "names page 9223372036854775808"),
    "a bucket is its own row": (_with_root(TOP), "at the top is no bucket"),
    "a page is not the one it says": (
        _patched((FIRST_LEAF, 0, _u64(99))),
        f"page {FIRST_LEAF} says that it is page 99",
    ),
    "a page of no kind": (_patched((FIRST_LEAF, KIND, _u16(0))), "neither branch nor leaf"),
    "a page of two kinds": (_patched((FIRST_LEAF, KIND, _u16(3))), "neither branch nor leaf"),
    "an endless overflow": (
        _patched((FIRST_LEAF, OVERFLOW, _u32(2**32 - 1))),
        f"the overflow of page {FIRST_LEAF} names page",
    ),
    "an overflow into the next page": (
        _patched((FIRST_LEAF, OVERFLOW, _u32(1))),
        f"names page {FIRST_LEAF + 1}, which belongs to something else",
    ),
    "too many elements": (
        _patched((FIRST_LEAF, COUNT, _u16(0xFFFF))),
        f"page {FIRST_LEAF} is too small for the elements",
    ),
    "elements that are data": (
        _patched((FIRST_LEAF, COUNT, _u16(200))),
        f"page {FIRST_LEAF}: an element reaches|does not come after",
    ),
    "a value beyond the page": (
        _patched((FIRST_LEAF, HEADER.size + 12, _u32(PAGE_BYTES))),
        f"page {FIRST_LEAF}: an element reaches .* bytes beyond it",
    ),
    "a key beyond the page": (
        _patched((FIRST_LEAF, HEADER.size + 4, _u32(2**32 - 1))),
        f"page {FIRST_LEAF}: an element reaches .* bytes beyond it",
    ),
    "keys out of order": (
        _patched((FIRST_LEAF, HEADER.size + 32, b"99999999")),
        "key b'00000001' does not come after key b'99999999'",
    ),
    "the same key twice": (
        _patched((FIRST_LEAF, HEADER.size + 32, b"00000001")),
        "key b'00000001' does not come after key b'00000001'",
    ),
    "an empty key": (
        _patched((FIRST_LEAF, HEADER.size + 8, _u32(0))),
        "key b'' does not come after key b''",
    ),
    "a branch that is its own child": (
        _patched((TOP, CHILD, _u64(TOP))),
        f"names page {TOP}, which belongs to something else",
    ),
    "a branch with the root below it": (
        _patched((TOP, CHILD, _u64(ROOT))),
        f"names page {ROOT}, which belongs to something else",
    ),
    "a page with two parents": (
        _patched((TOP, CHILDREN[1], page_at(DEEP, TOP)[CHILD : CHILD + 8])),
        "which belongs to something else",
    ),
    "a branch without children": (
        _patched((TOP, COUNT, _u16(0))),
        f"page {TOP} is a branch without a child",
    ),
    "a branch with too many": (
        _patched((TOP, COUNT, _u16(0xFFFF))),
        f"page {TOP} is too small for the elements",
    ),
}


@pytest.mark.parametrize(("data", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BoltError, match=reason):
        read_all(tmp_path / "db", data)


def _root_with(value: bytes, flags: int = BUCKET) -> bytes:
    pages = Pages(is_dry=False)
    root = Tree(pages)
    root.add(b"b", value, flags)
    number = root.end()
    return Extent(number, pages.next, 0).header() + pages.take()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "bucket b'b' has a header of 0 bytes"),
        (bytes(15), "bucket b'b' has a header of 15 bytes"),
        (bytes(16), "bucket b'b' is inline and has no page"),
        (bytes(32), r"an inline bucket is no leaf \(its flags are 0x0\)"),
        (
            BUCKET_HEADER.pack(0, 0) + HEADER.pack(0, BRANCH, 1, 0) + bytes(16),
            "an inline bucket is no leaf",
        ),
        (
            BUCKET_HEADER.pack(0, 0) + HEADER.pack(0, 2, 1, 0) + bytes(15),
            "an inline bucket is too small",
        ),
        (  # The last value, by one byte.
            BUCKET_HEADER.pack(0, 0) + leaf(0, (0,), (b"k",), (b"vw",))[:-1],
            "an inline bucket: an element reaches 1 bytes beyond it",
        ),
    ],
)
def test_a_bucket_that_is_none_is_refused(tmp_path: Path, value: bytes, reason: str) -> None:
    with pytest.raises(BoltError, match=reason):
        read_all(tmp_path / "db", _root_with(value))


def test_a_bucket_within_a_bucket_of_etcd_is_refused(tmp_path: Path) -> None:
    pages = Pages(is_dry=False)
    outer, root = Tree(pages), Tree(pages)
    outer.add(b"inner", Tree(pages).end_bucket(), BUCKET)
    root.add(b"outer", outer.end_bucket(), BUCKET)
    number = root.end()
    with pytest.raises(BoltError, match="b'inner' is a bucket within a bucket"):
        read_all(tmp_path / "db", Extent(number, pages.next, 0).header() + pages.take())


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """A mapping of it would kill the process here."""
    path = tmp_path / "db"
    path.write_bytes(DEEP)
    with BoltFile.open(path, len(DEEP)) as file:
        rows = file.rows(file.buckets()[b"b"])
        next(rows)
        path.write_bytes(DEEP[: 5 * PAGE_BYTES])
        with pytest.raises(BoltError, match="has become shorter meanwhile"):
            list(rows)


@given(
    st.lists(
        st.tuples(st.integers(0, len(DEEP) - 1), st.binary(min_size=1, max_size=8)), max_size=6
    ),
    st.integers(0, len(DEEP)),
)
def test_any_damage_ends_in_rows_or_in_a_reason(
    tmp_path_factory: pytest.TempPathFactory, patches: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(DEEP)
    for at, patch in patches:
        data[at : at + len(patch)] = patch
    path = tmp_path_factory.getbasetemp() / "damaged.db"
    for damaged in (bytes(data), bytes(data[:cut])):
        try:
            buckets = read_all(path, damaged)
        except BoltError as error:
            assert str(error)  # noqa: PT017  # either is right
        else:
            assert sum(map(len, buckets.values())) <= len(ROWS)


@pytest.mark.parametrize("page_bytes", [1024, 16 << 10, 64 << 10])
@pytest.mark.parametrize("damaged", [None, 0])
def test_the_pages_are_as_large_as_the_machine_that_wrote_them_has_them(
    tmp_path: Path, page_bytes: int, damaged: int | None
) -> None:
    """Which only a meta page tells: with the first one lost, the second is looked for."""
    metas = [
        bytearray(meta_page(number, Meta(page_bytes, 2, NO_FREELIST, 3, number)))
        for number in (0, 1)
    ]
    if damaged is not None:
        metas[damaged][40] ^= 1
    tree = Tree(Pages(is_dry=True))
    tree.add(b"k", b"v")
    root = leaf(2, (BUCKET,), (b"b",), (tree.end_bucket(),)).ljust(page_bytes, b"\0")
    assert read_all(tmp_path / "db", b"".join((*metas, root))) == {b"b": [(b"k", b"v")]}
