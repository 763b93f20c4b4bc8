"""A store comes back as it was, or the damage is named and nothing is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Backend, Column
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from mvcc.compaction import META_SCHEDULED
from mvcc.errors import CorruptRecordError
from mvcc.keyrange import KeyRange
from mvcc.restore import restore
from mvcc.revision import encode, encode_tombstone
from mvcc.store import Store
from tests.mvcc.model import Delete, Put
from tests.mvcc.support import EVERYTHING, Database


@pytest.fixture(params=["memory", "rocks"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    backend: Backend = (
        MemoryBackend() if request.param == "memory" else RocksBackend.open(tmp_path / "db")
    )
    yield backend
    backend.close()


def history(backend: Backend | None = None) -> Database:
    """2: a and b put. 3: a overwritten with a lease. 4: b deleted, c put. 5: b put. 6: c put."""
    database = Database(backend)
    database.transact(Put(b"a", b"1"), Put(b"b", b"1"))
    database.put(b"a", b"2", 7)
    database.transact(Delete(KeyRange(b"b", b"c")), Put(b"c", b"1"))
    database.put(b"b", b"2", -9)
    database.put(b"c", b"2")
    return database


def damage(database: Database, row_key: bytes, value: bytes | None) -> None:
    """Write a row as no engine would; None removes it."""
    batch = database.backend.batch()
    if value is None:
        batch.delete(Column.KEY, row_key)
    else:
        batch.put(Column.KEY, row_key, value)
    database.backend.write(batch)


def refusal(database: Database) -> CorruptRecordError:
    store = Store(database.backend)
    with pytest.raises(CorruptRecordError) as caught:
        restore(store)
    assert caught.value.column == "key"
    assert caught.value.key.hex() in str(caught.value)
    return caught.value


def test_an_empty_backend_is_an_empty_store(backend: Backend) -> None:
    store = Database(backend).store
    assert (store.current, store.published, store.in_use, store.freed) == (1, 1, 0, 0)
    assert (store.compact_revision, store.swept_revision) == (-1, -1)


def test_everything_comes_back(backend: Backend) -> None:
    """TestStoreRestore, server/storage/mvcc/kvstore_test.go."""
    before = history(backend)
    after = before.restarted()
    after.check()
    assert after.store.current == after.store.published == 6
    assert after.store.in_use == before.store.in_use
    for revision in range(1, 7):
        assert after.keys(revision) == before.keys(revision)
        assert after.hash(revision) == before.hash(revision)
    assert after.range(EVERYTHING) == before.range(EVERYTHING)
    entry = after.store.index.live(b"b")
    assert entry is not None
    assert (entry.create_revision, entry.mod_revision, entry.version, entry.lease) == (5, 5, 1, -9)
    assert after.put(b"a") == 7


@pytest.mark.parametrize("target", range(7))
@pytest.mark.parametrize("steps", range(4))
def test_a_history_that_compaction_thinned_is_accepted(target: int, steps: int) -> None:
    """Nor does it matter how far the sweep had come."""
    database = history()
    database.schedule(target)
    for _ in range(steps):
        if database.compactor.is_sweeping:
            database.step(rows_max=2)
    after = database.restarted()
    after.check()
    assert after.store.current == 6
    assert after.range() == database.range()


def test_a_store_whose_newest_rows_were_swept_goes_on_from_the_compacted_revision() -> None:
    database = Database()
    database.put(b"a")
    database.delete(b"a")
    database.compact(3)
    damage(database, encode_tombstone(3, 0), None)  # As etcd before 3.5.16 left it.
    after = database.restarted()
    assert (after.store.current, after.put(b"a")) == (3, 4)


@pytest.mark.parametrize(
    ("row_key", "reason"),
    [
        (encode(2, 0), "does not follow revision 1.-2"),
        (encode(2, 1), "it deletes a key that was not there"),
        (encode(3, 0), "does not follow revision 2.1"),
        (encode_tombstone(4, 0), "does not follow revision 3.0"),
        (encode(4, 1), "created at 4 with version 2, where 6 and 1 belong"),
        (encode(5, 0), "does not follow revision 4.1"),
    ],
)
def test_a_row_that_is_missing_in_the_middle_is_noticed(row_key: bytes, reason: str) -> None:
    database = history()
    damage(database, row_key, None)
    assert reason in str(refusal(database))


def test_a_whole_revision_that_is_missing_is_noticed() -> None:
    database = history()
    damage(database, encode_tombstone(4, 0), None)
    damage(database, encode(4, 1), None)
    caught = refusal(database)
    assert (caught.key, caught.reason) == (encode(5, 0), "does not follow revision 3.0")


@pytest.mark.parametrize("first", [encode(1, 0), encode(0, 0), encode(3, 0), encode(2, 1)])
def test_history_begins_with_revision_2_0(first: bytes) -> None:
    database = Database()
    kv = KeyValue(key=b"a", create_revision=first[7], mod_revision=first[7], version=1)
    damage(database, first, kv.SerializeToString())
    assert refusal(database).key == first


def test_history_goes_on_right_behind_the_compacted_revision() -> None:
    database = history()
    database.compact(4)
    damage(database, encode(5, 0), None)
    caught = refusal(database)
    assert (caught.key, caught.reason) == (encode(6, 0), "does not follow revision 4.-2")


def test_a_version_that_compaction_must_have_left_is_missed() -> None:
    """The newer one says that it is the second of its key."""
    database = history()
    database.compact(5)
    damage(database, encode(4, 1), None)
    caught = refusal(database)
    assert caught.key == encode(6, 0)
    assert caught.reason == "created at 4 with version 2, where 6 and 1 belong"


@pytest.mark.parametrize(
    "row_key",
    [b"", b"foreign", encode(3, 0)[:-1], encode(3, 0) + b"x", encode(3, 0).replace(b"_", b"-")],
)
def test_a_row_under_a_foreign_key_is_refused(row_key: bytes) -> None:
    database = history()
    damage(database, row_key, KeyValue(key=b"a").SerializeToString())
    caught = refusal(database)
    assert (caught.key, caught.reason) == (row_key, "the row's key is no revision")


GOOD = KeyValue(key=b"a", create_revision=2, mod_revision=3, version=2, value=b"2")


@pytest.mark.parametrize(
    ("field", "number", "reason"),
    [
        ("mod_revision", 4, "its mod_revision is 4"),
        ("mod_revision", 0, "its mod_revision is 0"),
        ("create_revision", 3, "created at 3 with version 2, where 2 and 2 belong"),
        ("version", 1, "created at 2 with version 1, where 2 and 2 belong"),
        ("version", 3, "created at 2 with version 3, where 2 and 2 belong"),
        ("key", b"", "it has no key"),
        ("key", b"x", "created at 2 with version 2, where 3 and 1 belong"),
    ],
)
def test_a_flipped_field_is_noticed(field: str, number: int | bytes, reason: str) -> None:
    database, kv = history(), KeyValue()
    kv.CopyFrom(GOOD)
    damage(database, encode(3, 0), kv.SerializeToString())
    assert database.restarted().store.current == 6
    setattr(kv, field, number)
    damage(database, encode(3, 0), kv.SerializeToString())
    caught = refusal(database)
    assert (caught.key, caught.reason) == (encode(3, 0), reason)


def test_bytes_that_are_no_message_are_refused() -> None:
    database = history()
    damage(database, encode(3, 0), b"\xff" + GOOD.SerializeToString()[1:])
    caught = refusal(database)
    assert caught.key == encode(3, 0)
    assert caught.reason.startswith("no KeyValue: ")


@pytest.mark.parametrize(
    ("kv", "reason"),
    [
        (KeyValue(key=b"b", value=b"v"), "a tombstone has a key and nothing else"),
        (KeyValue(key=b"b", mod_revision=4), "a tombstone has a key and nothing else"),
        (KeyValue(), "a tombstone has a key and nothing else"),
        (KeyValue(key=b"c"), "it deletes a key that was not there"),
    ],
)
def test_a_tombstone_is_the_key_of_one_that_lived(kv: KeyValue, reason: str) -> None:
    database = history()
    damage(database, encode_tombstone(4, 0), kv.SerializeToString())
    caught = refusal(database)
    assert (caught.key, caught.reason) == (encode_tombstone(4, 0), reason)


@pytest.mark.parametrize("target", [0, 4])
def test_a_key_is_not_deleted_twice(target: int) -> None:
    database = history()
    database.compact(target)
    damage(database, encode(5, 0), None)
    damage(database, encode_tombstone(5, 0), KeyValue(key=b"b").SerializeToString())
    assert refusal(database).reason == "it deletes a key that was not there"


def test_damage_below_the_compacted_revision_is_noticed_where_it_can_be() -> None:
    database = history()
    database.compact(4)
    kv = KeyValue(key=b"a", create_revision=2, mod_revision=4, version=2)
    damage(database, encode(3, 0), kv.SerializeToString())
    assert refusal(database).reason == "its mod_revision is 4"


def test_a_compacted_revision_that_cannot_be_read_is_refused() -> None:
    database = history()
    batch = database.backend.batch()
    batch.put(Column.META, META_SCHEDULED, b"short")
    database.backend.write(batch)
    with pytest.raises(CorruptRecordError, match="column 'meta'"):
        database.restarted()
