"""Logs as RocksDB writes them, read without it."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import google_crc32c
import pytest

from mvcc.backend.base import Column
from mvcc.backend.rocks import RocksBackend
from mvcc.backend.wal import BLOCK_BYTES, LogBatch, read_log, torn_bytes_of


def record(kind: int, payload: bytes, number: int | None = None) -> bytes:
    """One record; with a number it is one of a log that may be recycled."""
    body = bytes([kind if number is None else kind + 4])
    body += b"" if number is None else struct.pack("<I", number)
    crc = google_crc32c.value(body + payload)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFF_FFFF
    return struct.pack("<IH", masked, len(payload)) + body + payload


def batch(sequence: int, *rows: bytes, count: int | None = None) -> bytes:
    return struct.pack("<QI", sequence, len(rows) if count is None else count) + b"".join(rows)


PUT = b"\x05\x02\x01k\x01v"  # Family 2, k = v.


def log(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "000007.log"
    path.write_bytes(data)
    return path


def test_what_rocksdb_has_written_is_read(tmp_path: Path) -> None:
    """Batches of all sizes: within a block, over many, and up to the last bytes of one."""
    backend = RocksBackend.open(tmp_path)
    chance = random.Random(1)
    expected = []
    for number in range(200):
        size = chance.choice([0, 10, 200, 9_000, 90_000])
        value = chance.randbytes(size)
        rows = backend.batch()
        rows.put(Column.LEASE, b"%d" % number, value)
        rows.delete(Column.META, b"gone")
        backend.write(rows)
        expected.append((1 + 2 * number, [(b"%d" % number, value), (b"gone", None)]))
    backend.sync()
    (path,) = [each for each in tmp_path.glob("*.log") if each.stat().st_size]
    found = read_log(path)
    assert found.unread_bytes == 0
    assert [(b.sequence, [row[1:] for row in b.rows]) for b in found.batches] == expected
    assert len({row[0] for b in found.batches for row in b.rows}) == 2
    (manifest,) = tmp_path.glob("MANIFEST-*")
    assert torn_bytes_of(manifest) == 0
    backend.close()


def test_families_and_the_log_s_own_number_are_read(tmp_path: Path) -> None:
    rows = [PUT, b"\x04\x02\x01k", b"\x01\x01k\x00", b"\x00\x01k", b"\x05\x80\x01\x01k\x00"]
    found = read_log(log(tmp_path, record(1, batch(9, *rows), number=7)))
    assert found.batches == [
        LogBatch(9, [(2, b"k", b"v"), (2, b"k", None), (0, b"k", b""), (0, b"k", None),
                     (128, b"k", b"")])
    ]  # fmt: skip
    assert found.unread_bytes == 0


WHOLE = record(1, batch(1, PUT))


@pytest.mark.parametrize(
    "end",
    [
        WHOLE[:-1],
        WHOLE[:5],
        WHOLE[:-1] + b"x",
        record(1, batch(2, PUT), number=6),
        record(9, batch(2, PUT)),
        record(3, batch(2, PUT)),
        record(2, batch(2, PUT)) + record(1, batch(3, PUT)),
        record(2, batch(2, PUT)),
        record(1, batch(2, PUT, count=2)),
        record(1, batch(2, b"\x0d\x01k")),
        record(1, batch(2, b"\x05\x02\x01k")),
        record(1, b"short"),
        bytes(100),
    ],
)
def test_what_is_no_batch_ends_the_log(tmp_path: Path, end: bytes) -> None:
    found = read_log(log(tmp_path, WHOLE + end))
    assert found.batches == [LogBatch(1, [(2, b"k", b"v")])]
    assert found.unread_bytes == len(end)


def test_the_end_of_a_block_has_no_room_for_a_header(tmp_path: Path) -> None:
    value_bytes = BLOCK_BYTES - 7 - 12 - 6 - 6
    filled = record(1, batch(1, b"\x01\x01k\xe1\xff\x01" + bytes(value_bytes)))
    assert len(filled) == BLOCK_BYTES - 6
    found = read_log(log(tmp_path, filled + bytes(6) + WHOLE))
    assert len(found.batches) == 2
    assert found.unread_bytes == 0


@pytest.mark.parametrize(
    ("end", "torn_bytes"), [(b"", 0), (bytes(50), 0), (WHOLE[:-3], len(WHOLE) - 3)]
)
def test_only_what_was_written_is_a_torn_end_of_a_manifest(
    tmp_path: Path, end: bytes, torn_bytes: int
) -> None:
    path = tmp_path / "MANIFEST-000001"
    path.write_bytes(WHOLE + end)
    assert torn_bytes_of(path) == torn_bytes
