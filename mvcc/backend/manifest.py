"""Whether RocksDB's MANIFEST ends as it was written, read without RocksDB.

It is made of blocks of 32 KiB; a record does not cross their borders but in fragments:

    checksum u32   masked CRC-32C of all that follows
    length   u16   of the payload
    type     u8    whole, first, middle, last

All integers are little-endian. What the payloads say is RocksDB's matter.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import google_crc32c

from mvcc.backend.errors import BackendCorruptError

BLOCK_BYTES: Final = 32 << 10
_HEADER: Final = struct.Struct("<IHB")
_COVERED_AT: Final = 6  # Where the part of a header begins that its checksum covers.
_WHOLE, _FIRST, _LAST = 1, 2, 4
_MASK_DELTA: Final = 0xA282EAD8


def refuse_torn_manifest(store: Path) -> None:
    """RocksDB takes a last record of the MANIFEST that is too long for a torn one, and forgets it.

    One flipped bit in its length is enough, and a table is gone; no sequence number shows it. A
    power cut may leave such a record too, but only in the moment in which it was written.

    Raises:
        BackendCorruptError: the one that CURRENT names does not end in a whole record.
    """
    current = store / "CURRENT"
    if not current.exists():
        return
    manifest = store / current.read_text(encoding="ascii", errors="replace").strip()
    if manifest.is_file() and (torn_bytes := torn_bytes_of(manifest)):
        reason = f"{manifest.name}: {torn_bytes} bytes at its end make no sense"
        raise BackendCorruptError(store, reason)


def torn_bytes_of(manifest: Path) -> int:
    """How many bytes at the end of a MANIFEST are no whole record.

    Zeros do not count: room that was never written.
    """
    data = manifest.read_bytes()
    whole_bytes = _whole_bytes(data)
    return len(data) - whole_bytes if any(data[whole_bytes:]) else 0


def _whole_bytes(data: bytes) -> int:
    """Where the last record ends before the first thing that is none."""
    at = whole = 0
    is_within = False  # Of a record, between its first fragment and its last.
    while at < len(data):
        if BLOCK_BYTES - at % BLOCK_BYTES < _HEADER.size:
            at += BLOCK_BYTES - at % BLOCK_BYTES  # A block's end has no room for a header.
            continue
        fragment = _fragment(data, at)
        if fragment is None:
            break
        kind, at = fragment
        if (kind in (_WHOLE, _FIRST)) == is_within:
            break
        is_within = kind not in (_WHOLE, _LAST)
        if not is_within:
            whole = at
    return whole


def _fragment(data: bytes, at: int) -> tuple[int, int] | None:
    """The type of the fragment there, and where the next one is; None if it is none."""
    body = at + _HEADER.size
    if body > len(data):
        return None
    checksum, length, kind = _HEADER.unpack_from(data, at)
    end = body + length
    if not _WHOLE <= kind <= _LAST or end > len(data):
        return None
    crc = google_crc32c.value(data[at + _COVERED_AT : end])
    if (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFF_FFFF != checksum:
        return None
    return kind, end
