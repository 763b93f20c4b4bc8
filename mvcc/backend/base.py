"""The whole of what the rest of the code may ask of storage.

Two implementations: `rocks.RocksBackend`, which is production, and `memory.MemoryBackend`,
a real one that lives in a sorted dict (tests, and `--ephemeral`). Both pass the one
contract in `tests/mvcc/backend/test_contract.py`.

The unit of change is the `Batch`: it becomes visible, and durable, whole or not at all.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, Protocol


class Column(enum.IntEnum):
    """A key space of its own: etcd's bucket, RocksDB's column family.

    The numbers are only indexes in memory; `COLUMN_NAMES` is what stands on disk.
    """

    KEY = 0
    LEASE = 1
    META = 2
    ALARM = 3
    AUTH = 4
    AUTH_USERS = 5
    AUTH_ROLES = 6
    CLUSTER = 7


# On-disk names: never rename one. Opening a store that lacks some of them makes those.
COLUMN_NAMES: Final = (
    "key",
    "lease",
    "meta",
    "alarm",
    "auth",
    "authUsers",
    "authRoles",
    "cluster",
)


class Batch(Protocol):
    """Writes that become visible together or not at all, applied in the order given.

    It goes to the backend that made it, once, and is of no use afterwards.
    """

    def put(self, column: Column, key: bytes, value: bytes) -> None: ...

    def delete(self, column: Column, key: bytes) -> None: ...

    def __len__(self) -> int:
        """How many puts and deletes are in it."""
        ...

    @property
    def size_bytes(self) -> int:
        """Sum of the lengths of all keys and values in it."""
        ...


class Backend(Protocol):
    """Everything but `sync` belongs to one thread. Whatever fails raises a `BackendError`."""

    def get(self, column: Column, key: bytes) -> bytes | None: ...

    def scan(
        self, column: Column, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end in byte order, as of the call; None is no bound.

        It shows every such row or raises: a row that cannot be read never looks like the end.
        It may be left unfinished. It may take long to begin, in proportion to what was written
        since the last `prepare`.
        """
        ...

    def batch(self) -> Batch: ...

    def write(self, batch: Batch) -> None:
        """Apply `batch` atomically. Readable at once, durable only after `sync`.

        After a failure nothing more can be written until the store is opened again.
        """
        ...

    def sync(self) -> None:
        """Block until everything written before the call survives a power cut.

        May be called from another thread than `write`, and releases the GIL: the one
        storage call worth sending off the event loop.
        """
        ...

    def settle(self) -> None:
        """Do now what the next write would do first, if it can be done: for when there is time.

        Changes nothing that can be read. It never waits for the disk.
        """
        ...

    def prepare(self) -> None:
        """Let scans that come next begin at once.

        Changes nothing that can be read.

        May take long, may be called from another thread, and releases the GIL.
        """
        ...

    def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:
        """Give back the space of a column's deleted rows in [start, end), or beyond.

        Changes nothing that can be read.

        May take long, may be called from another thread, and releases the GIL.
        """
        ...

    def sequence(self) -> int:
        """A count that grows by one with every put or delete written, and is stored with them.

        Recovered less than it once was, rows have been lost.
        """
        ...

    def close(self) -> None:
        """Release files and locks. Nothing may be called afterwards."""
        ...
