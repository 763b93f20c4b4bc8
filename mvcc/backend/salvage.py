"""What can still be read of a damaged store.

It works on copies that it may spoil: opening a store deletes its logs and every table that its
MANIFEST does not name, and making a new MANIFEST moves files away. So each try has a copy of its
own. Four ways, the first that works:

  1. Open it as it is. RocksDB drops what stands behind a damaged byte of the log.
  2. Without CURRENT, or with one that makes no sense, name the newest MANIFEST in it.
  3. Cut off the end of the MANIFEST that makes no sense: a power cut may leave one, if its sectors
     reached the disk out of order.
  4. Without a MANIFEST, let RocksDB gather the tables, and read the logs here (`wal`): RocksDB
     would forget the rows of each family that has no table yet. Which number a family has in the
     logs stands in OPTIONS, whose order is that of the numbers.

A table may be unreadable in places. Such a place is skipped, and what is behind it is found by
trying keys ever further away, then nearer and nearer.
"""

from __future__ import annotations

import os
import re
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
from mvcc.backend.rocks import DEFAULT_FAMILY, RocksBackend, rocksdb_options
from mvcc.backend.wal import Log, read_log, torn_bytes_of

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
        self.is_whole = True  # Every table was read; but for the log, nothing is missing.
        self._newer: dict[Column, Rows] = {column: {} for column in Column}
        self._sequence = 0
        path = fresh_copy()
        self._name_manifest(path)
        if self._opens(path):
            return
        path = fresh_copy()
        tables = {each.name for each in path.glob("*.sst")}
        if acknowledged_sequence and self._cut_manifest(path) and self._opens(path):
            if self._backend.sequence() >= acknowledged_sequence and not self._forgets(tables):
                return
            self._backend.close()
        self._gather(fresh_copy())

    @property
    def backend(self) -> RocksBackend:
        """The copy as RocksDB has it, without what only `wal` has found."""
        return self._backend

    @property
    def is_as_it_was(self) -> bool:
        """It could be opened without ado."""
        return not self.remarks

    def sequence(self) -> int:
        return max(self._sequence, self._backend.sequence())

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

    # --- without CURRENT, without MANIFEST ---

    def _forgets(self, tables: set[str]) -> bool:
        """Whether the MANIFEST does not name some of the tables: what was cut off may have."""
        return not tables <= self._backend.tables()

    def _opens(self, path: Path) -> bool:
        try:
            self._backend = RocksBackend.open(path)
        except (NewerFormatError, BackendLockedError):
            raise
        except BackendError as error:
            reason = error.reason if isinstance(error, BackendCorruptError) else f"{error}"
            self.remarks.append(f"it cannot be opened: {reason}")
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
        self.remarks.append(f"CURRENT {reason}")
        if manifests:
            current.write_text(manifests[-1] + "\n", encoding="ascii")

    def _gather(self, path: Path) -> None:
        """Make a MANIFEST for the tables that there are, and keep what the logs say."""
        self.is_whole = False  # Tables that were done with are gathered too, deleted rows in them.
        logs = sorted(path.glob("*.log"), key=lambda each: int(each.stem))
        families = _families(path)
        read = [(log.name, read_log(log)) for log in logs]
        for log in logs:
            log.unlink()
        try:
            Rdict.repair(str(path), rocksdb_options())
        except Exception as error:
            raise BackendCorruptError(path, f"its tables cannot be gathered: {error}") from error
        lost = path / "lost"
        for table in sorted(lost.glob("*.sst")):
            self.remarks.append(f"{table.name} cannot be read at all")
        self._backend = RocksBackend.open(path)
        self._replay(read, families)

    def _replay(self, logs: list[tuple[str, Log]], families: list[str]) -> None:
        """Take over the batches of all logs, up to the first one that is in no table either."""
        following = unknown = 0
        in_tables = self._backend.sequence()
        for name, log in logs:
            if log.unread_bytes:
                self.remarks.append(f"{name}: {log.unread_bytes} bytes at its end make no sense")
            for batch in log.batches:
                if batch.sequence > max(following, in_tables + 1):
                    self.remarks.append(f"{name}: there is a gap before sequence {batch.sequence}")
                    break
                following = max(following, batch.sequence + len(batch.rows))
                self._sequence = following - 1
                for family, key, value in batch.rows:
                    column = _COLUMNS.get(families[family]) if family < len(families) else None
                    if column is None:
                        unknown += 1
                    else:
                        self._newer[column][key] = value
        if unknown:
            self.remarks.append(f"{unknown} rows of the logs are of columns that nothing names")


_COLUMNS: Final = {name: column for column, name in zip(Column, COLUMN_NAMES, strict=True)}


def _names_all_families(path: Path) -> bool:
    try:
        return {*COLUMN_NAMES} <= {*Rdict.list_cf(str(path))}
    except Exception:  # noqa: BLE001  # rocksdict tells its errors apart by their text only
        return False


def _families(path: Path) -> list[str]:
    """The names of the families in the order of their numbers; empty if nothing says so."""
    for options in sorted(path.glob("OPTIONS-*"), reverse=True):
        text = options.read_text(encoding="utf-8", errors="replace")
        names = re.findall(r'^\[CFOptions "(\w+)"\]$', text, re.MULTILINE)
        if names[:1] == [DEFAULT_FAMILY] and {*names[1:]} <= {*COLUMN_NAMES}:
            return names
    return []


def _bound(number: int) -> bytes:
    return min(number, _PREFIXES - 1).to_bytes(_PREFIX_BYTES, "big")
