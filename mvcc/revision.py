"""A revision's bytes on disk: the key of every row in the `key` column.

17 bytes, as etcd's server/storage/mvcc/revision.go lays them out: 8 bytes big-endian main,
`_`, 8 bytes big-endian sub; a tombstone has a `t` behind. Byte order is therefore the order
in which the changes were made, and HashKV can agree with etcd's bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final

from mvcc.errors import CorruptRecordError

_LAYOUT: Final = Struct(">QcQ")
_SEPARATOR: Final = b"_"
_TOMBSTONE: Final = b"t"
_LENGTH: Final = 17
_MAIN_BYTES: Final = 8
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


def decode_all(row_keys: Sequence[bytes]) -> Iterable[tuple[int, int, bool]]:
    """`decode` of each.

    Raises:
        CorruptRecordError: one is no revision.
    """
    joined = b"".join(row_keys)
    count = len(row_keys)
    if {*map(len, row_keys)} != {_LENGTH} or joined[_MAIN_BYTES::_LENGTH] != _SEPARATOR * count:
        return list(map(decode, row_keys))  # There are tombstones, or what is to be refused.
    return [(main, sub, False) for main, _, sub in _LAYOUT.iter_unpack(joined)]
