"""The header decoder agrees with the `hpack` library, and refuses what RFC 7541 forbids."""

from __future__ import annotations

from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transport.hpack import (
    _NEWEST,
    EMPTY_TABLE,
    FIELDS_MAX,
    TABLE_BYTES_MAX,
    Decoder,
    HpackError,
    encode,
    is_valid,
)

NAMES = st.sampled_from((b":path", b"te", b"grpc-timeout", b"x-a", b"x-b")) | st.binary(max_size=20)
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300), st.booleans()), max_size=12)


def pairs(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in decoder.decode(block)]


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from((None, 0, 50, 300, 4096)))))
def test_blocks_of_the_library_are_decoded_in_order(blocks: list[Any]) -> None:
    """With indexing, without, never indexed, Huffman or not, and a table that changes its size."""
    encoder: Any = hpack.Encoder()
    decoder = Decoder()
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        sent = [hpack.HeaderTuple(name, value) for name, value, _ in fields]
        for at, (name, value, is_secret) in enumerate(fields):
            if is_secret:
                sent[at] = hpack.NeverIndexedHeaderTuple(name, value)
        block = encoder.encode(sent, huffman=huffman)
        assert pairs(decoder, block) == [tuple(field) for field in sent]
        assert decoder._size == encoder.header_table._current_size


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_random_octets_are_decoded_or_refused_as_by_the_library(blocks: list[bytes]) -> None:
    theirs: Any = hpack.Decoder()
    ours = Decoder()
    for block in blocks:
        try:
            expected = [tuple(field) for field in theirs.decode(block, raw=True)]
        except hpack.HPACKError:
            with pytest.raises(HpackError):
                ours.decode(block)
            return
        assert pairs(ours, block) == expected


@given(st.lists(st.tuples(st.binary(max_size=400), st.binary(max_size=40_000)), max_size=5))
def test_what_we_encode_the_library_decodes_and_keeps_nothing_of_it(
    fields: list[tuple[bytes, bytes]],
) -> None:
    decoder: Any = hpack.Decoder(max_header_list_size=1 << 20)
    received = decoder.decode(encode(tuple(fields)), raw=True)
    assert [tuple(field) for field in received] == fields
    assert not decoder.header_table.dynamic_entries
    assert pairs(Decoder(), encode(tuple(fields))) == fields


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # Index 0.
        b"\xbe",  # 62: the table is empty.
        b"\xff\x80\x80\x80\x80\x80\x01",  # An integer of too many octets.
        b"\xff\xff\xff\xff\xff\xff\x0f",  # And one too large.
        b"\xff",  # One that ends too soon.
        b"\x40",  # No name.
        b"\x40\x05abc",  # Less of a name than was said.
        b"\x40\x01a",  # No value.
        b"\x40\x01a\x7f",  # A length that ends too soon.
        b"\x40\x01a\x81\x00",  # A value that is no Huffman string.
        b"\x3f\xe2\x1f",  # A table of 4,097 bytes.
        b"\x82\x20",  # A new size behind a field.
    ],
)
def test_a_block_that_breaks_the_rules_is_refused(block: bytes) -> None:
    """RFC 7541 sections 2.3.3, 4.2, 5.1, 5.2, 6.1 and 6.3."""
    with pytest.raises(HpackError):
        Decoder().decode(block)


def test_two_new_sizes_before_the_first_field_are_fine() -> None:
    """RFC 7541 section 4.2: the smallest size in between, and the last."""
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x01b")
    assert pairs(decoder, EMPTY_TABLE + b"\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
    assert decoder._size == 0
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")


def test_an_entry_of_exactly_the_tables_size_fits_and_one_more_byte_empties_it() -> None:
    """RFC 7541 sections 4.1 and 4.4: 32 bytes beside name and value; not an error."""
    decoder = Decoder()
    most = TABLE_BYTES_MAX - 32 - 1
    decoder.decode(encode(((b"a", b"x" * most),)).replace(b"\0", b"\x40", 1))
    assert (decoder._size, len(decoder._table) - _NEWEST) == (TABLE_BYTES_MAX, 1)
    decoder.decode(encode(((b"b", b"x" * (most + 1)),)).replace(b"\0", b"\x40", 1))
    assert (decoder._size, len(decoder._table) - _NEWEST) == (0, 0)


def test_the_oldest_entries_make_room() -> None:
    decoder = Decoder()
    decoder.decode(b"\x3f\x31")  # 80 bytes: two entries of 34, not three.
    decoder.decode(b"\x40\x01a\x011\x40\x01b\x012\x40\x01c\x013")
    assert pairs(decoder, b"\xbe\xbf") == [(b"c", b"3"), (b"b", b"2")]
    with pytest.raises(HpackError):
        decoder.decode(b"\xc0")


def test_a_name_may_come_from_an_entry_that_its_own_insertion_evicts() -> None:
    """RFC 7541 section 4.4."""
    decoder = Decoder()
    decoder.decode(b"\x3f\x09\x40\x01a\x011")  # 40 bytes: one entry.
    assert pairs(decoder, b"\x7e\x012") == [(b"a", b"2")]
    assert pairs(decoder, b"\xbe") == [(b"a", b"2")]


def test_only_a_change_of_the_table_changes_the_version() -> None:
    decoder = Decoder()
    decoder.decode(b"\x82\x00\x01a\x01b\x10\x01a\x01b")
    assert decoder.version == 0
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.version == 1


def test_a_block_of_too_many_fields_is_refused() -> None:
    """4 KiB in the table, referred to by one octet each: memory is not what the octets say."""
    decoder = Decoder()
    assert len(decoder.decode(b"\x82" * FIELDS_MAX)) == FIELDS_MAX
    with pytest.raises(HpackError):
        decoder.decode(b"\x82" * (FIELDS_MAX + 1))


def test_decoded_strings_are_kept_within_a_bound() -> None:
    decoder = Decoder()
    encoder: Any = hpack.Encoder()
    for number in range(3000):
        decoder.decode(encoder.encode([(b"a%d" % number, b"long" * (number % 64))]))
    assert len(decoder._texts) <= 1024
    assert max(map(len, decoder._texts)) <= 128


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"x-a", b"any \xff text\t", True),
        (b":path", b"/", True),
        (b"", b"", False),
        (b":", b"", False),
        (b"a:b", b"", False),
        (b"X-A", b"", False),
        (b"a b", b"", False),
        (b"a\x7f", b"", False),
        (b"\xe9", b"", False),
        (b"a", b"1\r\n2", False),
        (b"a", b"1\n2", False),
        (b"a", b"1\x002", False),
    ],
)
def test_a_field_is_of_octets_that_may_stand_in_it(
    name: bytes, value: bytes, expected: bool
) -> None:
    """RFC 9113 section 8.2.1."""
    assert is_valid(name, value) is expected
    decoder = Decoder()
    indexed = encode(((name, value),)).replace(b"\0", b"\x40", 1)
    assert [each.is_valid for each in decoder.decode(indexed + b"\xbe")] == [expected] * 2
