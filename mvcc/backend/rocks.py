"""RocksDB, and beside `salvage`, which reads damaged stores, the only file that knows it.

What is always true:
  1. A column is a column family. Opening refuses a store with a family it does not know, before
     a byte is changed.
  2. `write` holds the GIL and does not wait for the disk; `sync` waits for the disk and releases
     the GIL. (`write` with RocksDB's own sync option would hold it through the fsync.)
  3. A failed write poisons the log: RocksDB refuses every later write until it is opened again.
     So a sequence number that was ever synced has everything before it.
  4. A scan either shows every row or raises. rocksdict's ready-made `items()` does not: it takes
     an unreadable block for the end of the data. Hence the bare iterator and its `status()`.
  5. After `close` nothing of ours refers to the database, so its directory can be opened again,
     even if a scan or a batch was forgotten half-way.

Opening uses RocksDB's default recovery, to a point in time: a torn tail after a power cut starts
without ado. That mode also drops, silently, everything after a flipped bit in the middle of the
log. `mark.Mark` is how that is noticed. And opening deletes the log, with what it dropped, so
`stored_sequence` is asked first: a store that is refused is left as it was found.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    ColumnFamily,
    DbClosedError,
    DBCompressionType,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
)

from mvcc.backend.base import COLUMN_NAMES, Batch, Column
from mvcc.backend.errors import (
    BackendClosedError,
    BackendCorruptError,
    BackendError,
    BackendIOError,
    BackendLockedError,
    NewerFormatError,
    SpentBatchError,
)
from mvcc.backend.names import make_directory
from mvcc.backend.wal import torn_bytes_of

_NO_FILE: Final = "IO error: No such file or directory: "  # One that another file says is there.
DEFAULT_FAMILY: Final = "default"  # RocksDB insists on it. It stays empty.

# Memory. Everything that is read often is in the store's own index, so RocksDB gets little.
WRITE_BUFFER_BYTES: Final = 8 << 20  # One family's memtable; flushed to a file when full.
WRITE_BUFFERS_TOTAL_BYTES: Final = (
    16 << 20
)  # All memtables together, soft: above it one is flushed.
WRITE_BUFFERS_MAX: Final = 6  # Per family, being flushed included; a write stalls at this many.
BLOCK_CACHE_BYTES: Final = 8 << 20  # Shared by all families: reads of old revisions only.
BLOCK_BYTES: Final = 16 << 10  # Four times the default: a quarter of the index blocks in memory.
OPEN_FILES_MAX: Final = 256  # Each pins its index block and a descriptor.

# Disk. A family that is seldom written would pin every log since its last flush.
LOGS_TOTAL_BYTES: Final = (
    64 << 20
)  # Write-ahead logs; above it the family pinning the oldest flushes.
# Overwriting an old log's blocks would save each fsync their allocation (1.5x). But RocksDB 9.8
# takes the old bytes behind the end for damage, and with a family flushed into a newer log that is
# still empty it refuses to open: "SST file is ahead of WALs", though nothing is lost.
LOGS_RECYCLED_MAX: Final = 0
INFO_LOG_BYTES: Final = 1 << 20  # RocksDB's diary, `LOG`: rolled over at this size,
INFO_LOGS_MAX: Final = 4  # and this many are kept. rocksdict cannot lower its level.

# RocksDB delays writes when level 0 is piled up, to spare readers that merge those files. Ours
# read from memory, and a delayed write would hold up the event loop, so it may pile up further.
LEVEL_0_FILES_SLOWDOWN: Final = 200
LEVEL_0_FILES_STOP: Final = 400

BACKGROUND_JOBS_MAX: Final = 2  # Flushes and compactions at once.


class RocksBatch:
    """One RocksDB write batch, filled directly: rows are not kept on the Python side."""

    __slots__ = ("_handles", "_rows", "size_bytes")

    def __init__(self, handles: list[ColumnFamily]) -> None:
        self._handles = handles
        self._rows = WriteBatch(raw_mode=True)
        self.size_bytes = 0

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        self._rows.put(key, value, self._handles[column])
        self.size_bytes += len(key) + len(value)

    def delete(self, column: Column, key: bytes) -> None:
        self._rows.delete(key, self._handles[column])
        self.size_bytes += len(key)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> WriteBatch:
        """Give up the rows. Only once; the batch is of no use afterwards.

        Raises:
            SpentBatchError: they have been taken.
        """
        try:
            rows = self._rows
            del self._rows
        except AttributeError:
            raise SpentBatchError from None
        return rows


class _Cursor:
    """Holds a scan's iterator so that `close` can take it away from an unfinished scan.

    And its options: the iterator reads the upper bound from their memory and does not keep them
    alive. Without them a scan ends at whatever has come to stand there since.
    """

    __slots__ = ("__weakref__", "_options", "iterator")

    def __init__(self, iterator: RdictIter, options: ReadOptions) -> None:
        self.iterator: RdictIter | _Closed = iterator
        self._options = options


class _Closed:
    """Stands in for an iterator that was taken away."""

    def _refuse(self) -> NoReturn:
        raise BackendClosedError

    valid = key = value = next = status = _refuse


class RocksBackend:
    """See the module. Made by `open`; `sync` may be called from any thread, the rest from one."""

    def __init__(self, path: Path, database: Rdict) -> None:
        self._path = path
        self._database = database
        self._families = [database.get_column_family(name) for name in COLUMN_NAMES]
        # One list shared with every batch, so that emptying it frees the database.
        self._handles = [database.get_column_family_handle(name) for name in COLUMN_NAMES]
        self._cursors: weakref.WeakSet[_Cursor] = weakref.WeakSet()

    @classmethod
    def open(cls, path: Path) -> RocksBackend:
        """Open the store in directory `path`, making directory and store if there is none.

        Raises:
            NewerFormatError: it has column families that this version does not know.
            BackendLockedError: it is open already.
            BackendCorruptError: RocksDB cannot make sense of it.
            BackendIOError: the operating system refused.
        """
        try:
            make_directory(path)
            _refuse_remains(path)
            _refuse_torn(path)
            _refuse_unknown(path)
            options = rocksdb_options()
            return cls(path, Rdict(str(path), options, dict.fromkeys(COLUMN_NAMES, options)))
        except BackendError:
            raise
        except Exception as error:
            raise _ours(path, error) from error

    @classmethod
    def stored_sequence(cls, path: Path) -> int:
        """The sequence number that `open` would find, without changing a byte; 0 without a store.

        It replays the log, as opening does: after a clean end there is next to nothing in it.

        Raises:
            BackendError: what `open` would raise.
        """
        _refuse_remains(path)
        if not (path / "CURRENT").exists():
            return 0
        try:
            _refuse_torn(path)
            _refuse_unknown(path)
            options = rocksdb_options()
            families = dict.fromkeys(Rdict.list_cf(str(path)), options)
            database = Rdict(str(path), options, families, access_type=AccessType.read_only())
            try:
                return int(database.latest_sequence_number())
            finally:
                database.close()
        except BackendError:
            raise
        except Exception as error:
            raise _ours(path, error) from error

    def get(self, column: Column, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._families[column].get(key)
        except Exception as error:
            raise _ours(self._path, error) from error
        return value

    def scan(
        self, column: Column, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        if end is not None and end <= start:
            return iter(())
        options = ReadOptions()
        if end is not None:  # There is no lower bound to set: rocksdict's sets the upper one.
            options.set_iterate_upper_bound(end)
        try:
            iterator = self._families[column].iter(options)
            iterator.seek(start)
        except Exception as error:
            raise _ours(self._path, error) from error
        cursor = _Cursor(iterator, options)
        self._cursors.add(cursor)
        return _rows(self._path, cursor)

    def batch(self) -> RocksBatch:
        return RocksBatch(self._handles)

    def write(self, batch: Batch) -> None:
        assert isinstance(batch, RocksBatch)
        rows = batch.take()
        try:
            self._database.write(rows)
        except Exception as error:
            raise _ours(self._path, error) from error

    def sync(self) -> None:
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise _ours(self._path, error) from error

    def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:
        try:
            self._families[column].compact_range(start or None, end)
        except Exception as error:
            raise _ours(self._path, error) from error

    def sequence(self) -> int:
        try:
            return self._database.latest_sequence_number()
        except Exception as error:
            raise _ours(self._path, error) from error

    def tables(self) -> set[str]:
        """The names of the files that the rows are in, but for those of the log."""
        return {Path(file["name"]).name for file in self._database.live_files()}

    def close(self) -> None:
        """Write the memtables out and let go of the directory, which happens even if it raises."""
        for cursor in self._cursors:
            cursor.iterator = _Closed()
        self._handles.clear()
        failure: Exception | None = None
        for database in (*self._families, self._database):  # Each holds the directory by itself.
            try:
                database.close()
            except Exception as error:  # noqa: BLE001  # raised below, once all are closed
                failure = error
        if failure is not None:
            raise _ours(self._path, failure) from failure


def _rows(path: Path, cursor: _Cursor) -> Iterator[tuple[bytes, bytes]]:
    """Rows from where the iterator stands to its upper bound.

    The iterator is looked up on every turn, never kept in a local: this frame outlives `close`
    when a scan is left unfinished.
    """
    try:
        while cursor.iterator.valid():
            yield cursor.iterator.key(), cursor.iterator.value()
            cursor.iterator.next()
        cursor.iterator.status()
    except Exception as error:
        raise _ours(path, error) from error


def _ours(path: Path, error: Exception) -> BackendError:
    """The error to raise for one of rocksdict's, which tells its own apart by their text only.

    A bug of ours, such as a key that is not bytes, is raised as it is.
    """
    if isinstance(error, DbClosedError):
        return BackendClosedError()
    reason = str(error)
    if isinstance(error, OSError):
        return BackendIOError(path, reason)
    if type(error) is not Exception:
        raise error
    if reason.startswith("IO error: ") and "/LOCK: " in reason:
        return BackendLockedError(path)
    if reason.startswith(("Corruption: ", _NO_FILE)):
        return BackendCorruptError(path, reason)
    return BackendIOError(path, reason)


def _refuse_remains(path: Path) -> None:
    """RocksDB takes a directory without `CURRENT` for a new one, and deletes the data in it."""
    if (path / "CURRENT").exists():
        return
    for pattern in ("*.sst", "*.log"):
        for remains in path.glob(pattern):
            raise BackendCorruptError(path, f"there is {remains.name}, but no CURRENT file")


def _refuse_torn(path: Path) -> None:
    """RocksDB takes a last record of the MANIFEST that is too long for a torn one, and forgets it.

    One flipped bit in its length is enough, and a table is gone; no sequence number shows it. A
    power cut may leave such a record too, but only in the moment in which it was written.
    """
    current = path / "CURRENT"
    if not current.exists():
        return
    manifest = path / current.read_text(encoding="ascii", errors="replace").strip()
    if manifest.is_file() and (torn_bytes := torn_bytes_of(manifest)):
        reason = f"{manifest.name}: {torn_bytes} bytes at its end make no sense"
        raise BackendCorruptError(path, reason)


def _refuse_unknown(path: Path) -> None:
    if not (path / "CURRENT").exists():
        return
    unknown = set(Rdict.list_cf(str(path))) - {DEFAULT_FAMILY, *COLUMN_NAMES}
    if unknown:
        raise NewerFormatError(path, "column families " + ", ".join(sorted(unknown)))


def rocksdb_options() -> Options:
    """For the database and, as rocksdict has one type for both, for each of its families."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)

    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_db_write_buffer_size(WRITE_BUFFERS_TOTAL_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_max_open_files(OPEN_FILES_MAX)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    blocks.set_block_size(BLOCK_BYTES)
    options.set_block_based_table_factory(blocks)

    # Rows are rewritten several times on their way down, and the core that would compress them
    # is the one that answers clients. So only where they come to rest.
    options.set_compression_type(DBCompressionType.none())
    options.set_bottommost_compression_type(DBCompressionType.lz4())

    options.set_max_total_wal_size(LOGS_TOTAL_BYTES)
    options.set_recycle_log_file_num(LOGS_RECYCLED_MAX)
    options.set_max_log_file_size(INFO_LOG_BYTES)
    options.set_keep_log_file_num(INFO_LOGS_MAX)
    options.set_stats_dump_period_sec(0)  # Its tables would be most of the diary.

    options.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_SLOWDOWN)
    options.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_STOP)
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX)
    return options
