"""What a compaction leaves, how it goes in steps, and what a crash in the middle does to it."""

from __future__ import annotations

import pytest

from mvcc.compaction import META_FINISHED, META_FREED, META_SCHEDULED
from mvcc.errors import CompactedError, FutureRevisionError
from mvcc.keyrange import KeyRange
from mvcc.revision import decode
from mvcc.store import read_meta
from tests.mvcc.model import Delete, Put
from tests.mvcc.support import ALL_KEYS, Database


def revisions(database: Database) -> list[str]:
    """The rows on disk as etcd writes revisions: main.sub, with a t for a tombstone."""
    rows = [decode(row_key) for row_key, _ in database.rows()]
    return [f"{main}.{sub}{'t' * is_tombstone}" for main, sub, is_tombstone in rows]


@pytest.fixture
def database() -> Database:
    """The example of server/storage/mvcc/key_index.go, one revision later: 2, 3, 4t, 5, 6t."""
    database = Database()
    database.put(b"foo")
    database.put(b"foo")
    database.delete(b"foo")
    database.put(b"foo")
    database.delete(b"foo")
    return database


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (0, ["2.0", "3.0", "4.0t", "5.0", "6.0t"]),
        (1, ["2.0", "3.0", "4.0t", "5.0", "6.0t"]),
        (2, ["2.0", "3.0", "4.0t", "5.0", "6.0t"]),
        (3, ["3.0", "4.0t", "5.0", "6.0t"]),
        (4, ["4.0t", "5.0", "6.0t"]),
        (5, ["5.0", "6.0t"]),
        (6, ["6.0t"]),
    ],
)
def test_a_compaction_leaves_the_newest_version_and_a_tombstone_at_its_revision(
    database: Database, target: int, left: list[str]
) -> None:
    """TestKeyIndexCompactAndKeep, server/storage/mvcc/key_index_test.go (etcd 3.5.16)."""
    database.compact(target)
    assert revisions(database) == left
    database.check()


def test_a_tombstone_goes_once_the_compaction_is_past_it(database: Database) -> None:
    database.put(b"other")
    database.compact(6)
    assert revisions(database) == ["6.0t", "7.0"]
    database.compact(7)
    assert revisions(database) == ["7.0"]
    assert list(database.store.index.entries) == [b"other"]
    database.check()


def test_a_tombstone_below_a_newer_life_goes_alone(database: Database) -> None:
    database.put(b"foo")
    database.compact(6)
    assert revisions(database) == ["6.0t", "7.0"]
    database.compact(7)
    assert revisions(database) == ["7.0"]
    assert database.keys() == [b"foo"]


def test_what_happened_at_the_compacted_revision_stays_whole() -> None:
    """A watch from there is owed all of it, a key that was written twice included."""
    database = Database()
    database.put(b"a")
    database.transact(Delete(ALL_KEYS), Put(b"a"), Put(b"b"), Delete(KeyRange(b"b", b"c")))
    database.put(b"c")
    database.compact(3)
    assert revisions(database) == ["3.0t", "3.1", "3.2", "3.3t", "4.0"]
    database.compact(4)
    assert revisions(database) == ["3.1", "4.0"]
    assert database.keys() == [b"a", b"c"]


def test_the_current_revision_can_be_compacted_and_its_data_read() -> None:
    """TestV3CompactCurrentRev, tests/integration/v3_grpc_test.go."""
    database = Database()
    for value in (b"1", b"2", b"3"):
        database.put(b"foo", value)
    database.compact(4)
    assert revisions(database) == ["4.0"]
    kv = database.get(b"foo", 4)
    assert kv is not None
    assert kv.value == b"3"
    assert database.restarted().store.current == 4


def test_what_is_compacted_or_has_not_happened_cannot_be_compacted() -> None:
    """TestKVCompactError, tests/integration/clientv3/kv_test.go. etcd begins at -1: 0 goes once."""
    database = Database()
    check = database.compactor.check
    with pytest.raises(CompactedError):
        check(-1)
    with pytest.raises(FutureRevisionError):
        check(2)
    database.compact(0)
    with pytest.raises(CompactedError):
        check(0)
    database.put(b"a")
    database.compact(2)
    with pytest.raises(CompactedError) as refusal:
        check(1)
    assert (refusal.value.requested, refusal.value.compacted) == (1, 2)
    with pytest.raises(CompactedError):
        check(2)


def test_reads_below_are_refused_before_anything_is_swept(database: Database) -> None:
    database.schedule(5)
    assert database.compactor.is_sweeping
    assert revisions(database) == ["2.0", "3.0", "4.0t", "5.0", "6.0t"]
    with pytest.raises(CompactedError):
        database.keys(revision=4)
    assert database.keys(revision=5) == [b"foo"]


def test_a_sweep_goes_a_bounded_number_of_rows_at_a_time(database: Database) -> None:
    """One row that is walked makes at most one older row garbage, and itself."""
    database.schedule(6)
    seen = []
    while not database.step(rows_max=1):
        seen.append(revisions(database))
        database.check()
    assert seen == [
        ["2.0", "3.0", "4.0t", "5.0", "6.0t"],
        ["3.0", "4.0t", "5.0", "6.0t"],
        ["5.0", "6.0t"],
        ["5.0", "6.0t"],
        ["6.0t"],
    ]
    assert revisions(database) == ["6.0t"]
    assert not database.compactor.is_sweeping
    assert database.store.swept_revision == 6


def test_only_what_changed_since_the_last_compaction_is_walked() -> None:
    database = Database()
    for number in range(10):
        database.put(b"%d" % number)
    database.compact(11)
    database.put(b"5")
    database.put(b"x")
    database.schedule(13)
    # Revision 11 once more, 12 and 13: three rows, and the end is only known behind them.
    assert [database.step(rows_max=1) for _ in range(4)] == [False, False, False, True]
    assert revisions(database)[-3:] == ["11.0", "12.0", "13.0"]
    assert len(revisions(database)) == 11


def test_a_new_target_in_the_middle_of_a_sweep_is_swept_too(database: Database) -> None:
    database.schedule(4)
    database.step(rows_max=2)
    database.schedule(6)
    assert database.store.compact_revision == 6
    database.sweep()
    assert revisions(database) == ["6.0t"]
    assert database.store.swept_revision == 6


def test_a_new_target_takes_what_the_old_one_had_to_leave(database: Database) -> None:
    """The tombstone at 6 was walked already and left, as it stood at the target."""
    database.put(b"other")
    database.schedule(6)
    for _ in range(5):
        assert not database.step(rows_max=1)
    assert revisions(database) == ["6.0t", "7.0"]
    database.schedule(7)
    database.sweep()
    assert revisions(database) == ["7.0"]


def test_what_the_last_target_had_to_leave_goes_though_a_crash_comes_first(
    database: Database,
) -> None:
    database.put(b"other")
    database.compact(6)
    database.schedule(7)
    database = database.restarted()
    database.sweep()
    assert revisions(database) == ["7.0"]


@pytest.mark.parametrize("steps", range(7))
def test_a_sweep_that_a_crash_interrupts_is_finished_after_the_restart(
    database: Database, steps: int
) -> None:
    """The compacted revision holds from the moment it was accepted."""
    database.schedule(6)
    for _ in range(steps):
        if database.compactor.is_sweeping:
            database.step(rows_max=1)
    freed = database.store.freed
    database = database.restarted()
    assert database.store.compact_revision == 6
    assert database.store.freed == freed
    assert database.compactor.is_sweeping == (steps < 6)
    database.check()
    database.sweep()
    assert revisions(database) == ["6.0t"]
    assert not database.restarted().compactor.is_sweeping


def test_the_revision_does_not_go_back_when_its_rows_are_gone() -> None:
    """restore in server/storage/mvcc/kvstore.go: never below the scheduled compaction."""
    database = Database()
    database.put(b"a")
    database.delete(b"a")
    database.compact(3)
    database = database.restarted()
    assert (database.store.current, database.store.published) == (3, 3)
    assert database.put(b"a") == 4
    database.compact(4)
    assert database.restarted().store.current == 4


def test_the_state_of_a_compaction_is_kept_beside_the_rows(database: Database) -> None:
    database.schedule(5)
    names = (META_SCHEDULED, META_FINISHED, META_FREED)
    assert [read_meta(database.backend, name, -9) for name in names] == [5, -9, -9]
    before = database.store.in_use
    database.sweep()
    freed = before - database.store.in_use
    assert [read_meta(database.backend, name, -9) for name in names] == [5, 5, freed]


def test_a_step_with_nothing_scheduled_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Database().step(rows_max=1)
