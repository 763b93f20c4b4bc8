"""What can still be read of a damaged store.

It works on copies that it may spoil: opening a store deletes every table that its MANIFEST does
not name, and making a new MANIFEST moves files away. So each try has a copy of its own. Four ways,
the first that works:

  1. Open it as it is; without CURRENT, or with one that makes no sense, name the newest MANIFEST.
  2. Put a journal that is sound and empty in place of the damaged one.
  3. Cut off the end of the MANIFEST that makes no sense as well: a power cut may leave one, if its
     sectors reached the disk out of order.
  4. Without a MANIFEST, let RocksDB gather the tables.

All that can be read of the journal (`remains`) is laid over what RocksDB then has. So what is lost
of a table may still be there, if it is not long ago.

A table may be unreadable in places. Such a place is skipped, and what is behind it is found by
trying keys ever further away, then nearer and nearer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rocksdict import Rdict

from mvcc.backend.base import COLUMN_NAMES, Column
from mvcc.backend.errors import (
    BackendCorruptError,
    BackendError,
    BackendLockedError,
    NewerFormatError,
)
from mvcc.backend.manifest import torn_bytes_of
from mvcc.backend.remains import Remains, put_empty_journal, read_remains
from mvcc.backend.rocks import RocksBackend
from mvcc.backend.rocks_options import make_options
from mvcc.backend.rows import decode_rows

_PREFIX_BYTES: Final = 8  # Of a key: what tells how far away from another one it is.
_PREFIXES: Final = 1 << 8 * _PREFIX_BYTES

Rows = dict[bytes, bytes | None]


class Salvage:
    """The rows of one damaged store. `close` it, then throw the copy away."""

    def __init__(self, fresh_copy: Callable[[], Path], acknowledged_sequence: int) -> None:
        """Open a copy in the first way that works.

        Args:
            fresh_copy: makes a copy of the store, in place of the one before; returns its path.
            acknowledged_sequence: what the store is known to have held; 0 if nothing is known.

        Raises:
            NewerFormatError: it is not for this version to touch.
            BackendError: nothing of it can be read.
        """
        self.remarks: list[str] = []  # What was wrong and is no longer, or what is gone for good.
        self.is_whole = True  # All was read that there ever was, but perhaps for the journal's end.
        path = fresh_copy()
        self._remains = read_remains(path)
        self._has_log = any(log.stat().st_size for log in path.glob("*.log"))
        self._newer = _newest_rows(self._remains)
        self._name_manifest(path)
        if self._opens(path):
            return
        self.is_whole = not self._remains.lost
        self.remarks += self._remains.lost
        path = fresh_copy()
        self._name_manifest(path)
        self._mend_journal(path, rocks_sequence=self._remains.rocks_sequence)
        if self._opens(path):
            return
        path = fresh_copy()
        tables = {each.name for each in path.glob("*.sst")}
        if acknowledged_sequence and self._cut_manifest(path):
            self._mend_journal(path, rocks_sequence=self._remains.rocks_sequence)
            if self._opens(path):
                if self.sequence() >= acknowledged_sequence and not self._forgets(tables):
                    return
                self._backend.close()
        self._gather(fresh_copy())

    @property
    def backend(self) -> RocksBackend:
        """The copy as RocksDB has it, without what only the journal has."""
        return self._backend

    @property
    def is_as_it_was(self) -> bool:
        """It could be opened without ado."""
        return not self.remarks

    def sequence(self) -> int:
        """Of the newest row that was found, whatever is missing before it."""
        return max(self._remains.last, self._backend.sequence())

    def rows(self, column: Column) -> Iterator[tuple[bytes, bytes]]:
        """All rows of a column that can be read, in byte order."""
        newer = self._newer[column]
        added = iter(sorted(newer))
        next_added = next(added, None)
        for key, value in self._stored(column):
            while next_added is not None and next_added < key:
                if (found := newer[next_added]) is not None:
                    yield next_added, found
                next_added = next(added, None)
            if key not in newer:
                yield key, value
        while next_added is not None:
            if (found := newer[next_added]) is not None:
                yield next_added, found
            next_added = next(added, None)

    def close(self) -> None:
        self._backend.close()

    # --- tables ---

    def _stored(self, column: Column) -> Iterator[tuple[bytes, bytes]]:
        start = b""
        while True:
            key = None
            try:
                for key, value in self._backend.scan(column, start):
                    yield key, value
            except BackendCorruptError as error:
                self.is_whole = False
                self.remarks.append(f"column {COLUMN_NAMES[column]}: {error.reason}")
                behind = self._behind(column, start if key is None else key)
                if behind is None:
                    return
                start = behind
            else:
                return

    def _behind(self, column: Column, last: bytes) -> bytes | None:
        """From where on rows can be read again; None if from nowhere."""
        bad = int.from_bytes(last[:_PREFIX_BYTES].ljust(_PREFIX_BYTES, b"\0"), "big")
        step = 1
        while not self._is_readable(column, _bound(bad + step)):
            step *= 2
            if bad + step >= _PREFIXES:
                return None
        good = bad + step
        while good - bad > 1:
            middle = (bad + good) // 2
            if self._is_readable(column, _bound(middle)):
                good = middle
            else:
                bad = middle
        return _bound(good)

    def _is_readable(self, column: Column, start: bytes) -> bool:
        try:
            next(iter(self._backend.scan(column, start)), None)
        except BackendCorruptError:
            return False
        return True

    # --- ways to open it ---

    def _forgets(self, tables: set[str]) -> bool:
        """Whether the MANIFEST does not name some of the tables: what was cut off may have."""
        return not tables <= self._backend.tables()

    def _opens(self, path: Path) -> bool:
        try:
            self._backend = RocksBackend.open(path)
        except (NewerFormatError, BackendLockedError):
            raise
        except BackendError as error:
            reason = f"it cannot be opened: {_reason(path, error)}"
            if reason not in self.remarks:
                self.remarks.append(reason)
            return False
        return True

    def _cut_manifest(self, path: Path) -> bool:
        """Cut off what makes no sense at its end; False if what is left is of no use.

        A family that it does not name any more would lose all its rows.
        """
        manifest = max(path.glob("MANIFEST-*"), default=None)
        if manifest is None:
            return False
        torn_bytes = torn_bytes_of(manifest)
        if not torn_bytes:
            return False
        os.truncate(manifest, manifest.stat().st_size - torn_bytes)
        return _names_all_families(path)

    def _name_manifest(self, path: Path) -> None:
        manifests = sorted(each.name for each in path.glob("MANIFEST-*"))
        current = path / "CURRENT"
        try:
            named = current.read_text(encoding="ascii")
        except FileNotFoundError:
            named, reason = "", "is not there"
        except UnicodeDecodeError:
            named, reason = "", "makes no sense"
        else:
            reason = f"names {named.strip()!r}, which is not there"
        if named.endswith("\n") and named[:-1] in manifests:
            return
        remark = f"CURRENT {reason}"
        if remark not in self.remarks:
            self.remarks.append(remark)
        if manifests:
            current.write_text(manifests[-1] + "\n", encoding="ascii")

    def _mend_journal(self, path: Path, *, rocks_sequence: int) -> None:
        """Unless it is a store of before there were journals, whose log RocksDB reads by itself."""
        if not self._remains.is_there:
            if self._has_log:
                return
            self.is_whole = False  # Nobody knows what was in it.
        put_empty_journal(path, self._remains, rocks_sequence=rocks_sequence)

    def _gather(self, path: Path) -> None:
        """Make a MANIFEST for the tables that there are."""
        self.is_whole = False  # Tables that were done with are gathered too, deleted rows in them.
        try:
            Rdict.repair(str(path), make_options())
        except Exception as error:
            raise BackendCorruptError(path, f"its tables cannot be gathered: {error}") from error
        for table in sorted((path / "lost").glob("*.sst")):
            self.remarks.append(f"{table.name} cannot be read at all")
        self._mend_journal(path, rocks_sequence=0)
        self._backend = RocksBackend.open(path)


def _newest_rows(remains: Remains) -> dict[Column, Rows]:
    newest: dict[Column, Rows] = {column: {} for column in Column}
    for record in remains.records:
        for column, key, value in decode_rows(record.payload):
            newest[Column(column)][key] = value
    return newest


def _reason(path: Path, error: BackendError) -> str:
    if not isinstance(error, BackendCorruptError):
        return f"{error}"
    return error.reason if error.path == path else f"{error.path.name}: {error.reason}"


def _names_all_families(path: Path) -> bool:
    try:
        return {*COLUMN_NAMES} <= {*Rdict.list_cf(str(path))}
    except Exception:  # noqa: BLE001  # rocksdict tells its errors apart by their text only
        return False


def _bound(number: int) -> bytes:
    return min(number, _PREFIXES - 1).to_bytes(_PREFIX_BYTES, "big")
