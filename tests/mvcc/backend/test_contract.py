"""What every backend does, run on both: the store is tested on one and runs on the other.

The last test is the strongest: any sequence of batches, scans and restarts must look the same
on the two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.backend.base import COLUMN_NAMES, Backend, Column
from mvcc.backend.errors import BackendClosedError, SpentBatchError
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from tests.support.quick import quick_directory

Row = tuple[bytes, bytes]


@pytest.fixture(params=["memory", "rocks"])
def unclosed(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """A backend that the test closes itself."""
    return MemoryBackend() if request.param == "memory" else RocksBackend.open(tmp_path / "db")


@pytest.fixture
def backend(unclosed: Backend) -> Iterator[Backend]:
    yield unclosed
    unclosed.close()


def put(backend: Backend, column: Column, *rows: Row) -> None:
    batch = backend.batch()
    for key, value in rows:
        batch.put(column, key, value)
    backend.write(batch)


def test_every_column_has_a_name_of_its_own_on_disk() -> None:
    spelled = tuple(column.name.replace("_", "").lower() for column in Column)
    assert spelled == tuple(name.lower() for name in COLUMN_NAMES)
    assert len(set(COLUMN_NAMES)) == len(COLUMN_NAMES)


def test_what_was_put_is_read_at_once(backend: Backend) -> None:
    put(backend, Column.KEY, (b"a", b"1"), (b"b", b""))
    assert backend.get(Column.KEY, b"a") == b"1"
    assert backend.get(Column.KEY, b"b") == b""
    assert backend.get(Column.KEY, b"c") is None


def test_giving_back_space_changes_nothing_that_can_be_read(backend: Backend) -> None:
    put(backend, Column.KEY, (b"a", b"1"), (b"b", b"2"))
    before = backend.sequence()
    for column in Column:
        backend.compact(column)
    backend.compact(Column.KEY, b"a", b"b")
    backend.prepare()
    assert list(backend.scan(Column.KEY)) == [(b"a", b"1"), (b"b", b"2")]
    assert backend.sequence() == before


def test_a_batch_is_invisible_until_it_is_written(backend: Backend) -> None:
    batch = backend.batch()
    batch.put(Column.KEY, b"a", b"1")
    assert backend.get(Column.KEY, b"a") is None
    assert list(backend.scan(Column.KEY)) == []
    backend.write(batch)
    assert list(backend.scan(Column.KEY)) == [(b"a", b"1")]


def test_columns_are_spaces_of_their_own(backend: Backend) -> None:
    batch = backend.batch()
    for column in Column:
        batch.put(column, b"same", column.name.encode())
    batch.delete(Column.META, b"same")
    backend.write(batch)
    expected = {column: column.name.encode() for column in Column}
    del expected[Column.META]
    assert {column: backend.get(column, b"same") for column in expected} == expected
    assert backend.get(Column.META, b"same") is None
    assert list(backend.scan(Column.LEASE)) == [(b"same", b"LEASE")]


def test_a_batch_applies_in_the_order_given(backend: Backend) -> None:
    batch = backend.batch()
    batch.put(Column.KEY, b"a", b"1")
    batch.delete(Column.KEY, b"a")
    batch.delete(Column.KEY, b"b")
    batch.put(Column.KEY, b"b", b"2")
    batch.put(Column.KEY, b"b", b"3")
    backend.write(batch)
    assert list(backend.scan(Column.KEY)) == [(b"b", b"3")]


def test_a_batch_counts_its_rows_and_their_bytes(backend: Backend) -> None:
    batch = backend.batch()
    assert (len(batch), batch.size_bytes) == (0, 0)
    batch.put(Column.KEY, b"key", b"value")
    batch.delete(Column.LEASE, b"gone")
    assert (len(batch), batch.size_bytes) == (2, 12)


def test_a_batch_is_written_once(backend: Backend) -> None:
    batch = backend.batch()
    batch.put(Column.KEY, b"a", b"1")
    backend.write(batch)
    with pytest.raises(SpentBatchError):
        backend.write(batch)
    assert backend.sequence() == 1


def test_deleting_what_is_not_there_is_harmless(backend: Backend) -> None:
    batch = backend.batch()
    batch.delete(Column.KEY, b"never")
    backend.write(batch)
    assert backend.get(Column.KEY, b"never") is None


def test_the_sequence_grows_by_one_with_every_row_written(backend: Backend) -> None:
    assert backend.sequence() == 0
    backend.write(backend.batch())
    assert backend.sequence() == 0
    put(backend, Column.KEY, (b"a", b"1"), (b"a", b"2"), (b"b", b"3"))
    assert backend.sequence() == 3
    batch = backend.batch()
    batch.delete(Column.LEASE, b"never")
    backend.write(batch)
    assert backend.sequence() == 4


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (b"", None, [b"", b"a", b"a\x00", b"b", b"\xff", b"\xff\xff"]),
        (b"a", b"b", [b"a", b"a\x00"]),  # The end is not in it.
        (b"a", b"a\x00", [b"a"]),  # One key.
        (b"a\x00", b"b\x00", [b"a\x00", b"b"]),  # The start is.
        (b"aa", b"az", []),
        (b"\xff", None, [b"\xff", b"\xff\xff"]),
        (b"", b"a", [b""]),
        (b"b", b"b", []),
        (b"b", b"a", []),  # Upside down.
        (b"a", b"", []),  # An empty end is a bound that nothing is below, not "no bound".
    ],
)
def test_a_scan_has_its_start_but_not_its_end(
    backend: Backend, start: bytes, end: bytes | None, expected: list[bytes]
) -> None:
    keys = [b"\xff", b"a\x00", b"b", b"", b"a", b"\xff\xff"]
    put(backend, Column.KEY, *((key, b"v" + key) for key in keys))
    put(backend, Column.LEASE, (b"a", b"elsewhere"))
    assert list(backend.scan(Column.KEY, start, end)) == [(key, b"v" + key) for key in expected]


def test_a_scan_ends_at_its_end_whatever_the_memory_of_the_bound_is_used_for(
    backend: Backend,
) -> None:
    """RocksDB keeps a pointer to the bound, and the caller's own bytes are gone by then."""
    names = [b"row %02d" % number for number in range(20)]
    put(backend, Column.KEY, *((name, b"") for name in names))
    for number in range(20):
        rows = backend.scan(Column.KEY, b"", b"row %02d" % number)
        others = [b"row %02d" % other for other in range(20)]  # As long, so in the same place.
        assert [key for key, _ in rows] == names[:number]
        assert others == names


def test_a_scan_is_as_of_the_call(backend: Backend) -> None:
    put(backend, Column.KEY, (b"a", b"1"), (b"b", b"1"), (b"c", b"1"))
    untouched = backend.scan(Column.KEY)
    begun = backend.scan(Column.KEY)
    assert next(begun) == (b"a", b"1")
    batch = backend.batch()
    batch.put(Column.KEY, b"b", b"2")
    batch.delete(Column.KEY, b"c")
    batch.put(Column.KEY, b"d", b"2")
    backend.write(batch)
    assert list(untouched) == [(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]
    assert list(begun) == [(b"b", b"1"), (b"c", b"1")]
    assert list(backend.scan(Column.KEY)) == [(b"a", b"1"), (b"b", b"2"), (b"d", b"2")]


def test_settling_changes_nothing_that_can_be_read(backend: Backend) -> None:
    rows = [(b"a", b"1"), (b"b", b"2")]
    put(backend, Column.KEY, rows[0])
    backend.settle()  # What is not durable yet.
    backend.sync()
    for _ in range(2):
        backend.settle()
        assert list(backend.scan(Column.KEY)) == rows[:1]
        assert backend.sequence() == 1
    put(backend, Column.KEY, rows[1])
    assert list(backend.scan(Column.KEY)) == rows


def test_sync_may_come_from_another_thread(backend: Backend) -> None:
    done: list[bool] = []

    def work() -> None:
        for _ in range(20):
            backend.sync()
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    for number in range(200):
        put(backend, Column.KEY, (number.to_bytes(2, "big"), b""))
    thread.join()
    assert done == [True]
    assert backend.sequence() == 200


@pytest.mark.parametrize(
    "use",
    [
        lambda backend: backend.get(Column.KEY, b"a"),
        lambda backend: list(backend.scan(Column.KEY)),
        lambda backend: backend.sync(),
        lambda backend: backend.prepare(),
        lambda backend: backend.compact(Column.KEY),
        lambda backend: backend.sequence(),
        lambda backend: backend.close(),
    ],
    ids=["get", "scan", "sync", "prepare", "compact", "sequence", "close"],
)
def test_a_closed_backend_refuses(unclosed: Backend, use: Callable[[Backend], object]) -> None:
    put(unclosed, Column.KEY, (b"a", b"1"))
    unclosed.close()
    with pytest.raises(BackendClosedError):
        use(unclosed)


def test_a_closed_backend_refuses_a_batch_that_was_filled_before(unclosed: Backend) -> None:
    batch = unclosed.batch()
    batch.put(Column.KEY, b"a", b"1")
    unclosed.close()
    with pytest.raises(BackendClosedError):
        unclosed.write(batch)


KEYS = st.binary(max_size=2) | st.sampled_from([b"a", b"b", b"\xff", b"\xff\xff"])
COLUMNS = st.sampled_from(Column)
BATCHES = st.lists(st.tuples(COLUMNS, KEYS, st.none() | st.binary(max_size=3)), max_size=6)
SCANS = st.tuples(COLUMNS, KEYS, st.none() | KEYS)
STEPS = st.lists(
    st.tuples(st.just("write"), BATCHES)
    | st.tuples(st.just("scan"), SCANS)
    | st.tuples(st.just("restart"), st.none()),
    max_size=12,
)


def fill(backend: Backend, rows: list[tuple[Column, bytes, bytes | None]]) -> tuple[int, int]:
    batch = backend.batch()
    for column, key, value in rows:
        if value is None:
            batch.delete(column, key)
        else:
            batch.put(column, key, value)
    size = (len(batch), batch.size_bytes)
    backend.write(batch)
    return size


@pytest.mark.timeout(240)  # Each step may be a restart.
@given(steps=STEPS)
def test_any_history_looks_the_same_on_both(steps: list[tuple[str, object]]) -> None:
    """RocksDB is restarted on the way. Scans are left open over the writes that follow them."""
    with quick_directory() as directory:
        memory, rocks = MemoryBackend(), RocksBackend.open(Path(directory))
        scans: list[tuple[Iterator[Row], Iterator[Row]]] = []
        for step, argument in [*steps, ("restart", None)]:
            if step == "write":
                assert fill(memory, argument) == fill(rocks, argument)  # type: ignore[arg-type]  # by step
            elif step == "scan":
                scans.append((memory.scan(*argument), rocks.scan(*argument)))  # type: ignore[misc]  # by step
            else:
                for expected, found in scans:
                    assert list(found) == list(expected)
                scans.clear()
                rocks.close()
                rocks = RocksBackend.open(Path(directory))
            assert rocks.sequence() == memory.sequence()
            for column in Column:
                assert list(rocks.scan(column)) == list(memory.scan(column))
        rocks.close()
