"""Three revisions that only grow, the bytes in use, and the numbers kept beside the rows."""

from __future__ import annotations

from pathlib import Path
from resource import getpagesize
from typing import Final

import pytest

from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from mvcc.entry import Version
from mvcc.errors import CompactedError, CorruptRecordError, FutureRevisionError
from mvcc.record import Change
from mvcc.revision import encode
from mvcc.store import Store, read_meta
from mvcc.txn import put_alone
from tests.mvcc.model import Put
from tests.mvcc.support import Database

PAGE_BYTES: Final = getpagesize()
VALUE_BYTES: Final = 100_000


def test_what_is_applied_is_published_only_when_it_is_said_to_be_durable() -> None:
    store = Store(MemoryBackend())
    batch = store.begin()
    txn = store.write_txn()
    txn.put(b"a", b"", 0)
    txn.end()
    assert store.take_batch() is batch
    assert (store.current, store.published) == (2, 1)
    assert store.publish() == [(2, txn.changes)]
    assert (store.current, store.published) == (2, 2)
    assert store.publish() == []


def test_a_value_that_was_put_over_is_not_in_memory_any_more() -> None:
    store = Store(MemoryBackend())

    def put(times: int) -> int:
        for _ in range(times):
            store.begin()
            put_alone(store, b"k", bytes(VALUE_BYTES), 0)
            store.take_batch()
            store.publish()
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES

    before = put(10)
    assert put(1000) - before < 100 * VALUE_BYTES


def test_transactions_are_published_oldest_first_and_empty_ones_not_at_all() -> None:
    store = Store(MemoryBackend())
    store.begin()
    for key in (b"a", None, b"b"):
        txn = store.write_txn()
        if key is not None:
            txn.put(key, b"", 0)
        txn.end()
    store.take_batch()
    published = [
        (main, [change.key for change in changes if isinstance(change, Change)])
        for main, changes in store.publish()
    ]
    assert published == [(2, [b"a"]), (3, [b"b"])]


def test_two_transactions_at_once_are_caught() -> None:
    store = Store(MemoryBackend())
    store.begin()
    one, other = store.write_txn(), store.write_txn()
    one.put(b"a", b"", 0)
    other.put(b"b", b"", 0)
    one.end()
    with pytest.raises(AssertionError, match="revisions are dense"):
        other.end()


def test_a_revision_can_be_read_from_the_compacted_one_to_the_current() -> None:
    """rangeKeys in server/storage/mvcc/kvstore_txn.go."""
    database = Database()
    for _ in range(4):
        database.put(b"a")
    for revision in (-1, 0, 1, 5):
        database.store.check_revision(revision)
    with pytest.raises(FutureRevisionError) as ahead:
        database.store.check_revision(6)
    assert (ahead.value.requested, ahead.value.current) == (6, 5)
    database.compact(4)
    database.store.check_revision(4)
    with pytest.raises(CompactedError) as behind:
        database.store.check_revision(3)
    assert (behind.value.requested, behind.value.compacted) == (3, 4)


def test_the_bytes_in_use_are_those_of_every_row_to_the_byte() -> None:
    database = Database()
    assert database.store.in_use == 0
    database.put(b"key", b"value")
    # Row key 17; key 2+3, create 2, mod 2, version 2, value 2+5.
    assert database.store.in_use == 17 + 5 + 2 + 2 + 2 + 7
    database.delete(b"key")
    assert database.store.in_use == 35 + 18 + 5
    database.compact(3)
    assert (database.store.in_use, database.store.freed) == (23, 35)
    database.put(b"other")
    database.compact(4)
    assert database.store.freed == 35 + 23


def test_a_number_is_kept_beside_the_rows_and_read_back() -> None:
    database = Database()
    for number in (0, -1, 2**63 - 1, -(2**63)):
        with database.group():
            database.store.put_meta(b"name", number)
        assert read_meta(database.backend, b"name", 5) == number
    assert read_meta(database.backend, b"other", 5) == 5


def test_a_number_of_another_length_is_refused() -> None:
    backend = MemoryBackend()
    batch = backend.batch()
    batch.put(Column.META, b"name", b"\0" * 7)
    backend.write(batch)
    with pytest.raises(CorruptRecordError, match="7 bytes where 8 belong"):
        read_meta(backend, b"name", 0)


def test_a_row_that_the_index_names_and_the_disk_has_not_is_corruption() -> None:
    database = Database()
    database.transact(Put(b"a"))
    with pytest.raises(CorruptRecordError, match="the index names it") as refusal:
        database.store.read_row(Version(2, 1, is_tombstone=False))
    assert refusal.value.key == encode(2, 1)


def test_an_older_version_is_read_from_disk_and_the_newest_from_memory() -> None:
    database = Database()
    database.put(b"a", b"old")
    database.put(b"a", b"new")
    database.delete(b"a")
    database.put(b"a", b"again")
    entry = database.store.index.entries[b"a"]
    frames = [database.store.frame_as_of(entry, revision) for revision in range(1, 6)]
    assert [framed and framed.split(b"*")[-1][1:] for framed in frames] == [
        None,
        b"old",
        b"new",
        None,
        b"again",
    ]
    assert frames[4] is entry.frame
