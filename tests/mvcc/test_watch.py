"""Watchers: what each is sent, when it falls behind, and how it catches up."""

from __future__ import annotations

import pytest

from etcdpb.kv_pb2 import Event, KeyValue
from mvcc.keyrange import KeyRange
from mvcc.watch import Caught, Watcher, WatchHub
from tests.mvcc.model import Delete, Put
from tests.mvcc.support import ALL_KEYS, Database, Recorder, brief, events_of

FOO = KeyRange.from_wire(b"foo", b"")
PREFIX = KeyRange(b"foo", b"fop")


def watch(
    database: Database,
    keys: KeyRange = ALL_KEYS,
    *,
    start: int = 0,
    room: int = 1000,
    no_put: bool = False,
    no_delete: bool = False,
    prev_kv: bool = False,
) -> tuple[Watcher, Recorder]:
    sink = Recorder(room)
    watcher = Watcher(
        0, keys, sink, start_revision=start, no_put=no_put, no_delete=no_delete, prev_kv=prev_kv
    )
    database.hub.add(watcher)
    return watcher, sink


def caught_up(database: Database, watcher: Watcher) -> list[list[str]]:
    """Catch up to the end; the responses on the way that have events, in words."""
    responses = []
    while not watcher.is_synced:
        events, compacted = database.hub.catch_up(watcher)
        assert compacted == 0
        if events:
            responses.append([brief(event) for event in events_of(events)])
    return responses


@pytest.mark.parametrize("keys", [FOO, PREFIX, ALL_KEYS, KeyRange(b"foo", None)])
def test_a_put_is_sent_at_once_with_its_revision_and_in_full(keys: KeyRange) -> None:
    """Checklist 53, 55 and 60: TestV3WatchFromCurrentRevision."""
    database = Database()
    watcher, sink = watch(database, keys)
    assert watcher.is_synced
    database.put(b"foo", b"bar", 7)
    database.put(b"foo", b"")
    kv = {"key": b"foo", "create_revision": 2}
    assert sink.responses == [
        (2, [Event(kv=KeyValue(**kv, mod_revision=2, version=1, value=b"bar", lease=7))]),  # type: ignore[arg-type]  # key and number
        (3, [Event(kv=KeyValue(**kv, mod_revision=3, version=2))]),  # type: ignore[arg-type]  # as above
    ]


@pytest.mark.parametrize("keys", [FOO, KeyRange(b"foo", b"fop"), KeyRange(b"g", None)])
def test_what_does_not_match_is_not_sent(keys: KeyRange) -> None:
    """Checklist 54."""
    database = Database()
    _, sink = watch(database, keys)
    database.put(b"fo")
    database.put(b"fop")
    assert sink.responses == []


def test_a_deletion_shows_the_key_and_the_revision_and_nothing_else() -> None:
    """Checklist 72."""
    database = Database()
    database.put(b"foo", b"bar", 7)
    deletion = Event(type=Event.DELETE, kv=KeyValue(key=b"foo", mod_revision=3))
    _, sink = watch(database)
    database.delete(b"foo")
    assert sink.responses == [(3, [deletion])]
    late, _ = watch(database, start=3)
    assert events_of(database.hub.catch_up(late).events) == [deletion]


def test_all_events_of_a_revision_come_in_one_response_in_the_order_made() -> None:
    """Checklist 62 and 95: TestV3WatchMultipleEventsTxnSynced and its unsynced twin."""
    database = Database()
    _, sink = watch(database)
    database.put(b"c")
    database.transact(Put(b"b"), Put(b"a"), Delete(KeyRange(b"b", b"d")), Put(b"z"))
    expected = ["put b", "put a", "del b", "del c", "put z"]
    assert sink.brief() == [(2, ["put c"]), (3, expected)]
    for keys, words in ((ALL_KEYS, expected), (KeyRange(b"b", b"c"), ["put b", "del b"])):
        late, _ = watch(database, keys, start=3)
        assert caught_up(database, late) == [words]


def test_transactions_of_one_group_are_responses_of_their_own() -> None:
    database = Database()
    _, sink = watch(database)
    with database.group():
        database.apply([Put(b"a"), Put(b"b")])
        database.apply([Put(b"c")])
        assert sink.responses == []
    assert sink.brief() == [(2, ["put a", "put b"]), (3, ["put c"])]


def test_each_watcher_gets_a_response_of_its_own() -> None:
    """Checklist 61: four keys and a range on one stream; another key reaches one only."""
    database = Database()
    singles = [watch(database, KeyRange.from_wire(b"foo%d" % n, b""))[1] for n in range(4)]
    _, over_all = watch(database, KeyRange(b"foo", b"fop"))
    database.put(b"foo")
    database.transact(*(Put(b"foo%d" % n) for n in range(4)))
    assert [sink.brief() for sink in singles] == [[(3, [f"put foo{n}"])] for n in range(4)]
    assert over_all.brief() == [
        (2, ["put foo"]),
        (3, ["put foo0", "put foo1", "put foo2", "put foo3"]),
    ]


def test_a_watcher_from_the_past_gets_history_and_then_what_happens() -> None:
    """Checklist 63 and 97: nothing twice, nothing left out."""
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
    """Checklist 69: it can then be told of progress."""
    database = Database()
    database.put(b"bar")
    watcher, _ = watch(database, keys if keys is FOO else KeyRange(b"x", None), start=1)
    assert database.hub.progress_revision([watcher]) is None
    assert database.hub.catch_up(watcher) == Caught([], 0)
    assert watcher.is_synced
    assert database.hub.progress_revision([watcher]) == 2


def test_a_start_revision_of_0_or_of_the_next_one_means_from_now_on() -> None:
    """Checklist 83: 0 and 1 give no events on an empty store."""
    database = Database()
    watchers = [watch(database, start=start) for start in (0, 2)]
    early, _ = watch(database, start=1)
    assert [watcher.is_synced for watcher, _ in watchers] == [True, True]
    assert not early.is_synced
    assert caught_up(database, early) == []
    database.put(b"a")
    assert [sink.brief() for _, sink in watchers] == [[(2, ["put a"])]] * 2


def test_a_watcher_of_the_future_is_silent_until_its_revision() -> None:
    """Checklist 56: TestV3WatchFutureRevision; no progress either (etcd 3.5.22)."""
    database = Database()
    watcher, sink = watch(database, start=10)
    other, _ = watch(database)
    assert watcher.is_synced
    for _ in range(8):
        assert database.hub.progress_revision([watcher]) is None
        assert database.hub.progress_revision([other]) == database.store.current
        database.put(b"a")
    assert sink.responses == []
    assert database.hub.progress_revision([watcher]) is None
    database.put(b"a")
    assert sink.brief() == [(10, ["put a"])]
    assert database.hub.progress_revision([watcher, other]) == 10


def test_filters_drop_puts_or_deletions_and_empty_responses_are_not_sent() -> None:
    """Checklist 72."""
    database = Database()
    options = [(False, False), (True, False), (False, True), (True, True)]
    watches = [watch(database, no_put=put, no_delete=delete) for put, delete in options]
    database.put(b"a")
    database.transact(Put(b"b"), Delete(FOO), Delete(KeyRange(b"a", b"b")))
    expected = [
        [(2, ["put a"]), (3, ["put b", "del a"])],
        [(3, ["del a"])],
        [(2, ["put a"]), (3, ["put b"])],
        [],
    ]
    assert [sink.brief() for _, sink in watches] == expected
    for (put, delete), live in zip(options, expected, strict=True):
        late, _ = watch(database, start=1, no_put=put, no_delete=delete)
        words = [word for _, response in live for word in response]
        assert caught_up(database, late) == ([words] if words else [])


def previous(events: list[Event]) -> list[tuple[str, bytes | None]]:
    return [
        (brief(event), event.prev_kv.value if event.HasField("prev_kv") else None)
        for event in events
    ]


def test_prev_kv_shows_what_stood_before_to_those_who_asked() -> None:
    """Checklist 15 and 73: mixed watchers on one key stay independent."""
    database = Database()
    _, asks = watch(database, FOO, prev_kv=True)
    _, does_not = watch(database, FOO)
    _, asks_for_all = watch(database, prev_kv=True)
    database.put(b"foo", b"1")
    database.put(b"foo", b"2")
    database.delete(b"foo")
    database.put(b"foo", b"3")
    expected = [("put foo", None), ("put foo", b"1"), ("del foo", b"2"), ("put foo", None)]
    for sink in (asks, asks_for_all):
        assert previous([events[0] for _, events in sink.responses]) == expected
    assert {kv for _, kv in previous([e[0] for _, e in does_not.responses])} == {None}
    for keys in (FOO, ALL_KEYS):
        late, _ = watch(database, keys, start=1, prev_kv=True)
        assert previous(events_of(database.hub.catch_up(late).events)) == expected
        late, _ = watch(database, keys, start=1)
        plain = previous(events_of(database.hub.catch_up(late).events))
        assert plain == [(word, None) for word, _ in expected]


def test_a_creation_has_no_prev_kv_though_its_transaction_deleted_one() -> None:
    """IsCreateEvent in server/etcdserver/api/v3rpc/watch.go."""
    database = Database()
    database.put(b"foo", b"1")
    _, sink = watch(database, prev_kv=True)
    database.transact(Delete(FOO), Put(b"foo", b"2"))
    expected = [("del foo", b"1"), ("put foo", None)]
    assert previous(sink.responses[0][1]) == expected
    late, _ = watch(database, start=3, prev_kv=True)
    assert previous(events_of(database.hub.catch_up(late).events)) == expected


def test_the_event_at_the_compacted_revision_has_no_prev_kv_and_the_next_has() -> None:
    database = Database()
    for value in (b"1", b"2", b"3"):
        database.put(b"foo", value)
    database.compact(3)
    for keys in (FOO, ALL_KEYS):
        late, _ = watch(database, keys, start=3, prev_kv=True)
        events = events_of(database.hub.catch_up(late).events)
        assert previous(events) == [("put foo", None), ("put foo", b"2")]


def test_a_sink_without_room_makes_its_watcher_fall_behind_at_that_revision() -> None:
    """Checklist 71: slow readers lose nothing."""
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
    """Checklist 71 and 79."""
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
    database.hub = WatchHub(database.store, revisions_max=2)
    for _ in range(6):
        database.put(b"foo")
    watcher, _ = watch(database, start=2)
    assert len(database.hub.catch_up(watcher).events) == 2
    database.compact(6)
    assert database.hub.catch_up(watcher) == Caught([], 6)


def test_a_deletion_at_the_compacted_revision_is_still_seen() -> None:
    """Checklist 87: TestDeleteEventDrop_Issue18089, also after a restart in the sweep."""
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
    database.hub = WatchHub(database.store, revisions_max=2)
    for _ in range(3):
        database.transact(Put(b"foo"), Put(b"other"), Put(b"foo"))
        database.put(b"other")
    watcher, _ = watch(database, keys, start=2)
    assert [len(response) for response in caught_up(database, watcher)] == [4, 2]


def test_a_step_over_rows_of_other_keys_may_end_without_events() -> None:
    database = Database()
    database.hub = WatchHub(database.store, rows_max=2)
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
    database.hub = WatchHub(database.store, bytes_max=1000)
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


def test_a_watcher_that_is_removed_hears_no_more() -> None:
    """Checklist 58 and 74: whether it is synced or behind."""
    database = Database()
    watches = [watch(database, keys, start=start) for keys in (FOO, PREFIX) for start in (0, 0, 1)]
    for number, (watcher, _) in enumerate(watches, 1):
        database.hub.remove(watcher)
        database.hub.check_invariants()
        assert len(database.hub) == 6 - number
    database.put(b"foo")
    assert [sink.responses for _, sink in watches] == [[]] * 6
    assert database.hub.behind_count == 0


def test_progress_speaks_of_everyone_or_of_no_one() -> None:
    """Checklist 67 and 68."""
    database = Database()
    hub = database.hub
    ahead, _ = watch(database)
    assert hub.progress_revision([]) == 1
    database.put(b"foo")
    behind, _ = watch(database, start=1)
    assert hub.progress_revision([ahead]) == 2
    assert hub.progress_revision([ahead, behind]) is None
    assert caught_up(database, behind) == [["put foo"]]
    assert hub.progress_revision([ahead, behind]) == 2
