"""A revision's 17 bytes are etcd's, and sort as the changes were made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.errors import CorruptRecordError
from mvcc.revision import decode, encode, encode_tombstone

numbers = st.integers(0, 2**63 - 1)


def test_the_bytes_are_main_underscore_sub_big_endian() -> None:
    """RevToBytes, server/storage/mvcc/revision.go."""
    assert encode(1, 2).hex() == "0000000000000001" + "5f" + "0000000000000002"
    assert encode_tombstone(1, 2).hex() == "0000000000000001" + "5f" + "0000000000000002" + "74"
    assert encode(2**63 - 1, 2**63 - 1).hex() == "7fffffffffffffff" + "5f" + "7fffffffffffffff"


@given(numbers, numbers)
def test_decoding_gives_back_what_was_encoded(main: int, sub: int) -> None:
    assert decode(encode(main, sub)) == (main, sub, False)
    assert decode(encode_tombstone(main, sub)) == (main, sub, True)


@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers))
def test_bytes_sort_as_revisions_do(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (encode(*one) < encode(*other)) == (one < other)
    assert (encode_tombstone(*one) < encode(*other)) == (one < other)


@pytest.mark.parametrize(
    "row_key",
    [
        b"",
        encode(1, 2)[:-1],
        encode(1, 2) + b"u",
        encode(1, 2) + b"tt",
        encode(1, 2).replace(b"_", b"-"),
        encode_tombstone(1, 2).replace(b"_", b"-"),
    ],
)
def test_bytes_that_are_no_revision_are_refused(row_key: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="the row's key is no revision") as refusal:
        decode(row_key)
    assert (refusal.value.column, refusal.value.key) == ("key", row_key)
