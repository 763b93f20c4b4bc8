"""What RocksDB makes of torn and flipped bytes and of a full disk, and that we notice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rocksdict import Rdict

from mvcc.backend.base import COLUMN_NAMES, Column
from mvcc.backend.errors import (
    BackendCorruptError,
    BackendError,
    BackendIOError,
    StoreShortError,
)
from mvcc.backend.journal import FILE_NAMES, Journal
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from mvcc.backend.rocks_options import make_options
from mvcc.backend.rocks_scan import ours
from tests.mvcc.backend.support import (
    files_limited_to,
    flip_a_bit,
    numbers,
    put,
    the_journal,
    write_and_die,
)
from tests.support.stored import stored_sequence

# --- damage ---


def test_a_torn_tail_starts_without_what_was_torn(tmp_path: Path) -> None:
    write_and_die(tmp_path, 50)
    journal, end = the_journal(tmp_path / "db")
    os.truncate(journal, end - 1)
    backend = RocksBackend.open(tmp_path / "db")
    assert numbers(backend) == list(range(1, 50))
    assert backend.sequence() == 49
    backend.close()


def test_a_flipped_bit_in_the_journal_is_damage_and_nothing_is_touched(tmp_path: Path) -> None:
    write_and_die(tmp_path, 50)
    path = tmp_path / "db"
    journal, end = the_journal(path)
    flip_a_bit(journal, end // 2)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(BackendCorruptError, match="damaged at byte") as refusal:
        RocksBackend.open(path)
    assert refusal.value.path == journal
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_flipped_bit_in_the_newest_record_looks_torn_and_the_mark_notices(tmp_path: Path) -> None:
    write_and_die(tmp_path, 50)
    journal, end = the_journal(tmp_path / "db")
    flip_a_bit(journal, end - 1)
    backend = RocksBackend.open(tmp_path / "db")
    assert numbers(backend) == list(range(1, 50))
    mark = Mark.open(tmp_path / "mark")
    with pytest.raises(StoreShortError) as short:
        mark.check(recovered_revision=49, recovered_sequence=backend.sequence())
    assert short.value.acknowledged_revision == 50
    mark.close()
    backend.close()


def test_what_a_store_holds_is_told_without_changing_a_byte(tmp_path: Path) -> None:
    path = tmp_path / "db"
    assert stored_sequence(path) == 0
    assert not path.exists()
    write_and_die(tmp_path, 50)
    journal, end = the_journal(path)
    os.truncate(journal, end - 1)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert stored_sequence(path) == 49
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    mark = Mark.open(tmp_path / "mark")
    with pytest.raises(StoreShortError, match="ends at sequence 49, ") as short:
        mark.check_sequence(49)
    assert short.value.recovered_revision is None
    mark.check_sequence(50)
    mark.close()


def test_a_store_without_its_manifest_is_refused_by_name(tmp_path: Path) -> None:
    write_and_die(tmp_path, 1)
    (manifest,) = (tmp_path / "db").glob("MANIFEST-*")
    manifest.unlink()
    with pytest.raises(BackendError, match=manifest.name):
        RocksBackend.open(tmp_path / "db")


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


# --- a journal that is not there ---


def test_a_journal_that_is_gone_is_missed(tmp_path: Path) -> None:
    RocksBackend.open(tmp_path).close()
    for name in FILE_NAMES:
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(BackendCorruptError, match="its journal is missing"):
        RocksBackend.open(tmp_path)


def test_that_there_is_a_journal_is_noted_by_the_next_start_if_need_be(tmp_path: Path) -> None:
    """A power cut may come between the two; see tests/power."""
    options = make_options()
    Rdict(str(tmp_path), options, dict.fromkeys(COLUMN_NAMES, options)).close()
    made = Journal(tmp_path, None, sequence=0)
    made.begin(rocks_sequence=0)
    made.sync()
    made.close()
    backend = RocksBackend.open(tmp_path)
    put(backend, Column.KEY, 1)
    backend.close()
    for name in FILE_NAMES:
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(BackendCorruptError, match="its journal is missing"):
        RocksBackend.open(tmp_path)


# --- a full disk ---


def test_a_write_that_does_not_fit_fails_and_so_does_all_that_follows(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path / "db")
    put(backend, Column.KEY, 1)
    backend.sync()
    journal, end = the_journal(tmp_path / "db")
    with files_limited_to(end + 150):
        put(backend, Column.KEY, 2)
        backend.sync()
        put(backend, Column.KEY, 3)
        with pytest.raises(BackendIOError, match="File too large") as failure:
            backend.sync()
        assert failure.value.path == journal
    # There is room again. But the journal may end in half a record, so nothing may come after it.
    with pytest.raises(BackendIOError):
        put(backend, Column.KEY, 4)
    with pytest.raises(BackendIOError):
        backend.sync()
    with pytest.raises(BackendIOError):
        backend.get(Column.KEY, b"")
    with pytest.raises(BackendIOError):
        backend.close()
    # All the same it let go of the directory, and what fitted is there.
    backend = RocksBackend.open(tmp_path / "db")
    assert numbers(backend) == [1, 2]
    assert backend.sequence() == 2
    put(backend, Column.KEY, 3)
    backend.sync()
    backend.close()


def test_what_rocksdb_says_of_the_system_is_an_error_of_the_system() -> None:
    path = Path("store")
    error = ours(path, Exception("IO error: While fdatasync: 000009.sst: No space left on device"))
    assert type(error) is BackendIOError
    assert "No space left" in error.reason
    with pytest.raises(TypeError):
        ours(path, TypeError("a bug of ours"))
