"""Watching from an older revision: history, then the present, and what compaction leaves of it."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb.kv_pb2 import Event, KeyValue
from mvcc.backend.memory import MemoryBackend
from server import status
from tests.support.client import Client, Watching, refusal, until
from tests.support.loop import run_in_loop
from tests.support.ops import delete, put, txn
from tests.support.serving import Running, running, served

ALL: Final = b"\0"


async def _put_slowly(client: Client, count: int) -> None:
    for _ in range(count // 50):
        await asyncio.gather(*[client.put(b"a") for _ in range(50)])


async def _revisions(watching: Watching, count: int) -> list[int]:
    return [event.kv.mod_revision for event in await watching.receive_events(count)]


# --- from a revision on ---


@pytest.mark.parametrize("key", [b"a", ALL])
@pytest.mark.parametrize("start_revision", [1, 2, 4, 5])
@served()
async def test_history_from_the_revision_on_then_the_present_without_a_seam(
    server: Running, key: bytes, start_revision: int
) -> None:
    """TestV3WatchMultipleEventsPutUnsynced and TestWatchResumeInitRev; created speaks of now."""
    for _ in range(4):
        await server.client.put(b"a", b"v")
    watching = server.client.watching()
    range_end = ALL if key == ALL else b""
    created = await watching.create(key, range_end, start_revision=start_revision)
    assert created.header.revision == 5
    for _ in range(2):
        await server.client.put(b"a", b"v")
    first = max(start_revision, 2)
    assert await _revisions(watching, 8 - first) == list(range(first, 8))
    await watching.expect_silence()


@served()
async def test_a_start_in_the_future_is_silent_until_then(server: Running) -> None:
    """TestV3WatchFutureRevision: the first response is of revision 10, with one event."""
    watching = server.client.watching()
    created = await watching.create(b"a", start_revision=10)
    assert created.header.revision == 1
    for _ in range(10):
        await server.client.put(b"a")
    response = await watching.receive()
    assert (response.header.revision, len(response.events)) == (10, 1)
    assert response.events[0].kv.mod_revision == 10
    assert await _revisions(watching, 1) == [11]


@served()
async def test_a_start_one_above_the_current_is_from_now_on(server: Running) -> None:
    await server.client.put(b"a")
    watching = server.client.watching()
    await watching.create(b"a", start_revision=3)
    await watching.expect_silence()
    await server.client.put(b"a")
    assert await _revisions(watching, 1) == [3]


@pytest.mark.parametrize(("key", "range_end"), [(b"a", b""), (b"a", b"b")])
@served()
async def test_history_comes_in_responses_of_a_thousand_revisions(
    server: Running, key: bytes, range_end: bytes
) -> None:
    """etcd's watchBatchMaxRevs; each header has the revision of now, not of the last event."""
    await server.put_many(2500)
    watching = server.client.watching()
    await watching.create(key, range_end, start_revision=1)
    responses = [await watching.receive() for _ in range(3)]
    assert [len(response.events) for response in responses] == [1000, 1000, 500]
    assert {response.header.revision for response in responses} == {2501}
    revisions = [event.kv.mod_revision for each in responses for event in each.events]
    assert revisions == list(range(2, 2502))
    await watching.expect_silence()


@served()
async def test_a_thousand_revisions_are_counted_and_not_events_and_none_is_split(
    server: Running,
) -> None:
    pair = txn([put(b"a"), put(b"b")])
    for _ in range(3):
        await asyncio.gather(*[server.client.kv.Txn(pair) for _ in range(335)])
    watching = server.client.watching()
    await watching.create(b"a", b"z", start_revision=1)
    first, second = await watching.receive(), await watching.receive()
    assert [len(first.events), len(second.events)] == [2000, 10]
    assert first.events[-1].kv.mod_revision == 1001
    assert second.events[0].kv.mod_revision == 1002


@served()
async def test_a_range_among_much_that_does_not_match_is_found_whole(server: Running) -> None:
    """More rows than one step of catching up reads; the steps without a match are not told."""
    await server.put_many(2500)
    await server.client.put(b"x1")
    await server.put_many(2500)
    await server.client.put(b"x2")
    watching = server.client.watching()
    await watching.create(b"x", b"y", start_revision=1)
    assert await _revisions(watching, 2) == [2502, 5003]
    await server.client.put(b"x3")
    assert await _revisions(watching, 1) == [5004]
    await watching.expect_silence()


@served()
async def test_history_while_others_put_has_no_gap_and_nothing_twice(server: Running) -> None:
    """TestV3WatchMultipleWatchersUnsynced, with puts going on all the while."""
    await server.put_many(500)
    putting = asyncio.ensure_future(_put_slowly(server.client, 1500))
    streams = []
    for number in range(5):
        watching = server.connect().watching()
        await watching.create(b"a", start_revision=2 + 100 * number)
        streams.append(watching)
    for number, watching in enumerate(streams):
        first = 2 + 100 * number
        assert await _revisions(watching, 2002 - first) == list(range(first, 2002))
    await putting


@served()
async def test_history_shows_each_version_as_it_was_with_the_one_before(
    server: Running,
) -> None:
    """The same events that a watcher of the time was told."""
    live = server.client.watching()
    await live.create(ALL, ALL, prev_kv=True)
    lease = (await server.client.grant(60)).ID
    await server.client.put(b"a", b"1", lease=lease)
    await server.client.put(b"a", b"2")
    await server.client.kv.Txn(txn([delete(b"a"), put(b"b", b"3")]))
    await server.client.put(b"a", b"4")
    told = await live.receive_events(5)
    for key, range_end in ((ALL, ALL), (b"a", b"c")):
        past = server.client.watching()
        await past.create(key, range_end, start_revision=1, prev_kv=True)
        assert await past.receive_events(5) == told
    single = server.client.watching()
    await single.create(b"a", start_revision=1, prev_kv=True)
    assert await single.receive_events(4) == [each for each in told if each.kv.key == b"a"]
    assert told[2].prev_kv.value == b"2"
    assert told[2].type == Event.DELETE


# --- compaction ---


async def _five(client: Client) -> None:
    for number in range(5):
        await client.put(b"a", b"%d" % number)


@pytest.mark.parametrize(("key", "range_end"), [(b"a", b""), (ALL, ALL), (b"x", b"")])
@pytest.mark.parametrize("physical", [False, True])
@served()
async def test_a_start_below_the_compacted_revision_is_created_and_then_canceled(
    server: Running, physical: bool, key: bytes, range_end: bytes
) -> None:
    """TestWatchCompactRevision: two responses; the second has no reason and no revision."""
    await _five(server.client)
    await server.client.compact(4, physical=physical)
    watching = server.client.watching()
    created = await watching.create(key, range_end, start_revision=3)
    assert (created.canceled, created.header.revision) == (False, 6)
    canceled = await watching.receive()
    assert canceled.canceled
    assert not canceled.created
    assert (canceled.watch_id, canceled.compact_revision) == (created.watch_id, 4)
    assert (canceled.header.revision, canceled.cancel_reason) == (0, "")
    assert canceled.header.member_id == created.header.member_id
    await server.client.put(b"a")
    await watching.expect_silence()


@served()
async def test_the_id_of_a_compacted_watch_is_taken_until_it_is_canceled(
    server: Running,
) -> None:
    """python-etcd3 sends that cancel."""
    await _five(server.client)
    await server.client.compact(4)
    watching = server.client.watching()
    await watching.create(b"a", watch_id=7, start_revision=1)
    assert (await watching.receive()).compact_revision == 4
    duplicate = await watching.create(b"a", watch_id=7)
    assert duplicate.cancel_reason == status.WATCH_DUPLICATE_ID
    await watching.cancel(7)
    created = await watching.create(b"a", watch_id=7, start_revision=4)
    assert not created.canceled
    assert await _revisions(watching, 3) == [4, 5, 6]


@served()
async def test_a_start_at_the_compacted_revision_still_sees_it(server: Running) -> None:
    """A deletion exactly there is kept for it (etcd 3.5.16); it has no prev_kv, the next does."""
    await server.client.put(b"a", b"1")  # 2
    await server.client.delete(b"a")  # 3
    await server.client.put(b"a", b"2")  # 4
    await server.client.put(b"a", b"3")  # 5
    await server.client.compact(3, physical=True)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=3, prev_kv=True)
    deleted, created, modified = await watching.receive_events(3)
    assert deleted == Event(type=Event.DELETE, kv=KeyValue(key=b"a", mod_revision=3))
    assert not created.HasField("prev_kv")
    assert modified.prev_kv.value == b"2"


def test_a_deletion_at_the_compacted_revision_is_told_after_a_restart_too() -> None:
    """tests/e2e/watch_test.go, issue 18089."""

    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            await server.client.put(b"a", b"1")
            await server.client.delete(b"a")
            await server.client.compact(3, physical=True)
        async with running(backend=backend) as server:
            await server.client.put(b"b")
            for key, range_end in ((b"a", b""), (ALL, ALL)):
                watching = server.client.watching()
                await watching.create(key, range_end, start_revision=3)
                event = (await watching.receive()).events[0]
                assert event == Event(type=Event.DELETE, kv=KeyValue(key=b"a", mod_revision=3))

    run_in_loop(scenario())


@served()
async def test_prev_kv_is_left_out_where_it_is_compacted(server: Running) -> None:
    await _five(server.client)
    await server.client.compact(4, physical=True)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=4, prev_kv=True)
    events = await watching.receive_events(3)
    assert [event.HasField("prev_kv") for event in events] == [False, True, True]
    assert [event.prev_kv.value for event in events[1:]] == [b"2", b"3"]


@served()
async def test_a_watcher_that_has_heard_all_is_not_canceled_by_a_compaction(
    server: Running,
) -> None:
    watching = server.client.watching()
    await watching.create(b"a", start_revision=1)
    await watching.create(b"idle", start_revision=1)
    await _five(server.client)
    await watching.receive_events(5)
    await server.client.compact(6, physical=True)
    await server.client.put(b"idle")
    response = await watching.receive()
    assert (response.watch_id, response.canceled) == (1, False)
    await watching.expect_silence()


# --- fragments ---

REQUEST_MAX: Final = 1000
RESPONSE_MAX: Final = REQUEST_MAX + 512 * 1024  # What a fragment stays below.


@served(max_request_bytes=REQUEST_MAX)
async def test_a_large_response_is_cut_between_events_for_who_asks(server: Running) -> None:
    """TestWatchFragmentEnable: same header and id, the last without the mark; together, all."""
    await server.put_many(900, b"v" * 900)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=1, fragment=True, watch_id=3)
    pieces = [await watching.receive()]
    while pieces[-1].fragment:
        pieces.append(await watching.receive())
    assert [piece.fragment for piece in pieces] == [True, False]
    assert all(0 < piece.ByteSize() < RESPONSE_MAX for piece in pieces)
    assert {(piece.watch_id, piece.header.revision) for piece in pieces} == {(3, 901)}
    revisions = [event.kv.mod_revision for piece in pieces for event in piece.events]
    assert revisions == list(range(2, 902))
    await watching.expect_silence()


@served(max_request_bytes=REQUEST_MAX)
async def test_a_large_response_comes_whole_to_who_does_not_ask(server: Running) -> None:
    """TestWatchFragmentDisable."""
    await server.put_many(900, b"v" * 900)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=1)
    response = await watching.receive()
    assert (len(response.events), response.fragment) == (900, False)
    assert response.ByteSize() > RESPONSE_MAX


@served()
async def test_an_event_above_the_limit_is_a_piece_of_its_own(server: Running) -> None:
    """With prev_kv two versions of 1.5 MB are in one event; it cannot be cut."""
    value = b"v" * 1_500_000
    for _ in range(3):
        await server.client.put(b"a", value)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=1, fragment=True, prev_kv=True)
    pieces = [await watching.receive() for _ in range(3)]
    assert [piece.fragment for piece in pieces] == [True, True, False]
    assert [piece.events[0].kv.mod_revision for piece in pieces] == [2, 3, 4]


@served(max_request_bytes=REQUEST_MAX)
async def test_a_small_response_is_no_fragment(server: Running) -> None:
    watching = server.client.watching()
    await watching.create(b"a", fragment=True)
    await server.client.put(b"a", b"v" * 900)
    assert not (await watching.receive()).fragment


@served()
async def test_a_read_below_the_compaction_that_a_watch_was_told_of_is_refused_alike(
    server: Running,
) -> None:
    """TestWatchResumeCompacted: what the watch says is compacted, Range says too."""
    await _five(server.client)
    await server.client.compact(5)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=2)
    compacted = (await watching.receive()).compact_revision
    request = pb.RangeRequest(key=b"a", revision=compacted - 1)
    assert await refusal(server.client.kv.Range(request)) == status.COMPACTED
    await server.client.get(b"a", revision=compacted)
    watching.talk.cancel()
    await until(lambda: len(server.hub) == 0)
