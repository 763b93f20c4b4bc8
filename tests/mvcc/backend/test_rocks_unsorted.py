"""The family of leases, whose rows RocksDB sorts when it writes them out and not before."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from shutil import disk_usage

import pytest

from mvcc.backend import rocks, rocks_options, rocks_scan
from mvcc.backend.base import Column
from mvcc.backend.errors import BackendClosedError, BackendError
from mvcc.backend.rocks import RocksBackend
from mvcc.backend.rocks_options import UNSORTED
from mvcc.backend.rocks_scan import UNSORTED_ROWS_MAX
from tests.mvcc.backend.support import put


def _put_many(backend: RocksBackend, column: Column, numbers: list[int]) -> None:
    batch = backend.batch()
    for number in numbers:
        batch.put(column, number.to_bytes(8, "big"), b"%d" % number)
    backend.write(batch)
    backend.sync()
    backend.settle()


def test_only_leases_are_kept_unsorted(tmp_path: Path) -> None:
    RocksBackend.open(tmp_path).close()
    families = max(tmp_path.glob("OPTIONS-*")).read_text().split('[CFOptions "')[1:]
    unsorted = {family[: family.index('"')] for family in families if "=VectorRepFactory" in family}
    assert unsorted == {"lease"}
    assert {Column.LEASE} == UNSORTED


def test_a_scan_is_in_order_whatever_is_written_out_and_whatever_not(tmp_path: Path) -> None:
    backend, rng = RocksBackend.open(tmp_path), random.Random(7)
    numbers = rng.sample(range(100_000), 3 * UNSORTED_ROWS_MAX)
    written, rest = numbers[: 2 * UNSORTED_ROWS_MAX], numbers[2 * UNSORTED_ROWS_MAX :]
    _put_many(backend, Column.LEASE, written)
    backend.prepare()
    _put_many(backend, Column.LEASE, rest)
    batch = backend.batch()
    for number in (gone := {written[0], rest[0]}):
        batch.delete(Column.LEASE, number.to_bytes(8, "big"))
    backend.write(batch)
    expected = [(n.to_bytes(8, "big"), b"%d" % n) for n in sorted(set(numbers) - gone)]
    assert list(backend.scan(Column.LEASE)) == expected
    assert backend.get(Column.LEASE, expected[0][0]) == expected[0][1]
    backend.close()
    backend = RocksBackend.open(tmp_path)
    assert list(backend.scan(Column.LEASE)) == expected
    backend.close()


@pytest.mark.parametrize("column", [Column.LEASE, Column.KEY])
def test_rows_are_written_out_before_a_scan_where_they_are_unsorted(
    tmp_path: Path, column: Column
) -> None:
    backend = RocksBackend.open(tmp_path)
    before = backend.tables()
    _put_many(backend, column, list(range(UNSORTED_ROWS_MAX)))
    backend.prepare()
    assert backend.tables() == before  # So few are sorted in no time.
    put(backend, column, UNSORTED_ROWS_MAX)
    backend.sync()
    backend.settle()
    backend.prepare()
    assert len(backend.tables() - before) == (column in UNSORTED)
    backend.prepare()
    assert len(backend.tables() - before) == (column in UNSORTED)
    backend.close()


def test_on_a_disk_that_is_all_but_full_nothing_is_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RocksDB takes no more rows once it has failed to, and a snapshot is wanted all the more."""
    assert rocks_scan.ROOM_BYTES > 2 * rocks_options.WRITE_BUFFER_BYTES
    backend = RocksBackend.open(tmp_path)
    before = backend.tables()
    _put_many(backend, Column.LEASE, list(range(UNSORTED_ROWS_MAX + 1)))
    monkeypatch.setattr(rocks, "ROOM_BYTES", disk_usage(tmp_path).total + 1)
    backend.prepare()
    assert backend.tables() == before
    assert len(list(backend.scan(Column.LEASE))) == UNSORTED_ROWS_MAX + 1
    monkeypatch.undo()
    backend.prepare()
    assert backend.tables() != before
    backend.close()


def test_rows_that_are_being_written_out_are_waited_for(tmp_path: Path) -> None:
    """A scan would sort them, or wait for who does."""
    backend = RocksBackend.open(tmp_path)
    _put_many(backend, Column.LEASE, random.Random(7).sample(range(1 << 32), 50_000))
    family = backend._families[Column.LEASE]
    family.flush(False)
    backend.prepare()
    assert family.property_int_value(rocks_scan.UNFLUSHED) == 0
    backend.close()


@pytest.mark.parametrize("work", ["prepare", "compact"])
def test_it_closes_while_another_thread_is_at_work_in_it(
    tmp_path: Path, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member is told to end while it is defragmented, or a snapshot is prepared for."""
    monkeypatch.setattr(rocks_scan, "UNSORTED_ROWS_MAX", -1)
    works: dict[str, Callable[[RocksBackend], None]] = {
        "prepare": lambda backend: backend.prepare(),
        "compact": lambda backend: backend.compact(Column.LEASE),
    }
    backend = RocksBackend.open(tmp_path)
    _put_many(backend, Column.LEASE, list(range(2 * UNSORTED_ROWS_MAX)))
    is_at_work, is_over = threading.Event(), threading.Event()
    ends: list[Exception] = []

    def at_work() -> None:
        try:
            while not is_over.is_set():
                works[work](backend)
                is_at_work.set()
        except BackendError as error:
            ends.append(error)

    thread = threading.Thread(target=at_work)
    thread.start()
    is_at_work.wait()
    try:
        backend.close()
    finally:
        is_over.set()
        thread.join()
    assert [type(end) for end in ends] in ([], [BackendClosedError])
    backend = RocksBackend.open(tmp_path)
    assert len(list(backend.scan(Column.LEASE))) == 2 * UNSORTED_ROWS_MAX
    backend.close()
