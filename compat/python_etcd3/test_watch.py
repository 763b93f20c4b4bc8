"""python-etcd3: watches. All of a client share one stream, on which it has one create pending."""

import queue
from collections.abc import Callable

import pytest

from compat.differences import differs
from compat.python_etcd3 import Connect, etcd3
from compat.targets import Server

EVENT_MAX_S = 10.0


def put_event(event: object) -> tuple[bytes, bytes]:
    """Key and value of an event that is to be a put."""
    assert isinstance(event, etcd3.events.PutEvent)
    return event.key, event.value


def test_a_watch_sees_puts_and_deletes_of_its_key(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}key".encode()
    events, cancel = client.watch(key)
    first = client.put(key, "1").header.revision
    client.put(key + b"-other", "x")
    client.put(key, "2")
    client.delete(key)
    seen = [next(events) for _ in range(3)]
    cancel()
    assert [put_event(event) for event in seen[:2]] == [(key, b"1"), (key, b"2")]
    assert isinstance(seen[2], etcd3.events.DeleteEvent)
    assert [event.mod_revision for event in seen] == [first, first + 2, first + 3]
    assert [event.version for event in seen] == [1, 2, 0]
    assert [event.create_revision for event in seen] == [first, first, 0]


def test_a_cancelled_watch_sees_nothing_more_and_the_others_go_on(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    cancelled: queue.Queue[etcd3.watch.WatchResponse] = queue.Queue()
    going: queue.Queue[etcd3.watch.WatchResponse] = queue.Queue()
    watch_id = client.add_watch_callback(f"{prefix}key", cancelled.put)
    client.add_watch_callback(f"{prefix}key", going.put)
    client.put(f"{prefix}key", "1")
    assert put_event(cancelled.get(timeout=EVENT_MAX_S).events[0])[1] == b"1"
    assert put_event(going.get(timeout=EVENT_MAX_S).events[0])[1] == b"1"
    client.cancel_watch(watch_id)
    client.put(f"{prefix}key", "2")
    assert put_event(going.get(timeout=EVENT_MAX_S).events[0])[1] == b"2"
    assert cancelled.empty()


def test_callbacks_of_prefixes_get_what_is_under_them(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    everything: queue.Queue[etcd3.watch.WatchResponse] = queue.Queue()
    part: queue.Queue[etcd3.watch.WatchResponse] = queue.Queue()
    first = client.add_watch_prefix_callback(prefix, everything.put)
    second = client.add_watch_prefix_callback(f"{prefix}a/", part.put)
    assert first != second
    for name in ("a/1", "b/1", "a/2"):
        client.put(prefix + name, name)
    seen = [put_event(part.get(timeout=EVENT_MAX_S).events[0])[1] for _ in range(2)]
    assert seen == [b"a/1", b"a/2"]
    seen = [put_event(everything.get(timeout=EVENT_MAX_S).events[0])[1] for _ in range(3)]
    assert seen == [b"a/1", b"b/1", b"a/2"]


def test_history_comes_first_and_in_order(client: etcd3.Etcd3Client, prefix: str) -> None:
    revisions = [client.put(f"{prefix}{n % 3}", str(n)).header.revision for n in range(20)]
    events, cancel = client.watch_prefix(prefix, start_revision=revisions[5])
    revisions += [client.put(f"{prefix}live", "x").header.revision]
    seen = [next(events).mod_revision for _ in revisions[5:]]
    cancel()
    assert seen == revisions[5:]


def test_the_events_of_a_transaction_are_one_response(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    txn = client.transactions
    before = client.put(f"{prefix}old", "x").header.revision
    responses, cancel = client.watch_prefix_response(prefix)
    client.transaction(
        compare=[],
        success=[
            txn.put(f"{prefix}b", "1"),
            txn.delete(f"{prefix}old"),
            txn.put(f"{prefix}a", "2"),
        ],
        failure=[],
    )
    response = next(responses)
    cancel()
    assert response.header.revision == before + 1
    keys = [event.key.removeprefix(prefix.encode()) for event in response.events]
    assert keys == [b"b", b"old", b"a"]


def test_previous_values_come_when_asked_for(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}key"
    client.put(key, "0")
    with_previous, cancel_with = client.watch(key, prev_kv=True)
    without, cancel_without = client.watch(key)
    client.put(key, "1")
    client.delete(key)
    assert [next(with_previous).prev_value for _ in range(2)] == [b"0", b"1"]
    assert [next(without).prev_value for _ in range(2)] == [b"", b""]
    cancel_with()
    cancel_without()


def test_a_watch_once_returns_or_runs_out_of_time(connect: Connect, prefix: str) -> None:
    client = connect()
    revision = client.put(f"{prefix}key", "value").header.revision
    event = client.watch_once(f"{prefix}key", timeout=EVENT_MAX_S, start_revision=revision)
    assert put_event(event)[1] == b"value"
    with pytest.raises(etcd3.exceptions.WatchTimedOut):
        client.watch_once(f"{prefix}key", timeout=0.1)


def test_a_watch_of_a_compacted_revision_tells_which(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    client.put(f"{prefix}key", "1")
    revision = client.put(f"{prefix}key", "2").header.revision
    client.compact(revision)
    events, _ = client.watch(f"{prefix}key", start_revision=revision - 1)
    with pytest.raises(etcd3.exceptions.RevisionCompactedError) as error:
        next(events)
    assert error.value.compacted_revision == revision
    events, cancel = client.watch(f"{prefix}key", start_revision=revision)
    assert put_event(next(events))[1] == b"2"
    cancel()


def test_a_delete_at_the_compacted_revision_is_seen_from_there(
    client: etcd3.Etcd3Client, prefix: str, server: Server
) -> None:
    key = f"{prefix}key"
    client.put(key, "value")
    client.delete(key)
    revision = client.get_response(key).header.revision
    client.compact(revision, physical=True)
    events, cancel = client.watch(key, start_revision=revision)
    client.put(key, "again")
    first = next(events)
    cancel()
    if differs("tombstone-at-compact-revision", server.target):
        assert isinstance(first, etcd3.events.DeleteEvent)
        assert first.mod_revision == revision
    else:
        assert put_event(first)[1] == b"again"


def test_many_watches_on_one_stream_each_get_their_own(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    seen: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def callback_of(number: int) -> Callable[[etcd3.watch.WatchResponse], None]:
        return lambda response: seen.put((number, put_event(response.events[0])[1]))

    ids = {client.add_watch_callback(f"{prefix}{n}", callback_of(n)) for n in range(50)}
    assert len(ids) == 50
    for number in range(50):
        client.put(f"{prefix}{number}", str(number))
    got = [seen.get(timeout=EVENT_MAX_S) for _ in range(50)]
    assert got == [(number, str(number).encode()) for number in range(50)]
