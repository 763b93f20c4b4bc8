"""A batch as bytes: what stands in the journal, row by row, in the order given."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

_ROW: Final = Struct("<BII")  # The column, sizes of key and value.
_DELETED: Final = 0x80  # Beside the column: the row is to go, and has no value.
_pack: Final = _ROW.pack


def row_head(column: int, key: bytes, value: bytes) -> bytes:
    """What stands before key and value of a row that is put."""
    return _pack(column, len(key), len(value))


def deletion_head(column: int, key: bytes) -> bytes:
    """What stands before the key of a row that is deleted."""
    return _pack(column | _DELETED, len(key), 0)


def decode_rows(payload: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Column, key and value of each row; None for a value is a deletion."""
    at = 0
    while at < len(payload):
        column, key_bytes, value_bytes = _ROW.unpack_from(payload, at)
        at += _ROW.size
        key = payload[at : at + key_bytes]
        at += key_bytes
        if column & _DELETED:
            yield column & ~_DELETED, key, None
        else:
            yield column, key, payload[at : at + value_bytes]
            at += value_bytes
