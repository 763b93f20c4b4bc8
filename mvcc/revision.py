"""A revision's bytes on disk: the key of every row in the `key` column.

17 bytes, as etcd's server/storage/mvcc/revision.go lays them out: 8 bytes big-endian main,
`_`, 8 bytes big-endian sub; a tombstone has a `t` behind. Byte order is therefore the order
in which the changes were made, and HashKV can agree with etcd's bit for bit.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from mvcc.errors import CorruptRecordError

_LAYOUT: Final = Struct(">QcQ")
_SEPARATOR: Final = b"_"
_TOMBSTONE: Final = b"t"
_LENGTH: Final = 17
_pack: Final = _LAYOUT.pack
_unpack: Final = _LAYOUT.unpack_from


def encode(main: int, sub: int) -> bytes:
    """The key of a row that holds a value; also a bound for scans."""
    return _pack(main, _SEPARATOR, sub)


def encode_tombstone(main: int, sub: int) -> bytes:
    return _pack(main, _SEPARATOR, sub) + _TOMBSTONE


def decode(row_key: bytes) -> tuple[int, int, bool]:
    """(main, sub, is it a tombstone).

    Raises:
        CorruptRecordError: it is no revision.
    """
    length = len(row_key)
    if length == _LENGTH or (length == _LENGTH + 1 and row_key[_LENGTH:] == _TOMBSTONE):
        main, separator, sub = _unpack(row_key)
        if separator == _SEPARATOR:
            return main, sub, length != _LENGTH
    raise CorruptRecordError("key", row_key, "the row's key is no revision")
