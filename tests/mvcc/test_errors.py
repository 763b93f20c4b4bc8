"""A refusal carries what it refused, and says it."""

from __future__ import annotations

from mvcc.errors import CompactedError, CorruptRecordError, FutureRevisionError, KeyNotFoundError


def test_a_refusal_says_in_words_what_it_carries() -> None:
    assert str(CompactedError(3, 4)) == "revision 3 is below compacted 4"
    assert str(FutureRevisionError(6, 5)) == "revision 6 is above current 5"
    missing = KeyNotFoundError(b"\xff")
    assert (str(missing), missing.key) == (r"no key b'\xff'", b"\xff")


def test_damage_names_the_column_and_the_row() -> None:
    damage = CorruptRecordError("key", b"\0\x01", "it is torn")
    assert str(damage) == "corrupt record in column 'key', key 0001: it is torn"
