"""One Watch stream: ids, refusals, cancels, half-close, and clients that do not read."""

from __future__ import annotations

from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.watch_history import CATCH_UP_BYTES_MAX
from server.services import watch
from server.services.watch import OUTBOX_BYTES_MAX, OUTBOX_RESPONSES_MAX
from tests.support.calls import Pipe
from tests.support.client import Watching, until
from tests.support.clock import settle
from tests.support.loop import in_loop
from tests.support.server import bare_server, in_flight
from tests.support.serving import Running, served

ALL: Final = b"\0"
DUPLICATE: Final = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE: Final = "mvcc: watcher range is empty"
COMPACTED: Final = "etcdserver: mvcc: required revision has been compacted"


# --- ids ---


@served()
async def test_ids_are_counted_up_skip_those_in_use_and_never_come_back(
    server: Running,
) -> None:
    watching = server.client.watching()
    assert (await watching.create(b"a", watch_id=1)).watch_id == 1
    picked = [(await watching.create(b"a")).watch_id for _ in range(3)]
    assert picked == [0, 2, 3]
    await watching.cancel(2)
    assert (await watching.create(b"a")).watch_id == 4
    assert (await watching.create(b"a", watch_id=2)).watch_id == 2


@pytest.mark.parametrize("watch_id", [5, -1, -7, 2**63 - 1, -(2**63)])
@served()
async def test_an_id_of_the_clients_choice_is_used_whole(server: Running, watch_id: int) -> None:
    """Negative ones too, since etcd takes them; they come back in each response."""
    watching = server.client.watching()
    assert (await watching.create(b"a", watch_id=watch_id)).watch_id == watch_id
    await server.client.put(b"a")
    response = await watching.receive()
    assert (response.watch_id, len(response.events)) == (watch_id, 1)
    await watching.cancel(watch_id)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key": b"a", "watch_id": 1}, DUPLICATE),
        ({"key": b"a", "range_end": b"a"}, EMPTY_RANGE),
        ({"key": b"b", "range_end": b"a"}, EMPTY_RANGE),
        ({"key": b"", "range_end": b"\0\0", "start_revision": -1}, COMPACTED),
        ({"key": b"a", "start_revision": -1}, COMPACTED),
        ({"key": b"a", "start_revision": -(2**63), "watch_id": 1}, COMPACTED),
        ({"key": b"b", "range_end": b"a", "start_revision": -1}, COMPACTED),
        ({"key": b"b", "range_end": b"a", "watch_id": 1}, EMPTY_RANGE),
    ],
)
@served()
async def test_a_refused_watch_is_created_and_canceled_in_one_reply_with_id_minus_1(
    server: Running, fields: dict[str, Any], reason: str
) -> None:
    """TestV3WatchWrongRange; the stream's other watchers go on undisturbed."""
    watching = server.client.watching()
    await watching.create(b"a", watch_id=1)
    refused = await watching.create(**fields)
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert (refused.cancel_reason, refused.compact_revision) == (reason, 0)
    assert refused.header.revision == 1
    await server.client.put(b"a")
    assert (await watching.receive()).watch_id == 1
    assert len(server.hub) == 1


@pytest.mark.parametrize("start_revision", [0, 1])
@served()
async def test_starts_at_0_and_1_are_fine_on_an_empty_store(
    server: Running, start_revision: int
) -> None:
    watching = server.client.watching()
    created = await watching.create(b"a", start_revision=start_revision)
    assert not created.canceled
    await watching.expect_silence()


@served()
async def test_replies_to_creates_come_in_the_order_of_the_requests(server: Running) -> None:
    """clientv3 and python-etcd3 match them by order, not by id."""
    watching = server.client.watching()
    for number in range(50):
        range_end = b"" if number % 2 else b"0"
        await watching.ask(b"a", range_end, watch_id=100 + number)
    for number in range(50):
        reply = await watching.receive()
        assert reply.created
        assert reply.watch_id == (100 + number if number % 2 else -1)


# --- cancel ---


@served()
async def test_a_cancel_is_answered_once_and_nothing_follows(server: Running) -> None:
    """TestV3WatchCancelSynced; the reply has the current revision and no reason."""
    watching = server.client.watching()
    await watching.create(b"a")
    await server.client.put(b"b")
    canceled = await watching.cancel(0)
    assert (canceled.header.revision, canceled.cancel_reason) == (2, "")
    assert (canceled.created, canceled.compact_revision) == (False, 0)
    await server.client.put(b"a")
    await watching.ask_cancel(0)  # Known no more, so there is no answer.
    await watching.ask_cancel(99)
    await watching.expect_silence()
    assert len(server.hub) == 0


@served()
async def test_a_watcher_in_its_history_can_be_cancelled(server: Running) -> None:
    """TestV3WatchCancelUnsynced."""
    for _ in range(10):
        await server.client.put(b"a")
    watching = server.client.watching()
    await watching.create(b"a", start_revision=1)
    await watching.ask_cancel(0)
    response = await watching.receive()
    while not response.canceled:
        assert response.events
        response = await watching.receive()
    await server.client.put(b"a")
    await watching.expect_silence()


@served()
async def test_an_id_is_free_again_after_its_cancel(server: Running) -> None:
    watching = server.client.watching()
    for _ in range(3):
        await watching.create(b"a", watch_id=5)
        await watching.cancel(5)
    await watching.create(b"a", watch_id=5)
    await server.client.put(b"a")
    assert (await watching.receive()).watch_id == 5


@served()
async def test_a_thousand_watches_and_cancels_leave_one_watcher(server: Running) -> None:
    """TestV3WatchCancellation and TestV3WatchCancellationStorm."""
    watching = server.client.watching()
    await watching.create(b"foo")
    for number in range(1000):
        await watching.ask(b"foo", start_revision=number % 2)
        await watching.ask_cancel(number + 1)
    for _ in range(2000):
        await watching.receive()
    assert len(server.hub) == 1
    server.hub.check_invariants()


# --- the stream ---


@served()
async def test_a_half_close_ends_nothing(server: Running) -> None:
    """The HTTP gateway and jetcd close their side and listen on."""
    watching = server.client.watching()
    await watching.create(b"a")
    await watching.talk.half_close()
    for number in range(3):
        await server.client.put(b"a", b"%d" % number)
        assert (await watching.receive()).events[0].kv.value == b"%d" % number
    watching.talk.cancel()
    await until(lambda: len(server.hub) == 0)


@served()
async def test_a_request_of_no_kind_is_ignored(server: Running) -> None:
    watching = server.client.watching()
    await watching.talk.send(pb.WatchRequest())
    assert (await watching.create(b"a")).watch_id == 0


# --- clients that do not read ---


def _outboxes(server: Running) -> list[Any]:
    return list({watcher.sink: None for watcher in server.hub._watchers})


async def _revisions(watching: Watching, count: int) -> list[int]:
    return [event.kv.mod_revision for event in await watching.receive_events(count)]


@served()
async def test_a_client_that_does_not_read_loses_nothing_and_costs_little(
    server: Running,
) -> None:
    """Ten thousand puts while nobody reads (victims, in etcd's watchable_store.go). What
    finds the outbox full is read again from history, in order, each once.
    """
    watching = server.client.watching()
    await watching.create(b"a")
    fell_behind = False
    for _ in range(100):
        await server.put_many(100, b"v" * 1000)
        fell_behind |= server.hub.behind_count == 1
        (outbox,) = _outboxes(server)
        assert len(outbox._outbox) <= OUTBOX_RESPONSES_MAX
        assert outbox._outbox_bytes <= OUTBOX_BYTES_MAX
    assert fell_behind
    assert await _revisions(watching, 10_000) == list(range(2, 10_002))
    await server.client.put(b"a")
    assert await _revisions(watching, 1) == [10_002]
    server.hub.check_invariants()


@served()
async def test_large_events_are_bounded_by_their_bytes(server: Running) -> None:
    """Fewer than the outbox's number of responses, but far too large. What was caught up from
    history is one response, which always fits.
    """
    value = b"v" * 1_000_000
    watching = server.client.watching()
    await watching.create(b"a")
    for _ in range(25):
        await server.put_many(4, value)
        (outbox,) = _outboxes(server)
        assert outbox._outbox_bytes < OUTBOX_BYTES_MAX + CATCH_UP_BYTES_MAX + 2 * len(value)
    assert await _revisions(watching, 100) == list(range(2, 102))


@served()
async def test_a_client_that_does_not_read_holds_up_no_other(server: Running) -> None:
    slow, quick = server.client.watching(), server.connect().watching()
    await slow.create(b"a")
    await quick.create(b"a")
    for done in range(20):
        await server.put_many(100, b"v" * 1000)
        expected = list(range(2 + 100 * done, 102 + 100 * done))
        assert await _revisions(quick, 100) == expected
    assert await _revisions(slow, 2000) == list(range(2, 2002))


@served()
async def test_several_watchers_of_one_slow_stream_each_have_everything(
    server: Running,
) -> None:
    watching = server.client.watching()
    for _ in range(3):
        await watching.create(b"a")
    await server.put_many(2000, b"v" * 1000)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    while sum(map(len, seen.values())) < 6000:
        response = await watching.receive()
        seen[response.watch_id] += [event.kv.mod_revision for event in response.events]
    assert list(seen.values()) == [list(range(2, 2002))] * 3


@served()
async def test_what_a_slow_client_has_not_heard_when_it_is_compacted_it_is_told_of(
    server: Running,
) -> None:
    """TestV3NoEventsLostOnCompact: every event, or a compaction that says from where on; never
    a silent gap.
    """
    watching = server.client.watching()
    await watching.create(b"a")
    for _ in range(25):
        await server.put_many(4, b"v" * 1_000_000)
    assert server.hub.behind_count == 1
    await server.client.compact(101)
    heard, response = 1, await watching.receive()
    while not response.canceled:
        for event in response.events:
            assert event.kv.mod_revision == heard + 1
            heard += 1
        response = await watching.receive()
    assert response.compact_revision == 101
    assert heard < 100
    await server.client.put(b"a")
    await watching.expect_silence()


@served()
async def test_requests_are_not_read_while_their_answers_cannot_be_sent(
    server: Running,
) -> None:
    """Creates from a client that reads no reply do not pile up here."""
    watching = server.client.watching()
    await watching.create(b"a")
    await server.put_many(40, b"v" * 1_000_000)  # So much that the sender waits.
    (outbox,) = _outboxes(server)
    creates_total = 1000
    for _ in range(creates_total):
        await watching.ask(b"a")
    other = server.connect()
    for _ in range(10):  # The loop has turned many times when these are answered.
        await other.put(b"b")
    assert len(outbox._outbox) <= OUTBOX_RESPONSES_MAX
    assert len(server.hub) < creates_total
    created = 0
    while created < creates_total:
        created += (await watching.receive()).created
        assert len(outbox._outbox) <= OUTBOX_RESPONSES_MAX
    assert len(server.hub) == 1 + creates_total


@pytest.mark.parametrize("count", [1, 2])
@in_loop
async def test_nothing_overtakes_what_waits_for_the_client(count: int) -> None:
    """What can be sent at once goes past the outbox, but not past what is in it: not when the
    client begins to read in the very turn of the loop in which more comes.
    """
    server, pipe = bare_server(), Pipe()
    server.open("/etcdserverpb.Watch/Watch", pipe)
    create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")).SerializeToString()
    pipe.write(create)
    await settle()
    pipe.pause()
    await server.call(pb.PutRequest(key=b"a"))
    pipe.write(create)
    await settle()
    put = pb.PutRequest(key=b"a")
    await in_flight(server, *[put] * count)
    server.flusher.let_go()
    pipe.resume()
    await settle()
    await server.call(pb.PutRequest(key=b"a"))
    seen = [pb.WatchResponse.FromString(message) for message in pipe.sent]
    assert [(each.watch_id, each.created, each.header.revision) for each in seen] == [
        (0, True, 1),
        (0, False, 2),
        (1, True, 2),
        *((watch_id, False, 3 + number) for watch_id in (0, 1) for number in range(count)),
        (0, False, 3 + count),
        (1, False, 3 + count),
    ]
    await server.stop()


@served()
async def test_all_outboxes_share_a_budget_and_each_has_room_for_one_response(
    server: Running,
) -> None:
    value = b"v" * 100_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "OUTBOXES_BYTES_MAX", 250_000)
        watchings = [server.client.watching() for _ in range(4)]
        for each in watchings:
            await each.create(b"a")
        for _ in range(10):
            await server.put_many(3, value)
            outboxes = _outboxes(server)
            total = sum(each._outbox_bytes for each in outboxes)
            assert total == outboxes[0]._service.outboxes_bytes
            waiting = sum(len(each._outbox) for each in outboxes)
            assert waiting <= len(outboxes) + 250_000 // len(value) + 1
        for each in watchings:
            assert await _revisions(each, 30) == list(range(2, 32))
    service = outboxes[0]._service
    for each in watchings:
        await each.cancel(0)
    await until(lambda: len(server.hub) == 0)
    assert service.outboxes_bytes == 0
