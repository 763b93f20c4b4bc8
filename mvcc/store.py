"""The store: index in memory, rows on disk, and three revisions that only grow.

    compact_revision <= published <= current

`current` is the newest revision applied in memory; `published` the newest one that is durable,
and so the newest that any answer or event may show; below `compact_revision` history is gone
(-1 until the first compaction, as etcd counts). Revision 1 is the empty store.

Only the engine writes, from one thread, in this order: `begin` opens a batch; transactions
change the index and fill the batch; `take_batch` hands it over to be written and synced; then
`publish` moves `published` and returns what watchers are to see. Between `take_batch` and
`publish` nothing reads, so no reader ever sees what a power cut could undo.

`in_use` is the exact sum of the bytes of all rows' keys and values; `freed` is what compaction
removed and no defragmentation has yet returned.
"""

from __future__ import annotations

from typing import Final

from mvcc.backend.base import Backend, Batch, Column
from mvcc.entry import Entry, Version
from mvcc.errors import CompactedError, CorruptRecordError, FutureRevisionError
from mvcc.index import Index
from mvcc.record import Changes, frame
from mvcc.revision import encode
from mvcc.txn import WriteTxn

FIRST_REVISION: Final = 1  # What an empty store answers (etcd's newest store starts there).
NEVER_COMPACTED: Final = -1
_META_INT_BYTES: Final = 8


class Store:
    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.index = Index()
        self.batch: Batch | None = None
        self.current = FIRST_REVISION
        self.published = FIRST_REVISION
        self.compact_revision = NEVER_COMPACTED  # Accepted; reads below it are refused.
        self.swept_revision = NEVER_COMPACTED  # Its rows are gone too, and that is durable.
        self.in_use = 0
        self.freed = 0
        self._committed: list[tuple[int, Changes]] = []

    # --- the life of a group ---

    def begin(self) -> Batch:
        """Open the batch that all changes until `take_batch` share."""
        assert self.batch is None
        self.batch = self.backend.batch()
        return self.batch

    def take_batch(self) -> Batch:
        assert self.batch is not None
        batch, self.batch = self.batch, None
        return batch

    def publish(self) -> list[tuple[int, Changes]]:
        """All that was applied is durable now. Returns its transactions, oldest first."""
        self.published = self.current
        committed, self._committed = self._committed, []
        return committed

    def write_txn(self) -> WriteTxn:
        """A transaction at the next revision; the caller ends it before it opens another."""
        return WriteTxn(self)

    def commit(self, main: int, changes: Changes) -> None:
        """Called at the end of each transaction that changed anything."""
        assert main == self.current + 1, "revisions are dense"
        self.current = main
        self._committed.append((main, changes))

    # --- reading ---

    def check_revision(self, revision: int) -> None:
        """Refuse a revision that has not happened or is compacted.

        Raises:
            FutureRevisionError, CompactedError
        """
        if revision > self.current:
            raise FutureRevisionError(revision, self.current)
        if revision < self.compact_revision:
            raise CompactedError(revision, self.compact_revision)

    def frame_as_of(self, entry: Entry, revision: int) -> bytes | None:
        """The frame of a key's newest version at or below `revision`; None if it was not there.

        A version below the newest is read from disk, so it must not be in an unwritten batch.
        """
        version = entry.as_of(revision)
        if version is None or version.is_tombstone:
            return None
        if version.main == entry.mod_revision:
            return entry.frame
        return frame(self.read_row(version))

    def read_row(self, version: Version) -> bytes:
        """The KeyValue bytes of a version that the index says exists."""
        row_key = encode(version.main, version.sub)
        value = self.backend.get(Column.KEY, row_key)
        if value is None:
            raise CorruptRecordError("key", row_key, "the index names it and it is not there")
        return value

    def put_meta(self, name: bytes, number: int) -> None:
        """Store a small integer in the open batch."""
        assert self.batch is not None
        self.batch.put(Column.META, name, number.to_bytes(_META_INT_BYTES, "big", signed=True))


def read_meta(backend: Backend, name: bytes, default: int) -> int:
    """A number that `Store.put_meta` stored, or `default` if it never did.

    Raises:
        CorruptRecordError: it is not 8 bytes long.
    """
    value = backend.get(Column.META, name)
    if value is None:
        return default
    if len(value) != _META_INT_BYTES:
        raise CorruptRecordError("meta", name, f"{len(value)} bytes where 8 belong")
    return int.from_bytes(value, "big", signed=True)
