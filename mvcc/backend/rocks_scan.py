"""What RocksDB is read with, and how its errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from rocksdict import DbClosedError, Rdict, RdictIter, ReadOptions

from mvcc.backend.errors import (
    BackendClosedError,
    BackendCorruptError,
    BackendError,
    BackendIOError,
    BackendLockedError,
)

UNFLUSHED: Final = "rocksdb.num-immutable-mem-table"
UNSORTED_ROWS_MAX: Final = 2000  # That a scan which was prepared for still sorts: about 1 ms.
TRIES_MAX: Final = 4  # Each writes out only what has come during the one before.
ROOM_BYTES: Final = 64 << 20  # On a disk with less left nothing is written out for a scan's sake.

_ROWS: Final = "rocksdb.num-entries-active-mem-table"
_NO_FILE: Final = "IO error: No such file or directory: "  # One that another file says is there.


class Cursor:
    """Holds a scan's iterator so that `close` can take it away from an unfinished scan.

    And its options: the iterator reads the upper bound from their memory and does not keep them
    alive. Without them a scan ends at whatever has come to stand there since.
    """

    __slots__ = ("__weakref__", "_options", "iterator")

    def __init__(self, iterator: RdictIter, options: ReadOptions) -> None:
        self.iterator: RdictIter | Closed = iterator
        self._options = options


class Closed:
    """Stands in for an iterator that was taken away."""

    def _refuse(self) -> NoReturn:
        raise BackendClosedError

    valid = key = value = next = status = _refuse


def rows_at(path: Path, cursor: Cursor) -> Iterator[tuple[bytes, bytes]]:
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
        raise ours(path, error) from error


def write_out(family: Rdict) -> None:
    """Leave little in memory of a family whose memtable has yet to be sorted; see `UNSORTED`."""
    for _ in range(TRIES_MAX):
        rows = family.property_int_value(_ROWS) or 0
        if rows <= UNSORTED_ROWS_MAX and family.property_int_value(UNFLUSHED) == 0:
            return
        family.flush(True)


def ours(path: Path, error: Exception) -> BackendError:
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
