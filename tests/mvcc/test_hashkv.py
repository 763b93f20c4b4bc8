"""HashKV agrees with etcd's, bit for bit.

The numbers in `HASHES` were made with etcd 3.5.1 and etcdctl 3.5.1, on an empty data directory:

    H() { etcdctl endpoint hashkv -w json "$@"; }
    H                                            # 1084519789
    etcdctl put a 1; etcdctl put b 2; etcdctl put a 3; etcdctl del b; etcdctl put b 4
    etcdctl del a; etcdctl put c ''
    H; H --rev 4                                 # 790042557, 2069675932
    etcdctl put a/1 x; etcdctl put a/2 y; etcdctl put a/3 z; etcdctl del a/ --prefix
    H                                            # 3578368800
    etcdctl compact 6 --physical
    H --rev 8; H                                 # 2172179451, 2827220038
    etcdctl put d 5
    H                                            # 1509815449
    etcdctl del '' --from-key=true
    H                                            # 3589702844, with no key live
    etcdctl compact 13 --physical
    etcdctl put z 9
    H                                            # 3830371366
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from mvcc.errors import CompactedError, FutureRevisionError
from mvcc.hashkv import SLICE_ROWS_MAX, HashResult, hash_columns, hash_kv
from mvcc.keyrange import KeyRange
from tests.mvcc.model import Delete, Put
from tests.mvcc.support import ALL_KEYS, Database, run_to_end

EMPTY = 1084519789


def replay(compact: Callable[[Database, int], None]) -> list[int]:
    """The history above; `compact` is how it compacts."""
    database, hashes = Database(), []
    hashes.append(database.hash())
    database.put(b"a", b"1")
    database.put(b"b", b"2")
    database.put(b"a", b"3")
    database.delete(b"b")
    database.put(b"b", b"4")
    database.delete(b"a")
    database.put(b"c", b"")
    hashes += [database.hash(), database.hash(4)]
    for key, value in ((b"a/1", b"x"), (b"a/2", b"y"), (b"a/3", b"z")):
        database.put(key, value)
    database.delete(b"a/", b"a0")
    hashes.append(database.hash())
    compact(database, 6)
    hashes += [database.hash(8), database.hash()]
    database.put(b"d", b"5")
    hashes.append(database.hash())
    database.transact(Delete(ALL_KEYS))
    hashes.append(database.hash())
    compact(database, 13)
    database.put(b"z", b"9")
    hashes.append(database.hash())
    return hashes


HASHES = [
    EMPTY,
    790042557,
    2069675932,
    3578368800,
    2172179451,
    2827220038,
    1509815449,
    3589702844,
    3830371366,
]


def test_the_same_history_has_the_hashes_that_etcd_gives() -> None:
    """tests/common/hashkv_test.go compares members; here the other member is etcd."""
    assert replay(Database.compact) == HASHES


def test_a_compaction_counts_from_the_moment_it_is_accepted() -> None:
    """Sweeping changes no hash, with no key live either."""
    assert replay(Database.schedule) == HASHES


def test_the_answer_names_the_revision_and_what_is_compacted() -> None:
    """etcd says -1 until the first compaction."""
    database = Database()
    assert run_to_end(hash_kv(database.store, 0)) == HashResult(EMPTY, -1, 1)
    database.put(b"a")
    database.put(b"b")
    database.compact(2)
    assert run_to_end(hash_kv(database.store, 0))[1:] == (2, 3)
    assert run_to_end(hash_kv(database.store, 2))[1:] == (2, 2)


def test_hashing_again_and_after_a_restart_gives_the_same() -> None:
    """TestV3HashRestart, tests/integration/v3_grpc_test.go; and ten repeats."""
    database = Database()
    database.transact(Put(b"a", b"1"), Put(b"b", b"2", 7))
    database.delete(b"a")
    hashes = {database.hash() for _ in range(10)} | {database.restarted().hash()}
    assert len(hashes) == 1
    assert EMPTY not in hashes


def test_each_revision_has_the_hash_it_had_when_it_was_the_newest() -> None:
    database = Database()
    hashes = []
    for key in (b"a", b"b", b"a", b"c"):
        database.put(key)
        hashes.append(database.hash())
    assert [database.hash(revision) for revision in (2, 3, 4, 5)] == hashes
    assert len(set(hashes)) == 4


def test_what_cannot_be_read_cannot_be_hashed_but_the_compacted_revision_can() -> None:
    """etcd 3.5.10 and later: HashKV at the compacted revision answers."""
    database = Database()
    for _ in range(4):
        database.put(b"a")
    with pytest.raises(FutureRevisionError):
        database.hash(6)
    before = database.hash(4)
    database.compact(4)
    with pytest.raises(CompactedError):
        database.hash(3)
    # Only version 4 of the key is left, so the number is another than before the compaction.
    assert database.hash(4) != before
    assert database.hash(4) == database.restarted().hash(4)


def test_a_negative_revision_hashes_nothing() -> None:
    database = Database()
    database.put(b"a")
    database.compact(2)
    assert database.hash(-1) == EMPTY
    assert run_to_end(hash_kv(database.store, -5)).revision == -5


def test_a_tombstone_at_the_compacted_revision_does_not_count() -> None:
    """hash.go: members older than 3.5.16 have removed it."""
    database = Database()
    database.put(b"a")
    database.put(b"b")
    database.delete(b"a")
    database.schedule(4)
    tombstone = database.hash()
    database.sweep()
    assert database.hash() == tombstone
    database.put(b"c")
    database.compact(5)
    twin = Database()
    twin.put(b"x")
    twin.put(b"b")
    twin.put(b"x")
    twin.transact(Put(b"c"), Delete(KeyRange(b"x", b"y")))
    twin.compact(5)
    assert database.hash() == twin.hash()


def test_a_version_that_compaction_kept_drops_out_once_it_is_overwritten() -> None:
    """Two stores that differ in nothing else, then differ no more."""
    hashes = []
    for value in (b"one", b"two"):
        database = Database()
        database.put(b"a", value)
        database.put(b"b")
        database.compact(3)
        before = database.hash()
        database.put(b"a", b"new")
        hashes.append((before, database.hash(3), database.hash()))
    (one, one_then, one_now), (two, two_then, two_now) = hashes
    assert (one, two) == (one_then, two_then)
    assert one != two
    assert one_now == two_now


def test_others_get_a_turn_every_so_many_rows() -> None:
    database = Database()
    for _ in range(5):
        database.put(b"a")
    turns = [len(list(hash_kv(database.store, 0, slice_rows=n))) for n in (1, 2, 4, 5, 6)]
    assert turns == [5, 2, 1, 1, 0]


def test_a_hash_under_way_shows_the_rows_as_they_were_when_it_began() -> None:
    database = Database()
    for key in (b"a", b"b", b"a", b"b", b"c"):
        database.put(key)
    expected = database.hash()
    hashing = hash_kv(database.store, 0, slice_rows=1)
    next(hashing)
    database.put(b"a")
    database.delete(b"b")
    assert run_to_end(hashing) == HashResult(expected, -1, 6)


@pytest.mark.parametrize("live", [True, False])
def test_a_hash_under_way_is_not_changed_by_a_compaction_below_it(live: bool) -> None:
    """The rows are those of when it began, though their keys may be gone since."""
    database = Database()
    for key in (b"a", b"b", b"c", b"b", b"d"):
        database.put(key)
    database.delete(b"a")
    if not live:
        database.delete(b"b", b"z")
    newest = database.store.current
    database.schedule(2)
    expected = database.hash()
    hashing = hash_kv(database.store, 0, slice_rows=1)
    next(hashing)
    database.compact(newest)
    assert run_to_end(hashing) == HashResult(expected, 2, newest)


def test_a_hash_under_way_whose_revision_is_compacted_is_given_up() -> None:
    database = Database()
    for _ in range(4):
        database.put(b"a")
    hashing = hash_kv(database.store, 3, slice_rows=1)
    next(hashing)
    database.schedule(3)
    next(hashing)
    database.schedule(4)
    with pytest.raises(CompactedError):
        run_to_end(hashing)


def hash_all(backend: MemoryBackend, *columns: Column) -> tuple[int, int]:
    """The hash of `columns`, and how many turns others got meanwhile."""
    return rest_of(hash_columns(backend, columns))


def rest_of(hashing: Generator[None, None, int]) -> tuple[int, int]:
    turns = 0
    while True:
        try:
            next(hashing)
        except StopIteration as end:
            return end.value, turns
        turns += 1


def test_the_hash_of_everything_is_of_the_moment_it_begins() -> None:
    backend = MemoryBackend()
    batch = backend.batch()
    for number in range(SLICE_ROWS_MAX):
        batch.put(Column.KEY, b"%d" % number, b"v")
    backend.write(batch)
    before = hash_all(backend, Column.KEY, Column.LEASE)[0]
    hashing = hash_columns(backend, (Column.KEY, Column.LEASE))
    next(hashing)
    batch = backend.batch()
    batch.put(Column.LEASE, b"1", b"v")
    backend.write(batch)
    assert rest_of(hashing)[0] == before
    assert hash_all(backend, Column.KEY, Column.LEASE)[0] != before


def test_the_hash_of_everything_names_its_columns_and_sees_every_row() -> None:
    """TestV3Hash, tests/integration/v3_grpc_test.go: it is not 0, and only rows change it."""
    backend = MemoryBackend()
    empty = hash_all(backend, *Column)[0]
    assert 0 not in (empty, hash_all(backend, Column.META)[0])
    assert hash_all(backend, Column.META) != hash_all(backend, Column.LEASE)
    batch = backend.batch()
    for number in range(SLICE_ROWS_MAX):
        batch.put(Column.META, b"%d" % number, b"v")
    backend.write(batch)
    full = hash_all(backend, *Column)
    assert full == hash_all(backend, *Column)
    assert full[0] != empty
    assert full[1] == 1
    batch = backend.batch()
    batch.delete(Column.META, b"0")
    backend.write(batch)
    thinner = hash_all(backend, *Column)
    assert thinner[0] not in (empty, full[0])
    assert thinner[1] == 0
