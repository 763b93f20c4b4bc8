"""grpc-python: watches, several on one stream as the protocol has it."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from compat.grpc_python import Client, Stream, kv, rpc


def create(stream: Stream, key: str, **fields: Any) -> int:
    """Create a watch, and wait until it is; its id."""
    request = rpc.WatchCreateRequest(key=key.encode(), **fields)
    stream.send(rpc.WatchRequest(create_request=request))
    response = stream.receive()
    assert (response.created, response.canceled) == (True, False)
    watch_id: int = response.watch_id
    return watch_id


def cancel(stream: Stream, watch_id: int) -> None:
    request = rpc.WatchCancelRequest(watch_id=watch_id)
    stream.send(rpc.WatchRequest(cancel_request=request))


def delete(client: Client, key: str) -> None:
    client.KV.DeleteRange(rpc.DeleteRangeRequest(key=key.encode()))


def test_a_watch_sees_puts_and_deletes_with_what_was_there(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        watch_id = create(stream, f"{prefix}key", prev_kv=True)
        first = client.put(f"{prefix}key", "1").header.revision
        client.put(f"{prefix}other", "x")
        delete(client, f"{prefix}key")
        response = stream.receive()
        assert (response.watch_id, response.header.revision) == (watch_id, first)
        [put] = response.events
        assert (put.type, put.kv.value, put.HasField("prev_kv")) == (kv.Event.PUT, b"1", False)
        [deleted] = stream.receive().events
        assert (deleted.type, deleted.kv.mod_revision) == (kv.Event.DELETE, first + 2)
        assert (deleted.prev_kv.value, deleted.kv.value) == (b"1", b"")


def test_a_watch_of_the_past_goes_on_into_the_present(client: Client, prefix: str) -> None:
    revisions = [client.put(f"{prefix}{n}", str(n)).header.revision for n in range(3)]
    with client.watch() as stream:
        create(stream, prefix, range_end=prefix[:-1].encode() + b"0", start_revision=revisions[1])
        client.put(f"{prefix}3", "3")
        assert [event.kv.value for event in stream.events(3)] == [b"1", b"2", b"3"]


def test_many_watches_share_a_stream(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        ids = [create(stream, f"{prefix}{number:02d}") for number in range(50)]
        assert len(set(ids)) == 50
        for number in reversed(range(50)):
            client.put(f"{prefix}{number:02d}", "x")
        for number in reversed(range(50)):
            response = stream.receive()
            assert response.watch_id == ids[number]
            assert [event.kv.key for event in response.events] == [f"{prefix}{number:02d}".encode()]


def test_an_id_of_ones_own_is_taken_once(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        assert create(stream, prefix, watch_id=77) == 77
        again = rpc.WatchCreateRequest(key=prefix.encode(), watch_id=77)
        stream.send(rpc.WatchRequest(create_request=again))
        response = stream.receive()
        assert (response.created, response.canceled, response.watch_id) == (True, True, -1)
        assert response.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"


def test_a_cancelled_watch_is_silent_and_the_others_are_not(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        gone, going = create(stream, f"{prefix}key"), create(stream, f"{prefix}key")
        cancel(stream, gone)
        response = stream.receive()
        assert (response.watch_id, response.canceled) == (gone, True)
        client.put(f"{prefix}key", "1")
        response = stream.receive()
        assert (response.watch_id, len(response.events)) == (going, 1)


def test_filters_leave_out_puts_or_deletes(client: Client, prefix: str) -> None:
    no_put, no_delete = rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE
    with client.watch() as deletes, client.watch() as puts:
        create(deletes, f"{prefix}key", filters=[no_put])
        create(puts, f"{prefix}key", filters=[no_delete])
        client.put(f"{prefix}key", "1")
        delete(client, f"{prefix}key")
        client.put(f"{prefix}key", "2")
        delete(client, f"{prefix}key")
        assert [event.type for event in deletes.events(2)] == [kv.Event.DELETE] * 2
        assert [event.kv.value for event in puts.events(2)] == [b"1", b"2"]


def test_progress_is_told_when_asked_for(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        create(stream, f"{prefix}key")
        revision = client.put(f"{prefix}other", "x").header.revision
        stream.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
        response = stream.receive()
        assert (response.watch_id, len(response.events)) == (-1, 0)
        assert response.header.revision >= revision


@pytest.mark.usefixtures("fresh_server")
def test_a_watch_of_what_is_compacted_is_cancelled_and_told_from_where(client: Client) -> None:
    for value in ("1", "2", "3"):
        client.put("key", value)
    client.KV.Compact(rpc.CompactionRequest(revision=3))
    with client.watch() as stream:
        watch_id = create(stream, "key", start_revision=1)
        response = stream.receive()
        assert (response.watch_id, response.canceled) == (watch_id, True)
        assert response.compact_revision == 3
        # The stream goes on.
        create(stream, "key", start_revision=4)
        assert [event.kv.value for event in stream.events(1)] == [b"3"]


def test_a_large_revision_comes_in_fragments_when_they_are_asked_for(
    client: Client, connect: Callable[..., Client], prefix: str
) -> None:
    value = bytes(500 * 1024)
    for name in "abcdef":
        client.put(prefix + name, value)
    request = rpc.DeleteRangeRequest(key=prefix.encode(), range_end=prefix[:-1].encode() + b"0")
    reader = connect(max_receive_message_length=-1)
    with reader.watch() as stream:
        create(stream, prefix, range_end=request.range_end, prev_kv=True, fragment=True)
        client.KV.DeleteRange(request)
        responses = [stream.receive()]
        while responses[-1].fragment:
            responses.append(stream.receive())
        assert len(responses) > 1
        events = [event for response in responses for event in response.events]
        assert [event.prev_kv.value for event in events] == [value] * 6
        assert len({event.kv.mod_revision for event in events}) == 1


def test_a_stream_that_is_half_closed_goes_on(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        create(stream, f"{prefix}key")
        stream.end()
        for value in ("1", "2"):
            client.put(f"{prefix}key", value)
        assert [event.kv.value for event in stream.events(2)] == [b"1", b"2"]


def test_a_deadline_ends_a_watch(client: Client, prefix: str) -> None:
    with Stream(client.Watch.Watch, max_s=1.0) as stream:
        create(stream, prefix)
        with pytest.raises(grpc.RpcError) as error:
            stream.receive()
        # If etcd notices before grpc does, it calls that an unknown error.
        assert error.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)
    client.put(f"{prefix}key", "the connection is well")


def test_a_thousand_events_come_once_each_and_in_order(client: Client, prefix: str) -> None:
    with client.watch() as stream:
        create(stream, prefix, range_end=prefix[:-1].encode() + b"0")
        futures = [
            client.KV.Put.future(rpc.PutRequest(key=f"{prefix}{number}".encode()))
            for number in range(1000)
        ]
        revisions = sorted(future.result(timeout=30).header.revision for future in futures)
        assert [event.kv.mod_revision for event in stream.events(1000)] == revisions
