"""A transaction has one revision; its changes are numbered within it, in the order made."""

from __future__ import annotations

import pytest

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import WatchResponse
from mvcc.backend.memory import MemoryBackend
from mvcc.keyrange import KeyRange
from mvcc.record import Change
from mvcc.revision import encode, encode_tombstone
from mvcc.store import Store
from tests.mvcc.model import Delete, Put
from tests.mvcc.support import ALL_KEYS, Database, kvs_of


def event_of(change: Change) -> Event:
    return WatchResponse.FromString(change.field(prev_kv=True)).events[0]


def test_an_empty_store_has_revision_1_and_each_put_adds_one() -> None:
    """TestV3PutOverwrite, tests/integration/v3_grpc_test.go; versions count the overwrites."""
    database = Database()
    assert database.store.current == 1
    assert [database.put(b"a"), database.put(b"b"), database.put(b"a")] == [2, 3, 4]
    assert database.get(b"a") == KeyValue(
        key=b"a", create_revision=2, mod_revision=4, version=2, value=b""
    )
    assert database.get(b"b") == KeyValue(key=b"b", create_revision=3, mod_revision=3, version=1)


def test_a_put_of_the_same_value_is_a_new_version() -> None:
    database = Database()
    database.put(b"a", b"v")
    assert database.put(b"a", b"v") == 3


def test_a_key_that_was_deleted_begins_again_at_version_1() -> None:
    database = Database()
    database.put(b"a", b"old", 7)
    database.put(b"a", b"old", 7)
    assert database.delete(b"a") == 4
    assert database.put(b"a", b"new") == 5
    assert database.get(b"a") == KeyValue(
        key=b"a", create_revision=5, mod_revision=5, version=1, value=b"new"
    )


def test_a_transaction_that_changes_nothing_leaves_no_revision() -> None:
    """TestV3DeleteRange, tests/integration/v3_grpc_test.go: [x,x) deletes nothing."""
    database = Database()
    database.put(b"x")
    for operation in (
        Delete(KeyRange(b"x", b"x")),
        Delete(KeyRange(b"y", b"a")),
        Delete(KeyRange.from_wire(b"y", b"")),
    ):
        assert database.transact(operation) == 2
    assert database.transact() == 2
    assert database.put(b"a") == 3


def test_changes_are_numbered_in_the_order_they_were_made() -> None:
    """TestStorePut and TestStoreDeleteRange: row keys; a deletion goes in byte order."""
    database = Database()
    database.transact(Put(b"b"), Put(b"a"), Put(b"c"))
    database.transact(Put(b"d"), Delete(KeyRange(b"a", b"c")), Put(b"e"))
    assert [row_key for row_key, _ in database.rows()] == [
        encode(2, 0),
        encode(2, 1),
        encode(2, 2),
        encode(3, 0),
        encode_tombstone(3, 1),
        encode_tombstone(3, 2),
        encode(3, 3),
    ]
    values = [KeyValue.FromString(value) for _, value in database.rows()]
    assert [kv.key for kv in values] == [b"b", b"a", b"c", b"d", b"a", b"b", b"e"]
    assert values[4] == KeyValue(key=b"a")


def test_the_revision_of_a_header_moves_with_the_first_change() -> None:
    """server/etcdserver/txn/txn.go: earlier operations of a Txn answer with the old one."""
    database = Database()
    with database.group():
        txn = database.store.write_txn()
        assert txn.delete_range(b"a", None) == (0, 1)
        assert txn.revision == 1
        txn.put(b"a", b"", 0)
        assert txn.revision == 2
        assert txn.delete_range(b"a", b"b") == (1, 2)
        txn.end()


def test_deleting_tells_how_many_went_and_hands_back_what_they_were() -> None:
    database = Database()
    for key in (b"c", b"a", b"b"):
        database.put(key, b"value of " + key)
    with database.group():
        txn = database.store.write_txn()
        assert txn.delete_range(b"nothing", None) == (0, 4)
        assert txn.delete_range(b"a", None) == (1, 5)
        frames = txn.delete_keys(KeyRange(b"a", None))
        txn.end()
    assert b"".join(frames).count(b"value of") == 2
    assert database.keys() == []
    assert database.store.current == 5


def test_from_a_key_on_and_prefix_deletes_leave_the_rest() -> None:
    database = Database()
    for key in (b"a", b"foo", b"foo\xff", b"fop", b"z"):
        database.put(key)
    database.transact(Delete(KeyRange.from_wire(b"foo", b"fop")))
    assert database.keys() == [b"a", b"fop", b"z"]
    database.transact(Delete(KeyRange.from_wire(b"b", b"\0")))
    assert database.keys() == [b"a"]
    database.transact(Delete(ALL_KEYS))
    assert database.keys() == []


def test_a_change_tells_the_lease_that_was_and_the_one_that_is() -> None:
    database = Database()
    with database.group():
        txn = database.store.write_txn()
        txn.put(b"a", b"", 7)
        txn.put(b"a", b"", -8)
        txn.put(b"b", b"", 9)
        txn.put(b"b", b"", 0)
        txn.delete_range(b"a", None)
        txn.put(b"a", b"", 0)
        txn.end()
    leases = [(change.old_lease, change.lease) for change in txn.changes]
    assert leases == [(0, 7), (7, -8), (0, 9), (9, 0), (-8, 0), (0, 0)]
    assert [change.is_delete for change in txn.changes] == [False] * 4 + [True, False]


def test_the_previous_version_of_an_event_is_the_one_before_the_transaction() -> None:
    """Watch's prev_kv is the key at mod_revision - 1 (server/etcdserver/api/v3rpc/watch.go)."""
    database = Database()
    database.put(b"a", b"before")
    with database.group():
        txn = database.store.write_txn()
        changes = [txn.put(b"a", b"first", 0), txn.put(b"a", b"second", 0)]
        txn.delete_range(b"a", None)
        txn.end()
    assert changes == txn.changes[:2]
    assert [event_of(change).prev_kv.value for change in txn.changes] == [b"before"] * 3


def test_a_put_that_creates_its_key_has_no_previous_version_though_one_was_just_deleted() -> None:
    """IsCreateEvent in server/etcdserver/api/v3rpc/watch.go."""
    database = Database()
    database.put(b"a", b"before")
    with database.group():
        txn = database.store.write_txn()
        txn.delete_range(b"a", None)
        txn.put(b"a", b"after", 0)
        txn.put(b"b", b"", 0)
        txn.delete_range(b"b", None)
        txn.end()
    events = [event_of(change) for change in txn.changes]
    assert [event.HasField("prev_kv") for event in events] == [True, False, False, False]
    assert events[1].kv.create_revision == events[1].kv.mod_revision == 3


def test_what_a_transaction_wrote_is_seen_at_once_within_it() -> None:
    database = Database()
    with database.group():
        txn = database.store.write_txn()
        txn.put(b"a", b"v", 0)
        assert [kv.value for kv in kvs_of(database.range())] == [b"v"]
        assert database.store.published == 1
        txn.end()


def test_two_transactions_of_one_batch_have_revisions_of_their_own() -> None:
    database = Database()
    with database.group():
        assert database.apply([Put(b"a")]) == 2
        assert database.apply([Put(b"a")]) == 3
    kv = database.get(b"a")
    assert kv is not None
    assert (kv.create_revision, kv.mod_revision, kv.version) == (2, 3, 2)


def test_there_is_no_transaction_without_a_batch() -> None:
    with pytest.raises(AssertionError, match="needs an open batch"):
        Store(MemoryBackend()).write_txn()


def test_nothing_of_a_put_is_in_the_next_one() -> None:
    """All versions are made with one message, filled anew: a field left alone would show."""
    database = Database()
    full = Put(b"a" * 200, b"v" * 300, 2**62)
    for _ in range(3):
        database.transact(full, Put(b"b", b"", 0), full, Put(b"c", b"", -1), Put(b"d", b"1", 0))
    assert database.get(b"b") == KeyValue(key=b"b", create_revision=2, mod_revision=4, version=3)
    assert database.get(b"c") == KeyValue(
        key=b"c", create_revision=2, mod_revision=4, version=3, lease=-1
    )
    assert database.get(b"d") == KeyValue(
        key=b"d", create_revision=2, mod_revision=4, version=3, value=b"1"
    )
    assert database.put(b"e") == 5
    assert database.get(b"e") == KeyValue(key=b"e", create_revision=5, mod_revision=5, version=1)
    other = Database()
    other.put(b"z")
    assert other.get(b"z") == KeyValue(key=b"z", create_revision=2, mod_revision=2, version=1)
    assert database.restarted().get(b"e") == database.get(b"e")
