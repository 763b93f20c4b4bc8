"""Pages, byte for byte as bbolt writes them."""

from __future__ import annotations

import pytest

from server.snapshot.pages import (
    BUCKET,
    META_BYTES,
    PAGE_BYTES,
    Meta,
    branch,
    file_header,
    fnv1a,
    leaf,
    meta_page,
    parse_meta,
)


def test_the_hash_is_fnv_1a() -> None:
    """The published test vectors."""
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a(b"foobar") == 0x85944171F73967E8


def test_a_meta_page_is_what_an_etcd_wrote() -> None:
    """The first page of a snapshot taken from etcd 3.5.1."""
    page = meta_page(0, Meta(4096, 3, 0xFFFFFFFFFFFFFFFF, 6, 11))
    assert page[:80] == bytes.fromhex(
        "0000000000000000 0400 0000 00000000"  # Page 0, meta, nothing else.
        "edda0ced 02000000 00100000 00000000"  # Magic, version 2, 4096 bytes, no flags.
        "0300000000000000 0000000000000000"  # The root bucket's page and sequence.
        "ffffffffffffffff 0600000000000000 0b00000000000000"  # Freelist, high water, transaction.
    ) + (16764092666487053).to_bytes(8, "little")
    assert page[80:] == bytes(PAGE_BYTES - 80)
    assert parse_meta(page[16:]) == Meta(4096, 3, 0xFFFFFFFFFFFFFFFF, 6, 11)


def test_a_meta_page_with_any_bit_turned_is_refused() -> None:
    body = meta_page(0, Meta(4096, 3, 2, 6, 11))[16 : 16 + META_BYTES]
    for bit in range(8 * META_BYTES):
        turned = bytearray(body)
        turned[bit // 8] ^= 1 << bit % 8
        assert isinstance(parse_meta(bytes(turned)), str)


@pytest.mark.parametrize("page_bytes", [0, 512, 4095, 4097, 1 << 26])
def test_a_page_size_that_no_machine_has_is_refused(page_bytes: int) -> None:
    body = meta_page(0, Meta(page_bytes, 3, 2, 6, 11))[16 : 16 + META_BYTES]
    assert parse_meta(body) == f"a page size of {page_bytes} is impossible"


def test_a_meta_page_that_is_cut_short_is_refused() -> None:
    body = meta_page(0, Meta(4096, 3, 2, 6, 11))[16 : 16 + META_BYTES - 1]
    assert parse_meta(body) == "it is cut short"


def test_a_leaf_has_its_elements_first_and_then_keys_and_values() -> None:
    page = leaf(7, (0, BUCKET), (b"a", b"bc"), (b"xyz", b""))
    assert (
        page
        == bytes.fromhex(
            "0700000000000000 0200 0200 00000000"
            "00000000 20000000 01000000 03000000"  # Its key is 32 bytes behind the element's start.
            "01000000 14000000 02000000 00000000"  # 20, since this element begins 16 further on.
        )
        + b"axyz"
        + b"bc"
    )


def test_a_leaf_that_is_longer_than_a_page_says_by_how_many() -> None:
    fits = PAGE_BYTES - 16 - 16 - 1
    for size, overflow in ((fits, 0), (fits + 1, 1), (fits + PAGE_BYTES + 1, 2)):
        page = leaf(3, (0,), (b"k",), (b"v" * size,))
        assert page[12:16] == overflow.to_bytes(4, "little")


def test_a_branch_has_the_first_key_of_each_page_below() -> None:
    assert (
        branch(9, ((b"a", 4), (b"bc", 5)))
        == bytes.fromhex(
            "0900000000000000 0100 0200 00000000"
            "20000000 01000000 0400000000000000"
            "11000000 02000000 0500000000000000"
        )
        + b"abc"
    )


def test_a_file_begins_with_two_metas_and_an_empty_freelist() -> None:
    header = file_header(root=5, high_water=6)
    assert len(header) == 3 * PAGE_BYTES
    assert parse_meta(header[16:]) == Meta(PAGE_BYTES, 5, 2, 6, 2)
    assert parse_meta(header[PAGE_BYTES + 16 :]) == Meta(PAGE_BYTES, 5, 2, 6, 1)
    assert header[2 * PAGE_BYTES :][:16] == bytes.fromhex("0200000000000000 1000 0000 00000000")
    assert not any(header[2 * PAGE_BYTES + 16 :])
