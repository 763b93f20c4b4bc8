"""Storage that ends with the process: for `--ephemeral`, and for tests of everything above.

A real implementation, not a stub: batches are atomic, a scan shows the store as of the call,
and misuse that RocksDB would refuse is refused here too, so a test on this one can be trusted.
`sync` has nothing to do, and `sequence` counts rows as RocksDB does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sortedcontainers import SortedDict

from mvcc.backend.base import Batch, Column
from mvcc.backend.errors import BackendClosedError, SpentBatchError


class MemoryBatch:
    """Rows in the order given; a value of None deletes."""

    __slots__ = ("rows", "size_bytes", "spent")

    def __init__(self) -> None:
        self.rows: Final[list[tuple[Column, bytes, bytes | None]]] = []
        self.size_bytes = 0
        self.spent = False

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        self.rows.append((column, key, value))
        self.size_bytes += len(key) + len(value)

    def delete(self, column: Column, key: bytes) -> None:
        self.rows.append((column, key, None))
        self.size_bytes += len(key)

    def __len__(self) -> int:
        return len(self.rows)


class MemoryBackend:
    """A sorted dict per column."""

    def __init__(self) -> None:
        self._columns: dict[Column, SortedDict[bytes, bytes]] = {c: SortedDict() for c in Column}
        self._sequence = 0
        self._closed = False

    def get(self, column: Column, key: bytes) -> bytes | None:
        self._check_open()
        value: bytes | None = self._columns[column].get(key)
        return value

    def scan(
        self, column: Column, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """The whole range is copied (references only): that is what makes it as of the call."""
        self._check_open()
        rows = self._columns[column]
        keys = rows.irange(start, end, inclusive=(True, False))
        return iter([(key, rows[key]) for key in keys])

    def batch(self) -> MemoryBatch:
        return MemoryBatch()

    def write(self, batch: Batch) -> None:
        """Nothing in it can fail half-way, which is all that atomic asks for in one thread."""
        self._check_open()
        assert isinstance(batch, MemoryBatch)
        if batch.spent:
            raise SpentBatchError
        batch.spent = True
        for column, key, value in batch.rows:
            if value is None:
                self._columns[column].pop(key, None)
            else:
                self._columns[column][key] = value
        self._sequence += len(batch.rows)

    def sync(self) -> None:
        self._check_open()

    def settle(self) -> None: ...

    def prepare(self) -> None:
        self._check_open()

    def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:  # noqa: ARG002  # nothing is kept
        self._check_open()

    def sequence(self) -> int:
        self._check_open()
        return self._sequence

    def close(self) -> None:
        self._check_open()
        self._closed = True
        self._columns.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise BackendClosedError
