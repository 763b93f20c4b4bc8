"""Watch: what is told, to whom, and in which shape."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb.kv_pb2 import Event, KeyValue
from tests.support.clock import FakeClock
from tests.support.ops import delete, nested, put, txn
from tests.support.serving import Running, served

ALL: Final = b"\0"
NOPUT, NODELETE = pb.WatchCreateRequest.NOPUT, pb.WatchCreateRequest.NODELETE


def _what(event: Event) -> tuple[str, bytes, bytes, int]:
    kind = "delete" if event.type == Event.DELETE else "put"
    return kind, event.kv.key, event.kv.value, event.kv.mod_revision


# --- from now on ---


@pytest.mark.parametrize(
    ("key", "range_end", "seen"),
    [
        (b"foo", b"", [b"foo"]),
        (b"foo", b"fop", [b"foo", b"foobar"]),
        (b"foobar", ALL, [b"foobar", b"z"]),
        (b"", ALL, [b"a", b"foo", b"foobar", b"z"]),
        (b"", b"foo", [b"a"]),
        (b"nothing", b"", []),
        (b"x", b"y", []),
    ],
)
@served()
async def test_each_put_that_matches_is_one_response_at_its_revision(
    server: Running, key: bytes, range_end: bytes, seen: list[bytes]
) -> None:
    """TestV3WatchFromCurrentRevision and TestV3WatchEmptyKey: exact, and silence otherwise."""
    watching = server.client.watching()
    created = await watching.create(key, range_end)
    assert (created.header.revision, created.watch_id) == (1, 0)
    assert not created.canceled
    revisions = {}
    for name in (b"a", b"foo", b"foobar", b"z"):
        revisions[name] = (await server.client.put(name, b"v")).header.revision
    for name in seen:
        response = await watching.receive()
        at = revisions[name]
        assert (response.header.revision, response.watch_id) == (at, 0)
        assert response.header.raft_term == created.header.raft_term
        kv = KeyValue(key=name, value=b"v", create_revision=at, mod_revision=at, version=1)
        assert list(response.events) == [Event(kv=kv)]
    await watching.expect_silence()


@served()
async def test_every_kind_of_change_has_its_event(server: Running) -> None:
    """TestWatchEventType of clientv3: create, modify, delete, create with a lease, expiry."""
    watching = server.client.watching()
    await watching.create(b"a")
    lease = (await server.client.grant(60)).ID
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    await server.client.delete(b"a")
    await server.client.put(b"a", b"3", lease=lease)
    await server.client.revoke(lease)
    created, modified, deleted, leased, revoked = await watching.receive_events(5)
    assert (created.kv.create_revision, created.kv.mod_revision) == (2, 2)
    assert (modified.kv.create_revision, modified.kv.mod_revision) == (2, 3)
    assert modified.kv.version == 2
    assert deleted == Event(type=Event.DELETE, kv=KeyValue(key=b"a", mod_revision=4))
    assert (leased.kv.lease, leased.kv.version) == (lease, 1)
    assert revoked == Event(type=Event.DELETE, kv=KeyValue(key=b"a", mod_revision=6))


@served(clock=FakeClock)
async def test_an_expiry_deletes_all_keys_of_its_lease_in_one_response(server: Running) -> None:
    """TestV3LeaseExpire; keys in byte order, at one revision, just as a delete looks."""
    await server.client.grant(2, 7)
    for key in (b"c", b"a", b"b"):
        await server.client.put(key, b"v", lease=7)
    watching = server.client.watching()
    await watching.create(ALL, ALL, prev_kv=True)
    await server.time.advance(3)
    response = await watching.receive()
    assert response.header.revision == 5
    assert [_what(event) for event in response.events] == [
        ("delete", key, b"", 5) for key in (b"a", b"b", b"c")
    ]
    assert {event.prev_kv.lease for event in response.events} == {7}


@served()
async def test_a_put_of_nothing_is_a_put(server: Running) -> None:
    """TestV3WatchEmptyKey: an empty value is no deletion."""
    watching = server.client.watching()
    await watching.create(b"a")
    await server.client.put(b"a", b"")
    (event,) = (await watching.receive()).events
    assert (event.type, event.kv.value, event.kv.version) == (Event.PUT, b"", 1)


@served()
async def test_what_changes_nothing_is_not_told(server: Running) -> None:
    watching = server.client.watching()
    await watching.create(ALL, ALL)
    await server.client.delete(b"a")
    await server.client.grant(60, 7)
    await server.client.revoke(7)
    await server.client.kv.Txn(txn([delete(b"a")]))
    await server.client.compact(1)
    await watching.expect_silence()


@served()
async def test_a_transaction_is_one_response_in_the_order_it_ran(server: Running) -> None:
    """TestV3WatchMultipleEventsTxnSynced; deletes of a range in the order of keys."""
    for key in (b"d2", b"d1"):
        await server.client.put(key)
    watching = server.client.watching()
    await watching.create(ALL, ALL)
    await server.client.kv.Txn(
        txn([put(b"z", b"1"), delete(b"d", b"e"), nested([put(b"y", b"2")]), put(b"a", b"3")])
    )
    response = await watching.receive()
    assert [_what(event) for event in response.events] == [
        ("put", b"z", b"1", 4),
        ("delete", b"d1", b"", 4),
        ("delete", b"d2", b"", 4),
        ("put", b"y", b"2", 4),
        ("put", b"a", b"3", 4),
    ]
    await watching.expect_silence()


@served()
async def test_a_key_put_and_deleted_in_one_transaction_is_told_twice(server: Running) -> None:
    """A hole of the overlap check; neither event has a version before the transaction."""
    watching = server.client.watching()
    await watching.create(b"a", prev_kv=True)
    await server.client.kv.Txn(txn([nested([put(b"a", b"1")]), nested([delete(b"a")])]))
    response = await watching.receive()
    assert [_what(event) for event in response.events] == [
        ("put", b"a", b"1", 2),
        ("delete", b"a", b"", 2),
    ]
    assert not any(event.HasField("prev_kv") for event in response.events)


# --- prev_kv and filters ---


@served()
async def test_prev_kv_is_what_stood_before_and_is_told_only_to_who_asked(
    server: Running,
) -> None:
    """TestV3WatchWithPrevKV and TestWatchWithPrevKV: two watchers of one key stay apart."""
    asking, plain = server.client.watching(), server.client.watching()
    await asking.create(b"a", prev_kv=True)
    await plain.create(b"a")
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    await server.client.delete(b"a")
    await server.client.put(b"a", b"3")
    events = await asking.receive_events(4)
    assert [event.HasField("prev_kv") for event in events] == [False, True, True, False]
    assert [event.prev_kv.value for event in events] == [b"", b"1", b"2", b""]
    assert (events[2].prev_kv.mod_revision, events[2].prev_kv.version) == (3, 2)
    assert not any(event.HasField("prev_kv") for event in await plain.receive_events(4))


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        ([], ["put", "delete", "put"]),
        ([NOPUT], ["delete"]),
        ([NODELETE], ["put", "put"]),
        ([NOPUT, NODELETE], []),
        ([7], ["put", "delete", "put"]),
        ([NOPUT, 7, NOPUT], ["delete"]),
    ],
)
@pytest.mark.parametrize("start_revision", [0, 2])
@served()
async def test_filters_drop_kinds_of_events_and_no_response_is_left_empty(
    server: Running, start_revision: int, filters: list[Any], kinds: list[str]
) -> None:
    """TestV3WatchWithFilter and TestWatchWithFilter, live and from history; unknown ones pass."""
    watching = server.client.watching()
    if not start_revision:
        await watching.create(b"a", filters=filters)
    await server.client.put(b"a", b"1")
    await server.client.delete(b"a")
    await server.client.put(b"a", b"2")
    if start_revision:
        await watching.create(b"a", filters=filters, start_revision=start_revision)
    events = await watching.receive_events(len(kinds))
    assert [_what(event)[0] for event in events] == kinds
    await watching.expect_silence()


# --- many watchers ---


@served()
async def test_each_watcher_of_a_stream_has_its_own_responses(server: Running) -> None:
    """TestV3WatchMultipleWatchersSynced: four of keys and one of a range, on one stream."""
    watching = server.client.watching()
    for number in range(4):
        assert (await watching.create(b"foo%d" % number)).watch_id == number
    assert (await watching.create(b"foo", b"fop")).watch_id == 4
    await server.client.put(b"foo2", b"v")
    both = [await watching.receive(), await watching.receive()]
    assert sorted(response.watch_id for response in both) == [2, 4]
    assert both[0].events == both[1].events
    await server.client.put(b"fook", b"v")
    assert (await watching.receive()).watch_id == 4
    await server.client.put(b"other", b"v")
    await watching.expect_silence()


@served()
async def test_each_stream_counts_its_own_watchers(server: Running) -> None:
    """TestV3WatchMultipleStreamsSynced: five streams, id 0 on each."""
    streams = [server.client.watching() for _ in range(5)]
    for watching in streams:
        assert (await watching.create(b"foo")).watch_id == 0
    await server.client.put(b"foo", b"bar")
    for watching in streams:
        (event,) = (await watching.receive()).events
        assert _what(event) == ("put", b"foo", b"bar", 2)


@served()
async def test_no_revision_is_lost_between_created_and_the_first_event(server: Running) -> None:
    """TestV3WatchCurrentPutOverlap."""
    await _watchers_come_while_others_put(server)


@served(on_disk=True)
async def test_none_is_lost_either_while_groups_are_on_their_way_to_the_disk(
    server: Running,
) -> None:
    await _watchers_come_while_others_put(server)


async def _watchers_come_while_others_put(server: Running) -> None:
    """Each has all from its own created revision on, none twice."""
    puts_total = 300

    async def write() -> None:
        for number in range(puts_total):
            await server.client.put(b"foo%d" % (number % 3), b"v")

    async def watch() -> None:
        watching = server.client.watching()
        created = await watching.create(b"foo", b"fop")
        first = created.header.revision + 1
        events = await watching.receive_events(puts_total + 2 - first)
        revisions = [event.kv.mod_revision for event in events]
        assert revisions == list(range(first, puts_total + 2))

    async def watch_later(delay_puts: int) -> None:
        while await server.client.revision() < delay_puts:
            pass
        await watch()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for number in range(10):
            tasks.create_task(watch_later(number * 20))


@served()
async def test_no_response_splits_a_revision_or_is_empty_whatever_happens(
    server: Running,
) -> None:
    """The robustness tests' atomic and ordered, over puts and transactions at once."""
    watching = server.client.watching()
    await watching.create(ALL, ALL)
    pairs = [txn([put(b"a%d" % n, b"x"), put(b"b%d" % n, b"x")]) for n in range(50)]
    await asyncio.gather(
        *[server.client.kv.Txn(pair) for pair in pairs],
        *[server.client.put(b"c%d" % n) for n in range(50)],
    )
    revision = 1  # Of the last event heard.
    while revision < 101:
        response = await watching.receive()
        revisions = [event.kv.mod_revision for event in response.events]
        assert revisions[0] == revision + 1
        assert revisions == sorted(revisions)
        assert set(revisions) == set(range(revision + 1, revisions[-1] + 1))
        revision = revisions[-1]
        assert response.header.revision >= revision
        for event in response.events:
            alone = event.kv.key.startswith(b"c")
            assert revisions.count(event.kv.mod_revision) == (1 if alone else 2)


# --- revisions of one key in a row ---


@served()
async def test_puts_of_one_key_that_share_a_group_are_told_one_by_one(server: Running) -> None:
    """To watchers that share what is sent, and to such as do not."""
    watching = server.client.watching()
    await watching.create(b"a", watch_id=0)
    await watching.create(b"a", watch_id=1, prev_kv=True)
    await watching.create(b"a", watch_id=2, fragment=True)
    await watching.create(b"a", watch_id=3)
    await watching.create(b"a", ALL, watch_id=4, progress_notify=True)
    count = 50
    await asyncio.gather(*(server.client.put(b"a", b"%d" % number) for number in range(count)))
    told: dict[int, list[tuple[int, int, int]]] = {}
    while sum(map(len, told.values())) < 5 * count:
        response = await watching.receive()
        for event in response.events:
            had_prev = event.HasField("prev_kv")
            told.setdefault(response.watch_id, []).append(
                (event.kv.mod_revision, event.kv.version, had_prev)
            )
    for watch_id, events in told.items():
        assert events == [
            (2 + number, 1 + number, watch_id == 1 and number > 0) for number in range(count)
        ]
    await watching.expect_silence()
