"""RocksDB. Only this file, `rocks_options` and `rocks_scan` know it, and `rocks_salvage`.

What is always true:
  1. A column is a column family. Opening refuses a store with a family it does not know, before
     a byte is changed.
  2. A batch goes to the `journal` first, and to RocksDB once it is durable there: at the next
     `settle`, write or read. So RocksDB never holds what a power cut could still undo, whatever it
     writes out on its own account; and the loop waits for it only when the answers have left.
  3. `write` does not wait for the disk; `sync` does, and releases the GIL.
  4. A failed write poisons the journal: it refuses every later write until it is opened again.
     So a sequence number that was ever synced has everything before it.
  5. A scan either shows every row or raises. rocksdict's ready-made `items()` does not: it takes
     an unreadable block for the end of the data. Hence the bare iterator and its `status()`.
  6. After `close` nothing of ours refers to the database, so its directory can be opened again,
     even if a scan or a batch was forgotten half-way.

A store written before there was a journal has RocksDB's own log, which RocksDB replays to a point
in time: it drops, silently, everything after a flipped bit. `mark.Mark` is how that is noticed. And
RocksDB deletes that log, with what it dropped, as it opens; so `open` has the sequence checked
first: a store that is refused is left as it was found.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import disk_usage
from typing import Final

from rocksdict import (
    AccessType,
    ColumnFamily,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from mvcc.backend.base import COLUMN_NAMES, Batch, Column
from mvcc.backend.errors import (
    BackendClosedError,
    BackendCorruptError,
    BackendError,
    NewerFormatError,
    SpentBatchError,
)
from mvcc.backend.journal import FILE_NAMES, Found, Journal, find
from mvcc.backend.manifest import refuse_torn_manifest
from mvcc.backend.names import make_directory
from mvcc.backend.rocks_options import UNSORTED, make_all_options, make_options
from mvcc.backend.rocks_scan import ROOM_BYTES, UNFLUSHED, Closed, Cursor, ours, rows_at, write_out
from mvcc.backend.rows import DELETED, decode_rows, row_head

DEFAULT_FAMILY: Final = "default"  # RocksDB insists on it. It stays empty.

# A row in the family that stays empty otherwise: this store has a journal.
_JOURNAL_KEY: Final = b"journal"


class RocksBatch:
    """One RocksDB write batch, filled directly, and its rows as the journal has them."""

    __slots__ = ("_handles", "_parts", "_rows", "size_bytes")

    def __init__(self, handles: list[ColumnFamily]) -> None:
        self._handles = handles
        self._rows = WriteBatch(raw_mode=True)
        self._parts: list[bytes] = []
        self.size_bytes = 0

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        self._rows.put(key, value, self._handles[column])
        key_bytes, value_bytes = len(key), len(value)
        self._parts += (row_head(column, key_bytes, value_bytes), key, value)
        self.size_bytes += key_bytes + value_bytes

    def delete(self, column: Column, key: bytes) -> None:
        self._rows.delete(key, self._handles[column])
        key_bytes = len(key)
        self._parts += (row_head(column | DELETED, key_bytes, 0), key)
        self.size_bytes += key_bytes

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> tuple[WriteBatch, bytes]:
        """Give up the rows, in both forms. Only once; the batch is of no use afterwards.

        Raises:
            SpentBatchError: they have been taken.
        """
        try:
            rows = self._rows
            del self._rows
        except AttributeError:
            raise SpentBatchError from None
        return rows, b"".join(self._parts)


class RocksBackend:
    """See the module. Made by `open`; `sync` may be called from any thread, the rest from one."""

    def __init__(self, path: Path, database: Rdict, found: Found | None, *, fsync: bool) -> None:
        self._path = path
        self._database = database
        self._families = [database.get_column_family(name) for name in COLUMN_NAMES]
        # One list shared with every batch, so that emptying it frees the database.
        self._handles = [database.get_column_family_handle(name) for name in COLUMN_NAMES]
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # typed wrongly
        self._staged: WriteBatch | None = None  # In the journal, and not yet in RocksDB.
        self._outside = threading.Lock()  # Held by another thread, in the database without the GIL.
        self._flushing: int | None = None  # The sequence up to which RocksDB is writing out.
        sequence = database.latest_sequence_number()
        self._journal = Journal(path, found, sequence=sequence, fsync=fsync)

    def _begin(self, found: Found | None) -> None:
        """See that RocksDB has all that the journal has, and begin a turn of it.

        That the store has a journal is noted once there is one on the disk: a power cut between
        the two must not leave a store whose journal seems to be missing.
        """
        has_journal = self._database.get(_JOURNAL_KEY) is not None
        if found is None:
            if has_journal:
                raise BackendCorruptError(self._path, "its journal is missing")
        else:
            sequence = self._database.latest_sequence_number()
            if sequence < found.rocks_sequence:
                reason = f"it ends at {sequence}, where {found.rocks_sequence} was written out"
                raise BackendCorruptError(self._path, reason)
            self._replay(found)
        self._journal.begin(rocks_sequence=self._database.latest_sequence_number())
        if not has_journal:
            self._journal.sync()
            self._mark_journal()

    def _mark_journal(self) -> None:
        rows = WriteBatch(raw_mode=True)
        handle = self._database.get_column_family_handle(DEFAULT_FAMILY)
        rows.put(_JOURNAL_KEY, b"", handle)
        self._database.write(rows, self._unlogged)
        self._database.flush()

    def _replay(self, found: Found) -> None:
        """Give RocksDB what it may not have, let it write that out, and note that it has."""
        for record in found.records:
            rows = WriteBatch(raw_mode=True)
            for column, key, value in decode_rows(record.payload):
                if value is None:
                    rows.delete(key, self._handles[column])
                else:
                    rows.put(key, value, self._handles[column])
            self._database.write(rows, self._unlogged)
        self._flush_all()

    def _flush(self, *, wait: bool) -> None:
        try:
            for family in self._families:
                family.flush(wait)
        except Exception as error:
            raise ours(self._path, error) from error

    def _flush_all(self) -> None:
        """Wait until RocksDB has all on disk, and let the journal say so."""
        self._flush(wait=True)
        self._journal.floor = self._journal.sequence
        self._journal.append(b"", 0)
        self._journal.sync()

    @classmethod
    def open(
        cls, path: Path, *, fsync: bool = True, check: Callable[[int], None] | None = None
    ) -> RocksBackend:
        """Open the store in directory `path`, making directory and store if there is none.

        `fsync` False is for those who can lose it: nothing waits for the disk. `check` is given the
        sequence number that will be found, 0 without a store, before a byte is changed; it raises
        what is to be raised.

        Raises:
            NewerFormatError: it has column families that this version does not know.
            BackendLockedError: it is open already.
            BackendCorruptError: RocksDB or the journal cannot make sense of it.
            BackendIOError: the operating system refused.
        """
        try:
            if check is not None and not path.exists():
                check(0)  # Where a store is missed, no empty one is made in its place.
            make_directory(path)
            _refuse_remains(path)
            refuse_torn_manifest(path)
            _refuse_unknown(path)
            options, families = make_all_options(COLUMN_NAMES)
            found = find(path)
            if check is not None:
                check(_stored_sequence(path, found))
            database = Rdict(str(path), options, families)
            backend = cls(path, database, found, fsync=fsync)
            try:
                backend._begin(found)
            except BaseException:
                backend._let_go()
                raise
        except BackendError:
            raise
        except Exception as error:
            raise ours(path, error) from error
        return backend

    def get(self, column: Column, key: bytes) -> bytes | None:
        if self._staged is not None:
            self._hand_over()
        try:
            value: bytes | None = self._families[column].get(key)
        except Exception as error:
            raise ours(self._path, error) from error
        return value

    def scan(
        self, column: Column, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        if end is not None and end <= start:
            return iter(())
        if self._staged is not None:
            self._hand_over()
        options = ReadOptions()
        if end is not None:  # There is no lower bound to set: rocksdict's sets the upper one.
            options.set_iterate_upper_bound(end)
        try:
            iterator = self._families[column].iter(options)
            iterator.seek(start)
        except Exception as error:
            raise ours(self._path, error) from error
        cursor = Cursor(iterator, options)
        self._cursors.add(cursor)
        return rows_at(self._path, cursor)

    def batch(self) -> RocksBatch:
        return RocksBatch(self._handles)

    def write(self, batch: Batch) -> None:
        assert isinstance(batch, RocksBatch)
        rows, payload = batch.take()
        count = len(rows)
        if not count:
            return
        if self._staged is not None:
            self._hand_over()
        if self._flushing is not None:
            self._look_at_flush()
        if not self._journal.has_room(len(payload)):
            self._turn()
        self._journal.append(payload, count)
        self._staged = rows

    def sync(self) -> None:
        self._journal.sync()

    def settle(self) -> None:
        if self._staged is not None and self._journal.is_synced:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give RocksDB what was written last. It is durable by now, or is made so."""
        assert self._staged is not None
        if not self._journal.is_synced:
            self._journal.sync()
        rows, self._staged = self._staged, None
        try:
            self._database.write(rows, self._unlogged)
        except Exception as error:
            raise ours(self._path, error) from error

    def _turn(self) -> None:
        """Go on in the journal's other file, and let RocksDB write out what is in this one."""
        journal = self._journal
        if (
            self._flushing is not None
        ):  # Since 8 MiB ago: only a disk that hardly moves is met here.
            self._flush(wait=True)
            journal.floor, self._flushing = self._flushing, None
        journal.append(b"", 0)  # Which tells that the other file is done with.
        journal.sync()
        journal.begin(rocks_sequence=self._database.latest_sequence_number())
        self._flush(wait=False)
        self._flushing = journal.sequence

    def _look_at_flush(self) -> None:
        assert self._flushing is not None
        if all(family.property_int_value(UNFLUSHED) == 0 for family in self._families):
            self._journal.floor = self._flushing
            self._flushing = None

    def prepare(self) -> None:
        try:
            if disk_usage(self._path).free < ROOM_BYTES:
                return  # A snapshot may be what the operator wants most. It can wait a little.
            with self._outside:
                for column in UNSORTED:
                    write_out(self._families[column])
        except Exception as error:
            raise ours(self._path, error) from error

    def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:
        try:
            with self._outside:
                self._families[column].compact_range(start or None, end)
        except Exception as error:
            raise ours(self._path, error) from error

    def sequence(self) -> int:
        if not self._handles:
            raise BackendClosedError
        return self._journal.sequence

    def tables(self) -> set[str]:
        """The names of RocksDB's files of rows."""
        return {Path(file["name"]).name for file in self._database.live_files()}

    def close(self) -> None:
        """Write the memtables out and let go of the directory, which happens even if it raises."""
        failure: Exception | None = None
        try:
            if self._staged is not None:
                self._hand_over()
            self._flush_all()
        except BackendError as error:
            failure = error  # Raised below, once all are closed.
        failure = self._let_go() or failure
        if isinstance(failure, BackendError):
            raise failure
        if failure is not None:
            raise ours(self._path, failure) from failure

    def _let_go(self) -> Exception | None:
        """Close everything; what went wrong last."""
        self._journal.close()
        for cursor in self._cursors:
            cursor.iterator = Closed()
        self._handles.clear()
        failure: Exception | None = None
        with self._outside:  # While it is used, rocksdict does not close it.
            for database in (*self._families, self._database):  # Each holds the directory.
                try:
                    database.close()
                except Exception as error:  # noqa: BLE001  # the caller raises it, once all are
                    failure = error
        return failure


def _stored_sequence(path: Path, found: Found | None) -> int:
    """The sequence number that opening will find; `found` is the journal.

    Without one RocksDB's log is replayed, as opening does.
    """
    if found is not None:
        return found.last
    if not (path / "CURRENT").exists():
        return 0
    options = make_options()
    families = dict.fromkeys(Rdict.list_cf(str(path)), options)
    database = Rdict(str(path), options, families, access_type=AccessType.read_only())
    try:
        return int(database.latest_sequence_number())
    finally:
        database.close()


def _refuse_remains(path: Path) -> None:
    """RocksDB takes a directory without `CURRENT` for a new one, and deletes the data in it.

    It has made `CURRENT` before there is a journal.
    """
    if (path / "CURRENT").exists():
        return
    for pattern in ("*.sst", "*.log", *FILE_NAMES):
        for remains in path.glob(pattern):
            raise BackendCorruptError(path, f"there is {remains.name}, but no CURRENT file")


def _refuse_unknown(path: Path) -> None:
    if not (path / "CURRENT").exists():
        return
    unknown = set(Rdict.list_cf(str(path))) - {DEFAULT_FAMILY, *COLUMN_NAMES}
    if unknown:
        raise NewerFormatError(path, "column families " + ", ".join(sorted(unknown)))
