"""A batch as bytes: what stands in the journal, row by row, in the order given."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

_ROW: Final = Struct("<BII")  # The column, sizes of key and value.
DELETED: Final = 0x80  # Beside the column: the row is to go, and has no value.
# What stands before key and value of a row, made of these three numbers.
row_head: Final = _ROW.pack


def decode_rows(payload: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Column, key and value of each row; None for a value is a deletion."""
    at = 0
    while at < len(payload):
        column, key_bytes, value_bytes = _ROW.unpack_from(payload, at)
        at += _ROW.size
        key = payload[at : at + key_bytes]
        at += key_bytes
        if column & DELETED:
            yield column & ~DELETED, key, None
        else:
            yield column, key, payload[at : at + value_bytes]
            at += value_bytes
