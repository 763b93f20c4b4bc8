"""RocksDB's write-ahead logs, read without RocksDB: for a store whose MANIFEST is damaged.

A log is made of blocks of 32 KiB; a record does not cross their borders but in fragments:

    checksum u32   masked CRC-32C of all that follows
    length   u16   of the payload
    type     u8    whole, first, middle, last; 5 to 8 for the same with the log's number behind
    number   u32   only there

A payload is one batch: sequence u64, count u32, then its puts and deletes, each with the number
of its column family. All integers are little-endian. Only what Tenure writes is understood.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c

BLOCK_BYTES: Final = 32 << 10
_HEADER: Final = struct.Struct("<IHB")
_NUMBER: Final = struct.Struct("<I")
_BATCH: Final = struct.Struct("<QI")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_RECYCLABLE: Final = 4  # Added to a type whose header holds the log's number.
_MASK_DELTA: Final = 0xA282EAD8
_DELETE, _PUT, _FAMILY_DELETE, _FAMILY_PUT = 0, 1, 4, 5
_IN_FAMILY: Final = (_FAMILY_DELETE, _FAMILY_PUT)


@dataclass(frozen=True, slots=True)
class LogBatch:
    sequence: int  # Of its first row.
    rows: list[tuple[int, bytes, bytes | None]]  # Family, key, value; None deletes.


@dataclass(frozen=True, slots=True)
class Log:
    batches: list[LogBatch]
    unread_bytes: int  # Behind the first byte that makes no sense; 0 if all does.


def read_log(path: Path) -> Log:
    """All batches up to the first thing that is none."""
    data = path.read_bytes()
    batches: list[LogBatch] = []
    whole_bytes = 0
    for payload, end in _payloads(data, int(path.stem)):
        batch = _batch(payload)
        if batch is None:
            break
        batches.append(batch)
        whole_bytes = end
    return Log(batches, len(data) - whole_bytes)


def torn_bytes_of(manifest: Path) -> int:
    """How many bytes at the end of a MANIFEST, which is such a log too, are no whole record.

    Zeros do not count: room that was never written.
    """
    data = manifest.read_bytes()
    whole_bytes = max((end for _, end in _payloads(data, 0)), default=0)
    return len(data) - whole_bytes if any(data[whole_bytes:]) else 0


def _payloads(data: bytes, number: int) -> Iterator[tuple[bytes, int]]:
    """The payloads up to the first thing that is none, and where each ends."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        if BLOCK_BYTES - at % BLOCK_BYTES < _HEADER.size:
            at += BLOCK_BYTES - at % BLOCK_BYTES  # A block's end has no room for a header.
            continue
        record = _record(data, at, number)
        if record is None:
            return
        kind, payload, at = record
        if (kind in (_WHOLE, _FIRST)) == bool(parts):
            return
        parts.append(payload)
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts), at
            parts = []


def _record(data: bytes, at: int, number: int) -> tuple[int, bytes, int] | None:
    """Type and payload of the record there, and where the next one is; None if it is none."""
    body = at + _HEADER.size
    if body + _NUMBER.size > len(data):
        return None
    checksum, length, kind = _HEADER.unpack_from(data, at)
    if kind > _RECYCLABLE:
        kind -= _RECYCLABLE
        if _NUMBER.unpack_from(data, body)[0] != number:
            return None
        body += _NUMBER.size
    end = body + length
    if not _WHOLE <= kind <= _LAST or end > len(data):
        return None
    crc = google_crc32c.value(data[at + 6 : end])
    if (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFF_FFFF != checksum:
        return None
    return kind, data[body:end], end


def _batch(payload: bytes) -> LogBatch | None:
    """None if it is not one that Tenure wrote."""
    rows: list[tuple[int, bytes, bytes | None]] = []
    try:
        sequence, count = _BATCH.unpack_from(payload)
        at = _BATCH.size
        while at < len(payload):
            tag = payload[at]
            family, at = _varint(payload, at + 1) if tag in _IN_FAMILY else (0, at + 1)
            key, at = _bytes(payload, at)
            if tag in (_PUT, _FAMILY_PUT):
                value, at = _bytes(payload, at)
                rows.append((family, key, value))
            elif tag in (_DELETE, _FAMILY_DELETE):
                rows.append((family, key, None))
            else:
                return None
    except (struct.error, IndexError):
        return None
    return LogBatch(sequence, rows) if len(rows) == count else None


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _varint(data, at)
    return data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while data[at] & 0x80:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | data[at] << shift, at + 1
