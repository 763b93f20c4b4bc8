"""What is RocksDB's alone: restarts, locks, and the bounds it was given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rocksdict import Rdict

from mvcc.backend import rocks, rocks_options
from mvcc.backend.base import COLUMN_NAMES, Column
from mvcc.backend.errors import (
    BackendClosedError,
    BackendCorruptError,
    BackendIOError,
    BackendLockedError,
    NewerFormatError,
)
from mvcc.backend.journal import find
from mvcc.backend.rocks import RocksBackend
from tests.mvcc.backend.support import (
    VALUE,
    numbers,
    put,
)
from tests.support.stored import stored_sequence

# --- restarts ---


def test_rows_and_sequence_survive_a_restart(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path / "made" / "on the way")
    put(backend, Column.KEY, 1)
    put(backend, Column.ALARM, 2)
    backend.close()
    for _ in range(3):  # The second time there is nothing left to replay.
        backend = RocksBackend.open(tmp_path / "made" / "on the way")
        assert backend.sequence() == 2
        assert numbers(backend) == [1]
        assert backend.get(Column.ALARM, (2).to_bytes(8, "big")) == VALUE
        backend.close()


def killed(script: str, directory: Path, *, lines: int) -> int:
    """Run a script until it has printed so many numbers, then kill -9; the last of them."""
    command = [sys.executable, "-c", script, os.fspath(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(lines)]
        process.kill()
    return told[-1]


@pytest.mark.power
def test_a_batch_survives_kill_9_in_every_column_or_in_none(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys, threading\n"
        "from mvcc.backend.base import Column\n"
        "from mvcc.backend.rocks import RocksBackend\n"
        "backend = RocksBackend.open(pathlib.Path(sys.argv[1]))\n"
        "number = backend.sequence() // 3\n"
        "while True:\n"
        "    number += 1\n"
        "    batch = backend.batch()\n"
        "    for column in (Column.KEY, Column.LEASE, Column.META):\n"
        "        batch.put(column, number.to_bytes(8, 'big'), b'v' * 100)\n"
        "    backend.write(batch)\n"
        "    if number % 100 == 0:\n"
        "        backend.sync()\n"
        "        print(number, flush=True)\n"
    )
    for _ in range(3):
        acknowledged = killed(script, tmp_path, lines=7)
        backend = RocksBackend.open(tmp_path)
        found = numbers(backend)
        assert len(found) >= acknowledged
        assert found == list(range(1, len(found) + 1))
        for column in (Column.LEASE, Column.META):
            assert [int.from_bytes(key, "big") for key, _ in backend.scan(column)] == found
        assert backend.sequence() == 3 * len(found)
        backend.close()


@pytest.mark.power
def test_kill_9_at_any_turn_of_the_journal_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from mvcc.backend import journal\n"
        "from mvcc.backend.base import Column\n"
        "from mvcc.backend.rocks import RocksBackend\n"
        "journal.FILE_BYTES = 1 << 14\n"
        "backend = RocksBackend.open(pathlib.Path(sys.argv[1]))\n"
        "number = backend.sequence() // 2\n"
        "while True:\n"
        "    number += 1\n"
        "    batch = backend.batch()\n"
        "    batch.put(Column.KEY, number.to_bytes(8, 'big'), b'v' * 500)\n"
        "    batch.put(Column.LEASE, (number % 7).to_bytes(8, 'big'), number.to_bytes(8, 'big'))\n"
        "    backend.write(batch)\n"
        "    backend.sync()\n"
        "    if number % 50 == 0:\n"
        "        print(number, flush=True)\n"
    )
    for life in range(4):
        acknowledged = killed(script, tmp_path, lines=3 + life)  # A turn takes some 30 of them.
        backend = RocksBackend.open(tmp_path)
        found = numbers(backend)
        assert len(found) >= acknowledged
        assert found == list(range(1, len(found) + 1))
        assert backend.sequence() == 2 * len(found)
        newest = {number % 7: number for number in found}
        for key, value in backend.scan(Column.LEASE):
            assert int.from_bytes(value, "big") == newest[int.from_bytes(key, "big")]
        backend.close()


def test_rocksdb_is_given_a_batch_once_it_is_durable_and_somebody_has_time(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    before = backend._database.latest_sequence_number()
    put(backend, Column.KEY, 1)
    backend.settle()
    assert backend._database.latest_sequence_number() == before
    backend.sync()
    assert backend._database.latest_sequence_number() == before
    for _ in range(2):
        backend.settle()
        assert backend._database.latest_sequence_number() == before + 1
    backend.close()


def test_what_rocksdb_has_written_out_is_not_replayed(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    for number in range(1, 101):
        put(backend, Column.KEY, number)
    backend.close()
    found = find(tmp_path)
    assert found is not None
    assert (found.floor, found.last, found.records) == (100, 100, [])


def test_a_store_with_rocksdb_s_own_log_goes_on_with_a_journal(tmp_path: Path) -> None:
    """As versions wrote it that had no journal: format 1."""
    options = rocks_options.make_options()
    database = Rdict(str(tmp_path), options, dict.fromkeys(COLUMN_NAMES, options))
    database.get_column_family("key")[(1).to_bytes(8, "big")] = VALUE
    database.get_column_family("key")[(2).to_bytes(8, "big")] = VALUE
    database.flush_wal(True)
    shutil.copytree(tmp_path, tmp_path / "killed")
    path = tmp_path / "killed"
    assert stored_sequence(path) == 2
    backend = RocksBackend.open(path)
    assert numbers(backend) == [1, 2]
    assert backend.sequence() >= 2
    put(backend, Column.KEY, 3)
    backend.close()
    assert stored_sequence(path) >= 3
    backend = RocksBackend.open(path)
    assert numbers(backend) == [1, 2, 3]
    backend.close()


def test_rocksdb_that_has_less_than_it_wrote_out_is_damage(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    backend.close()
    shutil.copytree(tmp_path, tmp_path / "before")
    backend = RocksBackend.open(tmp_path)
    put(backend, Column.KEY, 1)
    backend.close()
    backend = RocksBackend.open(tmp_path)  # Begins a turn, behind what RocksDB has.
    put(backend, Column.KEY, 2)
    backend.sync()
    backend.close()
    for file in tmp_path.glob("journal.*"):
        shutil.copy(file, tmp_path / "before")
    with pytest.raises(BackendCorruptError, match="was written out"):
        RocksBackend.open(tmp_path / "before")


# --- the directory and its lock ---


def test_a_second_open_in_this_process_is_refused(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    with pytest.raises(BackendLockedError) as refusal:
        RocksBackend.open(tmp_path)
    assert refusal.value.path == tmp_path
    backend.close()


def test_a_second_open_in_another_process_is_refused(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    script = (
        "import pathlib, sys\n"
        "from mvcc.backend.errors import BackendLockedError\n"
        "from mvcc.backend.rocks import RocksBackend\n"
        "try:\n"
        "    RocksBackend.open(pathlib.Path(sys.argv[1]))\n"
        "except BackendLockedError as refusal:\n"
        "    print(refusal)\n"
    )
    command = [sys.executable, "-c", script, os.fspath(tmp_path)]
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert second.stdout == f"{tmp_path} is in use by another process\n"
    put(backend, Column.KEY, 1)  # The first is none the worse.
    backend.close()


def test_a_forgotten_scan_or_batch_does_not_keep_the_directory(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    put(backend, Column.KEY, 1)
    put(backend, Column.KEY, 2)
    begun, untouched, batch = backend.scan(Column.KEY), backend.scan(Column.KEY), backend.batch()
    batch.put(Column.KEY, b"a", b"1")
    next(begun)
    backend.close()
    RocksBackend.open(tmp_path).close()
    for scan in (begun, untouched):  # And what is left of them does not look like the end.
        with pytest.raises(BackendClosedError):
            next(scan)


def test_a_finished_or_abandoned_scan_is_not_remembered(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    put(backend, Column.KEY, 1)
    for _ in range(10):
        assert len(list(backend.scan(Column.KEY))) == 1
        next(backend.scan(Column.KEY))
    assert len(backend._cursors) == 0
    backend.close()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendIOError) as refusal:
        RocksBackend.open(tmp_path / "file")
    assert refusal.value.path == tmp_path / "file"
    assert "File exists" in refusal.value.reason


def test_a_column_family_of_a_newer_version_is_refused_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(rocks, "COLUMN_NAMES", (*COLUMN_NAMES, "tenant", "quota"))
        RocksBackend.open(tmp_path).close()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(NewerFormatError) as refusal:
        RocksBackend.open(tmp_path)
    assert (refusal.value.path, refusal.value.found) == (tmp_path, "column families quota, tenant")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("lacked", [Column.ALARM, Column.AUTH])
def test_column_families_that_an_older_version_lacked_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacked: Column
) -> None:
    with monkeypatch.context() as older:
        older.setattr(rocks, "COLUMN_NAMES", COLUMN_NAMES[:lacked])
        backend = RocksBackend.open(tmp_path)
        put(backend, Column.KEY, 1)
        backend.close()
    assert stored_sequence(tmp_path) == 1
    backend = RocksBackend.open(tmp_path)
    put(backend, Column.AUTH_ROLES, 1)
    put(backend, lacked, 1)
    assert numbers(backend) == [1]
    backend.close()


@pytest.mark.parametrize("remains", ["000009.sst", "000012.log", "journal.0"])
def test_data_without_its_directory_is_refused_and_not_deleted(
    tmp_path: Path, remains: str
) -> None:
    """RocksDB by itself would start an empty store here, and delete the file as obsolete."""
    (tmp_path / remains).write_bytes(b"precious")
    with pytest.raises(BackendCorruptError) as refusal:
        RocksBackend.open(tmp_path)
    assert refusal.value.path == tmp_path
    assert refusal.value.reason == f"there is {remains}, but no CURRENT file"
    assert (tmp_path / remains).read_bytes() == b"precious"


def test_a_key_that_is_not_bytes_is_our_bug_and_not_the_disk_s(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    with pytest.raises(KeyError, match="only support bytes"):
        backend.get(Column.KEY, "text")  # type: ignore[arg-type]  # the point of the test
    backend.close()


# --- bounds ---


def test_rocksdb_understood_the_bounds_it_was_given(tmp_path: Path) -> None:
    RocksBackend.open(tmp_path).close()
    written = max(tmp_path.glob("OPTIONS-*")).read_text()
    settings = {line.strip() for line in written.splitlines()}
    assert settings >= {
        "db_write_buffer_size=25165824",
        "write_buffer_size=16777216",
        "max_write_buffer_number=6",
        "max_open_files=256",
        "max_log_file_size=1048576",
        "keep_log_file_num=4",
        "stats_dump_period_sec=0",
        "level0_slowdown_writes_trigger=200",
        "level0_stop_writes_trigger=400",
        "compression=kNoCompression",
        "bottommost_compression=kLZ4Compression",
    }


def test_rocksdb_s_diaries_are_bounded_in_number(tmp_path: Path) -> None:
    for _ in range(2 * rocks_options.INFO_LOGS_MAX):
        RocksBackend.open(tmp_path).close()
    assert len(list(tmp_path.glob("LOG*"))) == rocks_options.INFO_LOGS_MAX


def test_rocksdb_s_diaries_are_bounded_in_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size_bytes = 100_000  # Each begins with all of the options, some 60 KB.
    monkeypatch.setattr(rocks_options, "INFO_LOG_BYTES", size_bytes)
    monkeypatch.setattr(rocks_options, "WRITE_BUFFER_BYTES", 64 << 10)
    backend = RocksBackend.open(tmp_path)
    for number in range(1, 2001):  # A hundred flushes and more, each with its lines in the diary.
        put(backend, Column.KEY, number, VALUE * 100)
    backend.close()
    diaries = list(tmp_path.glob("LOG*"))
    assert 1 < len(diaries) <= rocks_options.INFO_LOGS_MAX
    assert max(diary.stat().st_size for diary in diaries) < size_bytes + 5_000


def test_a_copy_of_the_directory_is_a_store(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path / "db")
    put(backend, Column.KEY, 1)
    backend.close()
    shutil.copytree(tmp_path / "db", tmp_path / "copy")
    copy = RocksBackend.open(tmp_path / "copy")
    assert numbers(copy) == [1]
    copy.close()


def test_without_fsyncs_what_was_synced_has_left_the_process(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from mvcc.backend.base import Column\n"
        "from mvcc.backend.rocks import RocksBackend\n"
        "os.fdatasync = os.fsync = None\n"
        "backend = RocksBackend.open(pathlib.Path(sys.argv[1]), fsync=False)\n"
        "batch = backend.batch()\n"
        "batch.put(Column.KEY, (1).to_bytes(8, 'big'), b'v')\n"
        "backend.write(batch)\n"
        "backend.sync()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, os.fspath(tmp_path)], check=False)
    backend = RocksBackend.open(tmp_path)
    assert numbers(backend) == [1]
    backend.close()


def test_what_rocksdb_does_not_take_any_more_is_an_error_of_the_next_read(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path)
    put(backend, Column.KEY, 1)
    backend.sync()
    backend._database.close()
    with pytest.raises(BackendClosedError):
        backend.get(Column.KEY, b"")


def test_a_turn_waits_for_rocksdb_to_write_out_what_the_turn_before_began_with(
    tmp_path: Path,
) -> None:
    backend = RocksBackend.open(tmp_path)
    for number in range(1, 4):
        put(backend, Column.KEY, number)
        assert numbers(backend)[-1] == number
        backend._turn()
        assert backend._flushing == number
    assert backend._journal.floor == 2, "the turn before the last is written out"
    backend.close()
    backend = RocksBackend.open(tmp_path)
    assert numbers(backend) == [1, 2, 3]
    backend.close()
