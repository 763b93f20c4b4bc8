"""Group commit: which commands share an fsync, how many may wait, and who gets a turn when.

The disk is a `HeldFlusher`: while it is held, a group is in flight until the test lets it go.
"""

from __future__ import annotations

import asyncio

import pytest

from etcdpb.rpc_pb2 import (
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from server import engine as engine_module
from server.engine import SMALL_GROUP_COMMANDS_MAX
from server.status import LEASE_EXISTS, TOO_MANY_REQUESTS, TooManyRequestsError
from tests.support.calls import Answer
from tests.support.clock import settle
from tests.support.commands import Note, ReadsDisk, Refused
from tests.support.loop import in_loop
from tests.support.server import bare_server, in_flight, parsed

A, B, C = (PutRequest(key=key, value=b"1") for key in (b"a", b"b", b"c"))
ALL = RangeRequest(key=b"\0", range_end=b"\0")


# Groups


@in_loop
async def test_commands_that_queue_together_share_one_fsync() -> None:
    server = bare_server()
    answers = [server.ask(request) for request in (A, B, C, A)]
    await settle()
    assert [parsed(A, answer).header.revision for answer in answers] == [2, 3, 4, 5]
    assert server.flusher.flushes == 1
    assert server.engine.stats() == (0, 1, 4)


@in_loop
async def test_what_arrives_during_an_fsync_is_the_next_group() -> None:
    server = bare_server()
    (first,) = await in_flight(server, A)
    later = [server.ask(B), server.ask(C)]
    await settle()
    assert server.flusher.flushes == 1
    assert server.store.current == 2, "the next group only queues"
    server.flusher.release()
    await settle()
    assert first.is_done
    assert server.flusher.flushes == 2
    assert not any(answer.is_done for answer in later)
    server.flusher.release()
    await settle()
    assert all(answer.is_done for answer in later)


@in_loop
async def test_commands_are_answered_in_the_order_of_their_arrival() -> None:
    server = bare_server()
    order: list[Answer] = []
    answers = [server.ask(request, Answer(order.append)) for request in (A, B, A, C)]
    await settle()
    assert order == answers
    assert [parsed(A, answer).header.revision for answer in answers] == [2, 3, 4, 5]


@in_loop
async def test_a_group_that_changes_no_row_needs_no_fsync() -> None:
    server = bare_server()
    answer = server.ask(DeleteRangeRequest(key=b"a"))
    await settle()
    assert answer.is_done
    assert server.flusher.flushes == 0


@in_loop
async def test_a_command_sees_what_was_applied_before_it_in_its_group() -> None:
    server = bare_server()
    server.ask(LeaseGrantRequest(ID=1, TTL=5))
    put, again = server.ask(PutRequest(key=b"a", lease=1)), LeaseGrantRequest(ID=1, TTL=5)
    refused = server.ask(again)
    await settle()
    assert parsed(A, put).header.revision == 2
    assert refused.status == LEASE_EXISTS


@in_loop
async def test_an_answer_does_not_depend_on_what_comes_behind_it_in_its_group() -> None:
    server = bare_server()
    grant = server.ask(LeaseGrantRequest(ID=1, TTL=5))
    revoke = server.ask(LeaseRevokeRequest(ID=1))
    delete = server.ask(DeleteRangeRequest(key=b"a"))
    server.ask(A)
    await settle()
    assert parsed(LeaseGrantRequest(), grant).header.revision == 1
    assert parsed(LeaseRevokeRequest(), revoke).header.revision == 1
    assert parsed(DeleteRangeRequest(), delete).header.revision == 1


@pytest.mark.parametrize(
    ("count", "groups"),
    [(1, 1), (3, 1), (4, 2), (7, 3)],
)
def test_a_group_has_a_largest_number_of_commands(
    count: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "GROUP_COMMANDS_MAX", 3)

    async def scenario() -> None:
        server = bare_server()
        answers = [server.ask(A) for _ in range(count)]
        await settle()
        assert all(answer.is_done for answer in answers)
        assert server.flusher.flushes == groups

    asyncio.run(scenario())


def test_a_group_is_closed_once_its_rows_reach_the_largest_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def rows_size() -> int:
        server = bare_server()
        before = server.store.in_use
        await server.call(A)
        return server.store.in_use - before

    one_row_bytes = asyncio.run(rows_size())

    async def groups(limit: int) -> int:
        monkeypatch.setattr(engine_module, "GROUP_BYTES_MAX", limit)
        server = bare_server()
        for _ in range(4):
            server.ask(A)
        await settle()
        return server.flusher.flushes

    # The row that reaches the limit is the group's last.
    assert asyncio.run(groups(one_row_bytes)) == 4
    assert asyncio.run(groups(one_row_bytes + 1)) == 2
    assert asyncio.run(groups(4 * one_row_bytes)) == 1


@in_loop
async def test_a_command_that_reads_the_disk_finds_no_unwritten_row() -> None:
    server = bare_server()
    notes: list[str] = []

    def submit(command: Note) -> None:
        server.engine.submit(command, Answer(), str.encode)

    submit(ReadsDisk(notes, "first"))
    submit(Note(notes, "between"))  # Writes no row, so the group goes on.
    submit(ReadsDisk(notes, "second"))
    server.ask(A)
    submit(ReadsDisk(notes, "third"))
    submit(Note(notes, "last"))
    await settle()
    assert notes == [
        "first after 0 rows",
        "between",
        "second after 0 rows",
        "third after 0 rows",
        "last",
    ]
    assert server.engine.stats() == (0, 2, 6)


@in_loop
async def test_a_transaction_reads_history_that_was_queued_just_before_it() -> None:
    server = bare_server()
    server.ask(A)
    server.ask(PutRequest(key=b"a", value=b"2"))
    txn = TxnRequest(
        success=[
            RequestOp(request_put=C),
            RequestOp(request_range=RangeRequest(key=b"a", revision=2)),
        ]
    )
    answer = server.ask(txn)
    await settle()
    assert parsed(txn, answer).responses[1].response_range.kvs[0].value == b"1"


# The queue


def test_one_command_more_than_the_queue_holds_is_refused_as_etcd_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "QUEUE_COMMANDS_MAX", 3)

    async def scenario() -> None:
        server = bare_server()
        taken = [server.ask(A) for _ in range(3)]
        refused = server.ask(A)
        assert refused.status == TOO_MANY_REQUESTS
        assert refused.status.message == "etcdserver: too many requests"
        await settle()
        assert [parsed(A, answer).header.revision for answer in taken] == [2, 3, 4]
        assert (await server.call(A)).header.revision == 5, "there is room again"

    asyncio.run(scenario())


def test_the_bytes_that_queue_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    request_bytes = A.ByteSize()
    monkeypatch.setattr(engine_module, "QUEUE_BYTES_MAX", 2 * request_bytes)

    async def scenario() -> None:
        server = bare_server()
        taken = [server.ask(A) for _ in range(2)]
        assert server.ask(A).status == TOO_MANY_REQUESTS
        await settle()
        assert all(answer.is_done for answer in taken)
        taken = [server.ask(A) for _ in range(2)]  # What was taken no longer counts.
        assert server.ask(A).status == TOO_MANY_REQUESTS
        await settle()
        assert all(answer.is_done for answer in taken)

    asyncio.run(scenario())


def test_the_reads_that_wait_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "READS_MAX", 2)

    async def scenario() -> None:
        server = bare_server()
        await in_flight(server, A)
        waiting = [server.ask(ALL) for _ in range(2)]
        assert server.ask(ALL).status == TOO_MANY_REQUESTS
        server.flusher.release()
        await settle()
        assert [parsed(ALL, answer).count for answer in waiting] == [1, 1]

    asyncio.run(scenario())


def test_the_servers_own_commands_are_not_refused_by_a_full_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal would end the task that expires leases, and with it the process."""
    monkeypatch.setattr(engine_module, "QUEUE_COMMANDS_MAX", 1)

    async def scenario() -> None:
        server = bare_server()
        notes: list[str] = []
        server.ask(A)
        assert await server.engine.run(Note(notes, "expiry")) == "expiry"
        server.engine.submit(Note(notes, "client"), Answer(), str.encode)
        with pytest.raises(TooManyRequestsError):
            server.engine.submit(Note(notes, "one more"), Answer(), str.encode)

    asyncio.run(scenario())


# Those who wait for a quiet moment


@in_loop
async def test_who_waits_for_the_fsync_goes_on_before_the_next_group_is_applied() -> None:
    """Else a coroutine would starve for as long as there is always a write in the queue."""
    server = bare_server()
    await in_flight(server, A)
    seen: list[int] = []

    async def look() -> None:
        await server.engine.settled()
        seen.append(server.store.current)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(look())
        await settle()
        server.ask(B)
        server.flusher.release()
        await settle()
        assert seen == [2, 2, 2]
        assert server.flusher.is_waiting
        server.flusher.let_go()


@in_loop
async def test_who_no_longer_waits_for_the_fsync_does_not_disturb_the_others() -> None:
    server = bare_server()
    await in_flight(server, A)
    gone = asyncio.ensure_future(server.engine.settled())
    stays = asyncio.ensure_future(server.engine.settled())
    await settle()
    gone.cancel()
    await settle()
    server.flusher.release()
    await stays
    assert gone.cancelled()
    assert server.fatal == []


@in_loop
async def test_drained_means_nothing_queued_and_nothingin_flight() -> None:
    server = bare_server()
    answers = await in_flight(server, A)
    answers.append(server.ask(B))
    drained = asyncio.ensure_future(server.engine.drained())
    server.flusher.release()
    await settle()
    assert not drained.done()
    server.flusher.release()
    await drained
    assert all(answer.is_done for answer in answers)


@in_loop
async def test_a_coroutine_that_stopped_waiting_for_its_command_changes_nothing() -> None:
    server = bare_server()
    server.flusher.hold()
    notes: list[str] = []
    run = asyncio.ensure_future(server.engine.run(Note(notes, "expiry")))
    refused = asyncio.ensure_future(server.engine.run(Refused()))
    other = server.ask(A)
    await asyncio.sleep(0)
    run.cancel()
    refused.cancel()
    await settle()
    server.flusher.release()
    await settle()
    assert notes == ["expiry"]
    assert other.is_done
    assert server.fatal == []


# Few


@in_loop
async def test_the_flusher_is_told_when_few_wait_and_nobody_is_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = bare_server()
    small = server.flusher.small
    for _ in range(SMALL_GROUP_COMMANDS_MAX):
        server.ask(A)
    await settle()
    assert small == [True]
    for _ in range(SMALL_GROUP_COMMANDS_MAX + 1):
        server.ask(A)
    await settle()
    assert small == [True, False], "one too many share it"
    refused = asyncio.ensure_future(server.engine.run(Refused()))
    for _ in range(SMALL_GROUP_COMMANDS_MAX):
        server.ask(B)
    await settle()
    assert small[2:] == [False], "a refusal is one of them, which waits as well"
    assert refused.exception() is not None
    monkeypatch.setattr(engine_module, "GROUP_COMMANDS_MAX", 1)
    for request in (A, B, C):
        server.ask(request)
    await settle()
    assert small[3:] == [False, False, True], "two queue behind, then one, then none"


@in_loop
async def test_who_comes_while_one_waits_is_in_the_next_group() -> None:
    server = bare_server()
    (first,) = await in_flight(server, A)
    read, write = server.ask(ALL), server.ask(B)
    assert server.flusher.small == [True]
    assert not read.is_done
    server.flusher.let_go()
    await settle()
    assert first.is_done
    assert read.is_done
    assert write.is_done
    assert server.flusher.small == [True, True]
