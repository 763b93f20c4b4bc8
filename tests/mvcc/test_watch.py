"""What a watcher that keeps up is sent: its events, response by response.

The tests of etcd that are named here are in its v3_watch_test.go.
"""

from __future__ import annotations

import pytest

from etcdpb.kv_pb2 import Event, KeyValue
from mvcc.keyrange import KeyRange
from tests.mvcc.model import Delete, Put
from tests.mvcc.support import ALL_KEYS, Database, brief, caught_up, events_of, watch

FOO = KeyRange.from_wire(b"foo", b"")
PREFIX = KeyRange(b"foo", b"fop")


@pytest.mark.parametrize("keys", [FOO, PREFIX, ALL_KEYS, KeyRange(b"foo", None)])
def test_a_put_is_sent_at_once_with_its_revision_and_in_full(keys: KeyRange) -> None:
    """TestV3WatchFromCurrentRevision."""
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
    """TestV3WatchFromCurrentRevision, non-matching."""
    database = Database()
    _, sink = watch(database, keys)
    database.put(b"fo")
    database.put(b"fop")
    assert sink.responses == []


def test_a_deletion_shows_the_key_and_the_revision_and_nothing_else() -> None:
    database = Database()
    database.put(b"foo", b"bar", 7)
    deletion = Event(type=Event.DELETE, kv=KeyValue(key=b"foo", mod_revision=3))
    _, sink = watch(database)
    database.delete(b"foo")
    assert sink.responses == [(3, [deletion])]
    late, _ = watch(database, start=3)
    assert events_of(database.hub.catch_up(late).events) == [deletion]


def test_all_events_of_a_revision_come_in_one_response_in_the_order_made() -> None:
    """TestV3WatchMultipleEventsTxnSynced, and its twin for watchers that are behind."""
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
    """TestV3WatchMultipleWatchers: four keys and a range; another key reaches one only."""
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


def test_a_start_revision_of_0_or_of_the_next_one_means_from_now_on() -> None:
    database = Database()
    watchers = [watch(database, start=start) for start in (0, 2)]
    early, _ = watch(database, start=1)
    assert [watcher.is_synced for watcher, _ in watchers] == [True, True]
    assert not early.is_synced
    assert caught_up(database, early) == []
    database.put(b"a")
    assert [sink.brief() for _, sink in watchers] == [[(2, ["put a"])]] * 2


def test_a_watcher_of_the_future_is_silent_until_its_revision() -> None:
    """TestV3WatchFutureRevision; no progress either (etcd 3.5.22)."""
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
    """TestV3WatchWithFilter."""
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
    """TestV3WatchWithPrevKV; watchers on one key stay independent."""
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


def test_a_watcher_that_is_removed_hears_no_more() -> None:
    """TestV3WatchCancelSynced and TestV3WatchCancelUnsynced."""
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
    """progressIfSync in server/storage/mvcc/watchable_store.go."""
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


@pytest.mark.parametrize(
    ("keys", "is_told"),
    [
        (KeyRange(b"a", b"b"), True),
        (KeyRange(b"ab", b"ac"), True),
        (KeyRange(b"abc", b"abd"), True),
        (KeyRange(b"abcd", b"abce"), False),
        (KeyRange(b"b", b"c"), False),
        (KeyRange(b"a", b"c"), True),
    ],
)
def test_two_watchers_of_one_prefix_or_range_come_and_go_by_themselves(
    keys: KeyRange, is_told: bool
) -> None:
    database = Database()
    strange = (KeyRange(b"abcde", b"abcdf"), KeyRange(b"y", b"z"), KeyRange(b"x", b"z"))
    others = [watch(database, each) for each in strange]
    first, first_sink = watch(database, keys)
    second, second_sink = watch(database, keys)
    database.hub.check_invariants()
    for leaving in (first, second):
        database.put(b"abc")
        database.hub.remove(leaving)
        database.hub.check_invariants()
    database.put(b"abc")
    told = [(2, ["put abc"]), (3, ["put abc"])] if is_told else []
    assert first_sink.brief() == told[:1]
    assert second_sink.brief() == told
    assert [sink.brief() for _, sink in others] == [[], [], []]
