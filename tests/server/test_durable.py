"""Nothing leaves before it is durable: no reply, refusal, read or event.

The disk is a `HeldFlusher`: while it is held, a group is in flight until the test lets it go.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from etcdpb.rpc_pb2 import (
    CompactionRequest,
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from mvcc.backend.base import Batch, Column
from mvcc.backend.memory import MemoryBackend
from mvcc.keyrange import KeyRange
from mvcc.watcher import Sink, Watcher
from server.status import COMPACTED, LEASE_EXISTS
from tests.support.calls import Answer, Pipe
from tests.support.clock import FakeClock, settle
from tests.support.commands import Note
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server, in_flight, parsed

A, B, C = (PutRequest(key=key, value=b"1") for key in (b"a", b"b", b"c"))
ALL = RangeRequest(key=b"\0", range_end=b"\0")


# Nothing leaves before it is durable


@in_loop
async def test_no_reply_leaves_before_the_fsync() -> None:
    server = bare_server()
    answers = await in_flight(server, A, B)
    assert not any(answer.is_done for answer in answers)
    server.flusher.release()
    await settle()
    assert [parsed(A, answer).header.revision for answer in answers] == [2, 3]


@in_loop
async def test_no_refusal_leaves_before_the_fsync_of_what_it_may_rest_on() -> None:
    server = bare_server()
    server.flusher.hold()
    server.ask(LeaseGrantRequest(ID=1, TTL=5))
    exists = server.ask(LeaseGrantRequest(ID=1, TTL=5))
    compacted = server.ask(CompactionRequest(revision=-1))
    await settle()
    assert not exists.is_done
    assert not compacted.is_done
    server.flusher.release()
    await settle()
    assert exists.status == LEASE_EXISTS
    assert compacted.status == COMPACTED


@in_loop
async def test_a_read_waits_for_the_group_in_flight_and_no_longer() -> None:
    server = bare_server()
    await in_flight(server, A)
    server.ask(B)
    reads = [server.ask(ALL), server.ask(TxnRequest()), server.ask(LeaseTimeToLiveRequest(ID=9))]
    await settle()
    assert not any(read.is_done for read in reads)
    server.flusher.release()
    await settle()
    assert server.flusher.is_waiting, "the next group is in flight"
    response = parsed(ALL, reads[0])
    assert [kv.key for kv in response.kvs] == [b"a"]
    assert response.header.revision == 2, "it shows nothing of the group behind it"
    assert parsed(TxnRequest(), reads[1]).header.revision == 2
    assert parsed(LeaseTimeToLiveRequest(), reads[2]).TTL == -1


@in_loop
async def test_a_read_is_answered_at_once_when_all_is_durable() -> None:
    server = bare_server()
    await server.call(A)
    server.ask(B)  # Queued, not applied.
    read = server.ask(ALL)
    assert parsed(ALL, read).count == 1
    await settle()


@in_loop
async def test_a_read_that_waited_and_is_refused_is_told_so() -> None:
    server = bare_server()
    await in_flight(server, A)
    future = server.ask(RangeRequest(key=b"a", revision=3))
    server.flusher.release()
    await settle()
    assert future.status.message.endswith("required revision is a future revision")


@in_loop
async def test_no_watcher_sees_an_event_before_its_fsync() -> None:
    server = bare_server()
    pipe = Pipe()
    server.open("/etcdserverpb.Watch/Watch", pipe)
    pipe.write(_create(key=b"\0", range_end=b"\0"))
    await settle()
    await in_flight(server, A)
    assert [r.created for r in _responses(pipe.sent)] == [True]
    server.flusher.release()
    await settle()
    assert [event.kv.key for event in _responses(pipe.sent)[1].events] == [b"a"]
    await server.stop()


@in_loop
async def test_a_watch_created_while_a_group_is_in_flight_begins_right_behind_it() -> None:
    server = bare_server()
    pipe = Pipe()
    server.open("/etcdserverpb.Watch/Watch", pipe)
    await in_flight(server, A)
    pipe.write(_create(key=b"\0", range_end=b"\0"))
    pipe.write(_create(key=b"\0", range_end=b"\0", start_revision=2))
    await settle()
    assert pipe.sent == []
    server.flusher.let_go()
    await settle()
    await server.call(B)
    seen = [
        (r.watch_id, r.created, r.header.revision, [e.kv.key for e in r.events])
        for r in _responses(pipe.sent)
    ]
    assert sorted(seen) == [
        (0, False, 3, [b"b"]),
        (0, True, 2, []),
        (1, False, 2, [b"a"]),
        (1, False, 3, [b"b"]),
        (1, True, 2, []),
    ]
    await server.stop()


@in_loop
async def test_the_author_of_a_change_is_answered_ahead_of_its_watchers_in_one_go() -> None:
    server = bare_server()
    notes: list[str] = []

    def answered(_: Answer) -> None:
        notes.append("reply")
        server.core.outbox.later(partial(notes.append, "sent"))

    class _Sink(Sink):
        def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:
            notes.append(f"{len(events)} event of watcher {watcher.id} at {revision}")
            return True

    server.core.hub.add(Watcher(7, KeyRange(b"a", None), _Sink(), start_revision=0))
    server.ask(A, Answer(answered))
    await settle()
    assert notes == ["reply", "1 event of watcher 7 at 2", "sent"]


# The end


@in_loop
async def test_a_failing_fsync_is_fatal_and_answers_nobody() -> None:
    server = bare_server()
    answers = await in_flight(server, A)
    answers += [server.ask(ALL), server.ask(B)]
    failure = OSError("the disk is gone")
    server.flusher.release(failure)
    await settle()
    answers += [server.ask(ALL), server.ask(C)]
    await settle()
    assert server.fatal == [failure]
    assert not any(answer.is_done for answer in answers)


@in_loop
async def test_a_failing_write_is_fatal_and_answers_nobody() -> None:
    backend = _FailsToWrite()
    server = ServerInProcess(backend, FakeClock(), serve=False)
    backend.failure = OSError("no space left on device")
    answers = [server.ask(A)]
    await settle()
    answers += [server.ask(ALL), server.ask(B)]
    await settle()
    assert server.fatal == [backend.failure]
    assert not any(answer.is_done for answer in answers)
    assert server.flusher.flushes == 0


class _FailsToWrite(MemoryBackend):
    failure: OSError | None = None

    def write(self, batch: Batch) -> None:
        if self.failure is not None:
            raise self.failure
        super().write(batch)


@in_loop
async def test_a_bug_in_applying_a_command_is_fatal_and_answers_nobody() -> None:
    server = bare_server()
    bug = LookupError("not foreseen")
    answers = [server.ask(A), Answer()]
    server.engine.submit(Note([], "bug", bug), answers[1], str.encode)
    answers.append(server.ask(B))
    await settle()
    answers.append(server.ask(ALL))
    await settle()
    assert server.fatal == [bug]
    assert not any(answer.is_done for answer in answers)
    assert list(server.backend.scan(Column.KEY)) == []


@in_loop
async def test_a_bug_in_answering_is_fatal() -> None:
    server = bare_server()

    def encode(_: str) -> bytes:
        raise LookupError("not foreseen")

    server.engine.submit(Note([], "bug"), Answer(), encode)
    await settle()
    assert [type(error) for error in server.fatal] == [LookupError]


@in_loop
async def test_a_bug_in_a_read_that_waited_is_told_to_its_caller_only() -> None:
    server = bare_server()
    await in_flight(server, A)

    def answer_read(_: str) -> bytes:
        raise LookupError("not foreseen")

    broken, sound = Answer(), server.ask(ALL)
    assert server.engine.read(answer_read, "request", broken) is None
    server.flusher.release()
    await settle()
    assert isinstance(broken.error, LookupError)
    assert sound.is_done
    assert server.fatal == []


def _create(**fields: object) -> bytes:
    create = WatchCreateRequest(**fields)  # type: ignore[arg-type]  # fields by name
    return WatchRequest(create_request=create).SerializeToString()


def _responses(sent: Iterable[bytes]) -> list[WatchResponse]:
    return [WatchResponse.FromString(message) for message in sent]
