"""What RocksDB makes of torn and flipped bytes and of a full disk, and that we notice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mvcc.backend.base import Column
from mvcc.backend.errors import (
    BackendCorruptError,
    BackendError,
    BackendIOError,
    StoreShortError,
)
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from tests.mvcc.backend.support import (
    files_limited_to,
    flip_a_bit,
    numbers,
    put,
    the_log,
    write_and_die,
)

# --- damage ---


def test_a_torn_tail_starts_without_what_was_torn(tmp_path: Path) -> None:
    write_and_die(tmp_path, 50)
    log = the_log(tmp_path / "db")
    os.truncate(log, log.stat().st_size - 1)
    backend = RocksBackend.open(tmp_path / "db")
    assert numbers(backend) == list(range(1, 50))
    assert backend.sequence() == 49
    backend.close()


def test_a_flipped_bit_in_the_log_is_dropped_silently_and_the_mark_notices(tmp_path: Path) -> None:
    """Recovery to a point in time takes the bit for the end of the log. Hence the mark."""
    write_and_die(tmp_path, 50)
    log = the_log(tmp_path / "db")
    flip_a_bit(log, log.stat().st_size // 2)
    backend = RocksBackend.open(tmp_path / "db")
    left = numbers(backend)
    assert left == list(range(1, len(left) + 1))
    assert 20 <= len(left) <= 30
    assert backend.sequence() == len(left)
    mark = Mark.open(tmp_path / "mark")
    with pytest.raises(StoreShortError) as short:
        mark.check(recovered_revision=left[-1], recovered_sequence=backend.sequence())
    assert short.value.acknowledged_revision == 50
    mark.close()
    backend.close()


def test_what_a_store_holds_is_told_without_changing_a_byte(tmp_path: Path) -> None:
    """Opening deletes the log with all that it could not read, which may still be saved."""
    path = tmp_path / "db"
    assert RocksBackend.stored_sequence(path) == 0
    assert not path.exists()
    write_and_die(tmp_path, 50)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert RocksBackend.stored_sequence(path) == 50
    flip_a_bit(the_log(path), len(before[the_log(path).name]) // 2)
    before[the_log(path).name] = the_log(path).read_bytes()
    left = RocksBackend.stored_sequence(path)
    assert 20 <= left <= 30
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    mark = Mark.open(tmp_path / "mark")
    with pytest.raises(StoreShortError, match=f"ends at sequence {left}, ") as short:
        mark.check_sequence(left)
    assert short.value.recovered_revision is None
    mark.check_sequence(50)
    mark.close()
    backend = RocksBackend.open(path)
    assert backend.sequence() == left
    backend.close()


def test_a_store_that_makes_no_sense_cannot_say_what_it_holds(tmp_path: Path) -> None:
    write_and_die(tmp_path, 1)
    (manifest,) = (tmp_path / "db").glob("MANIFEST-*")
    manifest.unlink()
    with pytest.raises(BackendError, match=manifest.name):
        RocksBackend.stored_sequence(tmp_path / "db")


def test_an_undamaged_store_agrees_with_its_mark_after_kill_9(tmp_path: Path) -> None:
    write_and_die(tmp_path, 50)
    backend = RocksBackend.open(tmp_path / "db")
    mark = Mark.open(tmp_path / "mark")
    assert (mark.revision, mark.sequence) == (50, backend.sequence())
    mark.check(recovered_revision=numbers(backend)[-1], recovered_sequence=backend.sequence())
    mark.close()
    backend.close()


def test_a_row_that_cannot_be_read_is_not_taken_for_the_end(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    for number in range(1, 2001):
        put(backend, Column.KEY, number, number.to_bytes(8, "big") * 20)
    backend.close()
    RocksBackend.open(tmp_path).close()  # Replays the log into a file of its own.
    table = max(tmp_path.glob("*.sst"), key=lambda file: file.stat().st_size)
    flip_a_bit(table, table.stat().st_size // 2)
    backend = RocksBackend.open(tmp_path)
    scan = backend.scan(Column.KEY)
    seen: list[int] = []
    with pytest.raises(BackendCorruptError, match="block checksum mismatch"):
        seen.extend(int.from_bytes(key, "big") for key, _ in scan)
    assert 0 < len(seen) < 2000
    lost = (seen[-1] + 1).to_bytes(8, "big")
    with pytest.raises(BackendCorruptError, match="block checksum mismatch"):
        backend.get(Column.KEY, lost)
    with pytest.raises(BackendCorruptError, match="block checksum mismatch"):
        list(backend.scan(Column.KEY, lost))  # Even if it is the first row that is asked for.
    backend.close()


def test_a_manifest_that_makes_no_sense_is_corruption(tmp_path: Path) -> None:
    RocksBackend.open(tmp_path).close()
    (manifest,) = tmp_path.glob("MANIFEST-*")
    # In a record's content. One that claims to be longer than the file is taken for a torn tail.
    flip_a_bit(manifest, manifest.read_bytes().index(b"lease"))
    with pytest.raises(BackendCorruptError):
        RocksBackend.open(tmp_path)


# --- a full disk ---


def test_a_write_that_does_not_fit_fails_and_so_does_all_that_follows(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path / "db")
    put(backend, Column.KEY, 1)
    backend.sync()
    with files_limited_to(the_log(tmp_path / "db").stat().st_size + 150):
        put(backend, Column.KEY, 2)
        with pytest.raises(BackendIOError, match="File too large") as failure:
            put(backend, Column.KEY, 3)
        assert failure.value.path == tmp_path / "db"
    # There is room again. But the log may end in half a record, so nothing may come after it.
    with pytest.raises(BackendIOError):
        put(backend, Column.KEY, 4)
    with pytest.raises(BackendIOError):
        backend.sync()
    assert numbers(backend) == [1, 2]
    assert backend.sequence() == 2
    with pytest.raises(BackendIOError):
        backend.close()
    # All the same it let go of the directory, and what fitted is there.
    backend = RocksBackend.open(tmp_path / "db")
    assert numbers(backend) == [1, 2]
    assert backend.sequence() == 2
    put(backend, Column.KEY, 3)
    backend.sync()
    backend.close()
