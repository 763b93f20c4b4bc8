"""Watchers that are behind: what history owes them, in which portions, and what it owes no more."""

from __future__ import annotations

import pytest

from mvcc.keyrange import KeyRange
from mvcc.watch import Caught, WatchHub
from mvcc.watch_history import History
from tests.mvcc.model import Put
from tests.mvcc.support import ALL_KEYS, Database, caught_up, watch

FOO = KeyRange.from_wire(b"foo", b"")
PREFIX = KeyRange(b"foo", b"fop")


def test_a_watcher_from_the_past_gets_history_and_then_what_happens() -> None:
    """TestV3WatchCurrentPutOverlap in v3_watch_test.go: nothing twice, nothing left out."""
    database = Database()
    for key in (b"foo", b"bar", b"foo"):
        database.put(key)
    watcher, sink = watch(database, FOO, start=2)
    assert not watcher.is_synced
    database.put(b"foo")
    assert sink.responses == []
    assert caught_up(database, watcher) == [["put foo", "put foo", "put foo"]]
    database.put(b"foo")
    assert sink.brief() == [(6, ["put foo"])]


@pytest.mark.parametrize(
    ("start", "history"),
    [(1, ["put a", "put b", "put a"]), (2, ["put a", "put b", "put a"]), (3, ["put b", "put a"])],
)
def test_history_begins_with_the_start_revision_itself(start: int, history: list[str]) -> None:
    database = Database()
    for key in (b"a", b"b", b"a"):
        database.put(key)
    watcher, _ = watch(database, start=start)
    assert caught_up(database, watcher) == [history]
    assert watcher.next_revision == 5


@pytest.mark.parametrize("keys", [FOO, ALL_KEYS])
def test_a_watcher_that_has_no_history_is_synced_without_events(keys: KeyRange) -> None:
    """It can then be told of progress (etcd 3.5.13)."""
    database = Database()
    database.put(b"bar")
    watcher, _ = watch(database, keys if keys is FOO else KeyRange(b"x", None), start=1)
    assert database.hub.progress_revision([watcher]) is None
    assert database.hub.catch_up(watcher) == Caught([], 0)
    assert watcher.is_synced
    assert database.hub.progress_revision([watcher]) == 2


def test_a_sink_without_room_makes_its_watcher_fall_behind_at_that_revision() -> None:
    database = Database()
    slow, sink = watch(database, room=1)
    _, quick = watch(database)
    for key in (b"a", b"b", b"c"):
        database.put(key)
    assert sink.brief() == [(2, ["put a"])]
    assert (slow.is_synced, slow.next_revision) == (False, 3)
    assert len(quick.responses) == 3
    assert database.hub.behind_count == 1
    sink.room = 9
    database.put(b"d")
    assert len(sink.responses) == 1
    assert caught_up(database, slow) == [["put b", "put c", "put d"]]
    database.put(b"e")
    assert sink.brief() == [(2, ["put a"]), (6, ["put e"])]


def test_a_refusal_within_a_group_holds_for_the_rest_of_it() -> None:
    database = Database()
    slow, sink = watch(database, FOO, room=1)
    with database.group():
        for _ in range(3):
            database.apply([Put(b"foo")])
    assert (len(sink.responses), slow.next_revision) == (1, 3)
    assert caught_up(database, slow) == [["put foo", "put foo"]]


def test_an_idle_watcher_falls_behind_where_it_was_refused_and_not_where_it_began() -> None:
    """Else an idle watcher would be told of a compaction that concerns it in nothing."""
    database = Database()
    idle, sink = watch(database, FOO)
    for _ in range(5):
        database.put(b"bar")
    database.compact(6)
    assert idle.is_synced
    sink.room = 0
    database.put(b"foo")
    assert caught_up(database, idle) == [["put foo"]]


@pytest.mark.parametrize("keys", [FOO, ALL_KEYS])
def test_a_watcher_is_told_once_that_what_it_needs_is_compacted(keys: KeyRange) -> None:
    """TestWatchCompactRevision, tests/integration/clientv3/watch/watch_test.go."""
    database = Database()
    for _ in range(4):
        database.put(b"foo")
    watcher, _ = watch(database, keys, start=3)
    early, _ = watch(database, keys, start=4)
    database.schedule(4)
    assert database.hub.catch_up(watcher) == Caught([], 4)
    assert watcher.is_compacted
    assert not watcher.is_synced
    assert database.hub.progress_revision([watcher]) is None
    assert caught_up(database, early) == [["put foo", "put foo"]]
    database.hub.remove(watcher)
    assert len(database.hub) == 1


def test_a_compaction_in_the_middle_of_catching_up_is_told() -> None:
    database = Database()
    database.hub = WatchHub(database.store, History(database.store, revisions_max=2))
    for _ in range(6):
        database.put(b"foo")
    watcher, _ = watch(database, start=2)
    assert len(database.hub.catch_up(watcher).events) == 2
    database.compact(6)
    assert database.hub.catch_up(watcher) == Caught([], 6)


def test_a_deletion_at_the_compacted_revision_is_still_seen() -> None:
    """TestDeleteEventDrop_Issue18089, tests/e2e/watch_test.go; after a crash in the sweep, too."""
    database = Database()
    database.put(b"foo")
    database.delete(b"foo")
    database.schedule(3)
    database.step(rows_max=1)
    database = database.restarted()
    for _ in range(2):
        for keys in (FOO, ALL_KEYS):
            late, _ = watch(database, keys, start=3)
            assert caught_up(database, late) == [["del foo"]]
        database.sweep()


@pytest.mark.parametrize("keys", [FOO, ALL_KEYS])
def test_history_comes_in_responses_of_at_most_so_many_revisions(keys: KeyRange) -> None:
    """etcd's watchBatchMaxRevs: 2500 revisions come as 1000, 1000 and 500."""
    database = Database()
    with database.group():
        for _ in range(2500):
            database.apply([Put(b"foo")])
    watcher, _ = watch(database, keys, start=2)
    assert [len(response) for response in caught_up(database, watcher)] == [1000, 1000, 500]


@pytest.mark.parametrize("keys", [FOO, KeyRange(b"foo", b"fop")])
def test_the_bound_counts_revisions_and_not_events(keys: KeyRange) -> None:
    """A revision is never split, and those of other keys do not count."""
    database = Database()
    database.hub = WatchHub(database.store, History(database.store, revisions_max=2))
    for _ in range(3):
        database.transact(Put(b"foo"), Put(b"other"), Put(b"foo"))
        database.put(b"other")
    watcher, _ = watch(database, keys, start=2)
    assert [len(response) for response in caught_up(database, watcher)] == [4, 2]


def test_a_step_over_rows_of_other_keys_may_end_without_events() -> None:
    database = Database()
    database.hub = WatchHub(database.store, History(database.store, rows_max=2))
    for key in (b"a", b"a", b"a", b"foo", b"a"):
        database.put(key)
    watcher, _ = watch(database, PREFIX, start=2)
    steps = []
    while not watcher.is_synced:
        steps.append((len(database.hub.catch_up(watcher).events), watcher.next_revision))
    assert steps == [(0, 4), (1, 6), (0, 7)]


@pytest.mark.parametrize("keys", [FOO, ALL_KEYS])
def test_a_response_ends_at_the_revision_that_fills_it(keys: KeyRange) -> None:
    database = Database()
    database.hub = WatchHub(database.store, History(database.store, bytes_max=1000))
    for _ in range(5):
        database.put(b"foo", b"v" * 600)
    watcher, _ = watch(database, keys, start=2)
    assert [len(response) for response in caught_up(database, watcher)] == [2, 2, 1]


def test_an_event_that_is_not_durable_yet_is_not_read_from_history() -> None:
    database = Database()
    database.put(b"foo")
    late, sink = watch(database, FOO, start=2)
    with database.group():
        database.apply([Put(b"foo")])
        assert len(database.hub.catch_up(late).events) == 1
    assert sink.brief() == [(3, ["put foo"])]
