"""The end of a MANIFEST, as RocksDB writes it and as damage leaves it."""

from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c
import pytest

from mvcc.backend.base import Column
from mvcc.backend.manifest import BLOCK_BYTES, torn_bytes_of
from mvcc.backend.rocks import RocksBackend
from tests.mvcc.backend.support import put


def fragment(kind: int, payload: bytes = b"payload") -> bytes:
    body = bytes([kind])
    crc = google_crc32c.value(body + payload)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFF_FFFF
    return struct.pack("<IH", masked, len(payload)) + body + payload


WHOLE = fragment(1)


def torn(tmp_path: Path, data: bytes) -> int:
    path = tmp_path / "MANIFEST-000001"
    path.write_bytes(data)
    return torn_bytes_of(path)


def test_what_rocksdb_has_written_ends_in_a_whole_record(tmp_path: Path) -> None:
    for number in range(1, 20):
        backend = RocksBackend.open(tmp_path)
        put(backend, Column.KEY, number)
        (manifest,) = tmp_path.glob("MANIFEST-*")
        assert torn_bytes_of(manifest) == 0
        backend.close()


@pytest.mark.parametrize(
    "end",
    [
        WHOLE[:-1],
        WHOLE[:5],
        WHOLE[:-1] + b"x",
        fragment(9),
        fragment(3),
        fragment(2) + WHOLE,
        fragment(2),
        fragment(2) + fragment(3),
    ],
)
def test_what_is_no_record_is_a_torn_end(tmp_path: Path, end: bytes) -> None:
    assert torn(tmp_path, WHOLE + end) == len(end)


@pytest.mark.parametrize(
    "end",
    [b"", bytes(50), WHOLE, fragment(2) + fragment(4), fragment(2) + fragment(3) + fragment(4)],
)
def test_records_of_any_number_of_fragments_are_whole_and_zeros_are_room(
    tmp_path: Path, end: bytes
) -> None:
    assert torn(tmp_path, WHOLE + end) == 0


def test_the_end_of_a_block_has_no_room_for_a_header(tmp_path: Path) -> None:
    filled = fragment(1, bytes(BLOCK_BYTES - 7 - 6))
    assert len(filled) == BLOCK_BYTES - 6
    assert torn(tmp_path, filled + bytes(6) + WHOLE) == 0
    assert torn(tmp_path, filled + bytes(6) + WHOLE[:-1]) == len(WHOLE) - 1 + 6
