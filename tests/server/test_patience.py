"""Requests while the disk does not answer: they time out, and nothing is told twice or wrongly."""

from __future__ import annotations

import asyncio

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)
from mvcc.backend.memory import MemoryBackend
from server.commands.kv import Put
from server.patience import LOOKS
from server.status import REQUEST_TIMED_OUT
from tests.server.metrics import scrape
from tests.support.calls import Answer
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess

TIMEOUT_S = 7.0
LOOK_S = TIMEOUT_S / LOOKS
A, B = PutRequest(key=b"a"), PutRequest(key=b"b")
READ = RangeRequest(key=b"a")


async def _stuck() -> ServerInProcess:
    """A server whose disk does not come back from the first put."""
    server = ServerInProcess(MemoryBackend(), FakeClock())
    await settle()
    server.flusher.hold()
    return server


def _timed_out(*answers: Answer) -> bool:
    return all(each.is_done and each.status == REQUEST_TIMED_OUT for each in answers)


def _waiting(*answers: Answer) -> bool:
    return not any(each.is_done for each in answers)


@in_loop
async def test_a_change_that_does_not_reach_the_disk_times_out_after_seven_seconds() -> None:
    """Five seconds and two elections, and it is not told earlier."""
    server = await _stuck()
    change = server.ask(A)
    await server.clock.advance(TIMEOUT_S - 0.001)
    assert _waiting(change)
    await server.clock.advance(LOOK_S + 0.001)
    assert _timed_out(change)
    await server.stop()


@in_loop
async def test_what_is_asked_between_two_looks_is_told_within_one_look_more() -> None:
    server = await _stuck()
    await server.clock.advance(0.5 * LOOK_S)
    change = server.ask(A)
    await server.clock.advance(TIMEOUT_S)
    assert _waiting(change)
    await server.clock.advance(LOOK_S)
    assert _timed_out(change)
    await server.stop()


@in_loop
async def test_reads_and_changes_behind_it_time_out_each_in_its_own_time() -> None:
    server = await _stuck()
    first = server.ask(A)
    await server.clock.advance(2 * LOOK_S)
    later = [server.ask(B), server.ask(READ), server.ask(LeaseTimeToLiveRequest(ID=1))]
    await server.clock.advance(TIMEOUT_S - LOOK_S)
    assert _timed_out(first)
    assert _waiting(*later)
    await server.clock.advance(2 * LOOK_S)
    assert _timed_out(*later)
    await server.stop()


@in_loop
async def test_a_change_in_flight_may_be_made_and_one_in_the_queue_is_not() -> None:
    """Neither is answered a second time, which the answer itself would not stand."""
    server = await _stuck()
    in_flight = server.ask(A)
    await settle()
    queued = server.ask(B)
    await server.clock.advance(TIMEOUT_S + LOOK_S)
    assert _timed_out(in_flight, queued)
    server.flusher.let_go()
    await settle()
    assert (await server.call(READ)).count == 1
    assert (await server.call(RangeRequest(key=b"b"))).count == 0
    assert (await server.call(B)).header.revision == 3
    await server.stop()


@in_loop
async def test_those_asked_last_are_answered_when_the_disk_comes_back() -> None:
    server = await _stuck()
    old = server.ask(A)
    await server.clock.advance(TIMEOUT_S + LOOK_S)
    young = [server.ask(B), server.ask(READ)]
    await server.clock.advance(TIMEOUT_S - 2 * LOOK_S)
    assert _timed_out(old)
    server.flusher.let_go()
    await settle()
    assert [each.message is not None for each in young] == [True, True]
    await server.stop()


@in_loop
async def test_the_servers_own_commands_wait_on_and_keep_their_order() -> None:
    server = await _stuck()
    server.ask(A)
    await settle()
    own = [
        asyncio.ensure_future(server.engine.run(Put(PutRequest(key=b"own", value=value))))
        for value in (b"1", b"2")
    ]
    await settle()
    between = server.ask(PutRequest(key=b"own", value=b"client's"))
    await server.clock.advance(2 * TIMEOUT_S)
    assert _timed_out(between)
    assert not any(each.done() for each in own)
    server.flusher.let_go()
    await settle()
    assert [(await each)[0] for each in own] == [3, 4]
    assert (await server.call(RangeRequest(key=b"own"))).kvs[0].value == b"2"
    await server.stop()


@in_loop
async def test_a_lease_granted_too_late_for_its_client_is_there_all_the_same() -> None:
    server = await _stuck()
    grant = server.ask(LeaseGrantRequest(ID=1, TTL=60))
    await server.clock.advance(TIMEOUT_S + LOOK_S)
    assert _timed_out(grant)
    server.flusher.let_go()
    await settle()
    assert (await server.call(LeaseTimeToLiveRequest(ID=1))).grantedTTL == 60
    await server.stop()


@in_loop
async def test_a_busy_disk_is_no_reason_to_give_up() -> None:
    """Each request is answered in time, however long there are some."""
    server = await _stuck()
    for _ in range(5 * LOOKS):
        change = server.ask(A)
        await server.clock.advance(LOOK_S)
        server.flusher.release()
        await settle()
        assert change.message is not None
    assert server.engine.given_up == 0
    await server.stop()


@in_loop
async def test_a_process_that_was_stopped_does_what_it_can_first() -> None:
    """The clock jumps, and there was one look only."""
    server = await _stuck()
    change = server.ask(TxnRequest())
    server.clock.jump(100 * TIMEOUT_S)
    await settle()
    server.flusher.let_go()
    await settle()
    assert change.message is not None
    await server.stop()


@in_loop
async def test_what_timed_out_is_counted_among_the_failed_proposals() -> None:
    server = await _stuck()
    server.ask(A)
    await settle()
    server.ask(A)
    await server.clock.advance(2 * TIMEOUT_S)
    assert scrape(server.core.metrics)["etcd_server_proposals_failed_total"] == 2
    server.flusher.let_go()
    await settle()
    await server.stop()
