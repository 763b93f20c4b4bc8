"""One write transaction: everything that happens at one new revision.

A transaction is handed out by `Store.write_txn`, changes the index at once and puts its rows
into the open batch. It cannot be refused half-way: whatever could be wrong was checked before.

Revisions are dense: all changes of a transaction share its main revision and are numbered 0,
1, 2… by sub; a transaction that changed nothing leaves no revision behind.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from mvcc.backend.base import Batch, Column
from mvcc.keyrange import KeyRange
from mvcc.record import Change, LonePut, deletion, frame, key_value, tombstone
from mvcc.revision import encode, encode_tombstone
from mvcc.slicing import SLICE_CHANGES, chunks

if TYPE_CHECKING:
    from mvcc.store import Store


_KEY: Final = Column.KEY


class WriteTxn:
    """Puts and deletes that share one revision. Fits `lease`'s TxnDelete by shape alone."""

    __slots__ = ("_batch", "_index", "_store", "changes", "main")

    def __init__(self, store: Store) -> None:
        assert store.batch is not None, "a write transaction needs an open batch"
        self._store = store
        self._index = store.index
        self._batch = store.batch
        self.main = store.current + 1
        self.changes: list[Change] = []

    @property
    def revision(self) -> int:
        """What a header says now: the new revision once anything has changed, else the old."""
        return self.main if self.changes else self.main - 1

    def put(self, key: bytes, value: bytes, lease: int) -> Change:
        """Write a new version of `key`. Runtime complexity: O(log n) for a new key, else O(1)."""
        changes = self.changes
        facts = _put(self._store, self._batch, self.main, len(changes), changes, key, value, lease)
        change = Change(*facts)
        changes.append(change)
        return change

    def delete_range(self, key: bytes, end: bytes | None) -> tuple[int, int]:
        """Delete `key`, or with an `end` the live keys in [key, end), in byte order.

        Returns how many went, and the revision a header says afterwards.
        """
        if end is not None:
            return len(self.delete_keys(KeyRange(key, end))), self.revision
        if self._index.live(key) is None:
            return 0, self.revision
        self._delete(key)
        return 1, self.main

    def delete_keys(self, keys: KeyRange) -> list[bytes]:
        """Delete the live keys in `keys`; return their frames as they were, in byte order."""
        doomed = self._index.keys(keys)
        frames = []
        for key in doomed:
            previous = self._index.entries[key].frame
            assert previous is not None
            frames.append(previous)
            self._delete(key)
        return frames

    def delete_in_slices(self, keys: KeyRange) -> Generator[None, None, list[bytes]]:
        """`delete_keys` for very many; nothing else may be done with the store before the last."""
        frames = []
        for doomed in chunks(self._index.keys(keys), SLICE_CHANGES):
            for key in doomed:
                previous = self._index.entries[key].frame
                assert previous is not None
                frames.append(previous)
                self._delete(key)
            yield
        return frames

    def end(self) -> None:
        """Make this the store's newest revision, if anything changed."""
        if self.changes:
            self._store.commit(self.main, self.changes)

    def _delete(self, key: bytes) -> None:
        main, sub = self.main, len(self.changes)
        entry = self._index.entries[key]
        before = entry.frame if entry.mod_revision != main else _before(self.changes, key)
        old_lease = entry.lease
        self._index.delete(key, main, sub)
        row_key, kv = encode_tombstone(main, sub), tombstone(key)
        self._batch.put(_KEY, row_key, kv)
        self._store.in_use += len(row_key) + len(kv)
        self.changes.append(Change(key, deletion(kv, main), before, True, old_lease, 0))


def put_alone(store: Store, key: bytes, value: bytes, lease: int) -> int:
    """A transaction that is one put, from its beginning to its end; the key's lease before it."""
    assert store.batch is not None, "a write transaction needs an open batch"
    main = store.current + 1
    facts = _put(store, store.batch, main, 0, None, key, value, lease)
    store.commit(main, facts)
    return facts[4]


def _put(
    store: Store,
    batch: Batch,
    main: int,
    sub: int,
    changes: list[Change] | None,
    key: bytes,
    value: bytes,
    lease: int,
) -> LonePut:
    """Make the version; `changes` are those that its transaction has made before, if any."""
    index = store.index
    entry = index.entries.get(key)
    if entry is None or (before := entry.frame) is None:
        # It may have been deleted in this transaction, but a creation has no prev_kv.
        create, version, old_lease, before = main, 1, 0, None
    else:
        create, version, old_lease = entry.create_revision, entry.version + 1, entry.lease
        if changes and entry.mod_revision == main:
            before = _before(changes, key)
    kv = key_value(key, value, create, main, version, lease)
    framed = frame(kv)
    index.put(key, framed, create, main, sub, version, lease)
    row_key = encode(main, sub)
    batch.put(_KEY, row_key, kv)
    store.in_use += len(row_key) + len(kv)
    return key, framed, before, False, old_lease, lease


def _before(changes: list[Change], key: bytes) -> bytes | None:
    """The frame of `key` before the transaction that has made `changes`, one of them to it.

    A key is touched twice only where etcd's overlap check has its holes, so the search is short
    and rare.
    """
    return next(change.before for change in changes if change.key == key)
