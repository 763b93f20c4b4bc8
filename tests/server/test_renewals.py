"""Renewals: what they wait for, what they win over, and when they come too late."""

from __future__ import annotations

import asyncio

import pytest

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
)
from lease.errors import NotPrimaryError
from lease.wheel import TICK_S
from mvcc.backend.memory import MemoryBackend
from server.lease_clock import GRACE_S
from tests.support.calls import Answer, Pipe
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, parsed

PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
A = RangeRequest(key=b"a")


def _server(*, serve: bool = False) -> ServerInProcess:
    """Without the background tasks only a renewal revokes what is due."""
    return ServerInProcess(MemoryBackend(), FakeClock(), serve=serve)


class _KeepAlive:
    """One client's stream of renewals."""

    def __init__(self, server: ServerInProcess) -> None:
        self.pipe = Pipe()
        self.task = server.open(PATH, self.pipe)
        self._read = 0

    def renew(self, *leases: int) -> None:
        for lease in leases:
            self.pipe.write(LeaseKeepAliveRequest(ID=lease).SerializeToString())

    def answers(self) -> list[tuple[int, int]]:
        """(id, TTL) of what came since the last look."""
        new, self._read = self.pipe.sent[self._read :], len(self.pipe.sent)
        parsed_new = [LeaseKeepAliveResponse.FromString(message) for message in new]
        return [(response.ID, response.TTL) for response in parsed_new]


async def _grant(server: ServerInProcess, lease: int, ttl: int) -> None:
    await server.call(LeaseGrantRequest(ID=lease, TTL=ttl))


async def _ttl(server: ServerInProcess, lease: int) -> int:
    ttl: int = (await server.call(LeaseTimeToLiveRequest(ID=lease))).TTL
    return ttl


async def _becomes_due(server: ServerInProcess) -> None:
    """Let 2 s pass, and the clock be looked at often enough that nothing seems to stall."""
    for _ in range(4):
        await server.clock.advance(0.5)
        server.engine.horizon()


# What a renewal waits for


@in_loop
async def test_a_renewal_does_not_wait_for_a_group_in_flight() -> None:
    server = _server()
    await _grant(server, 1, 5)
    keepalive = _KeepAlive(server)
    server.flusher.hold()
    put = server.ask(PutRequest(key=b"a", lease=1))
    await settle()
    keepalive.renew(1, 99)
    await settle()
    assert keepalive.answers() == [(1, 5), (99, 0)]
    assert not put.is_done
    response = LeaseKeepAliveResponse.FromString(keepalive.pipe.sent[0])
    assert response.header.revision == 1, "the put is not durable"
    await server.stop()


@pytest.mark.parametrize("granted", [False, True])
def test_a_renewal_waits_for_its_leases_own_grant_or_revoke(granted: bool) -> None:
    async def scenario() -> None:
        server = _server()
        if granted:
            await _grant(server, 1, 5)
        await _grant(server, 2, 5)
        server.flusher.hold()
        server.ask(LeaseRevokeRequest(ID=1) if granted else LeaseGrantRequest(ID=1, TTL=5))
        await settle()
        waits, does_not = _KeepAlive(server), _KeepAlive(server)
        waits.renew(1)
        does_not.renew(2)
        await settle()
        assert waits.answers() == []
        assert does_not.answers() == [(2, 5)]
        server.flusher.release()
        await settle()
        assert waits.answers() == [(1, 0 if granted else 5)]
        await server.stop()

    asyncio.run(scenario())


@in_loop
async def test_the_renewals_of_one_stream_are_answered_in_order_until_it_is_half_closed() -> None:
    server = _server()
    await _grant(server, 1, 5)
    keepalive = _KeepAlive(server)
    server.flusher.hold()
    server.ask(LeaseGrantRequest(ID=2, TTL=7))
    await settle()
    keepalive.renew(1, 2, 99, 1)
    keepalive.pipe.half_close()
    await settle()
    assert keepalive.answers() == [(1, 5)], "the others wait behind the grant in flight"
    server.flusher.release()
    await settle()
    assert keepalive.answers() == [(2, 7), (99, 0), (1, 5)]
    assert keepalive.task.done()


# From when a TTL counts


@in_loop
async def test_a_ttl_counts_from_the_reply_however_slow_the_disk() -> None:
    server = _server(serve=True)
    server.flusher.hold()
    grant = server.ask(LeaseGrantRequest(ID=1, TTL=5))
    await server.clock.advance(6)  # More than the TTL in flight, and none of it is spent.
    assert not grant.is_done
    server.flusher.let_go()
    await settle()
    assert parsed(LeaseGrantRequest(), grant).TTL == 5
    assert await _ttl(server, 1) == 5
    await server.clock.advance(5 - 2**-10)
    assert await _ttl(server, 1) == 0
    await server.clock.advance(1)
    assert await _ttl(server, 1) == -1
    await server.stop()


@in_loop
async def test_a_lease_granted_and_revoked_in_one_group_is_gone() -> None:
    server = _server()
    server.ask(LeaseGrantRequest(ID=1, TTL=5))
    server.ask(LeaseRevokeRequest(ID=1))
    await settle()
    assert await _ttl(server, 1) == -1
    server.lessor.check_invariants(server.clock.now())


@in_loop
async def test_a_renewal_starts_the_full_ttl_over() -> None:
    server = _server(serve=True)
    await _grant(server, 1, 5)
    keepalive = _KeepAlive(server)
    for _ in range(4):
        await server.clock.advance(4)
        keepalive.renew(1)
        await settle()
    assert keepalive.answers() == [(1, 5)] * 4
    await server.clock.advance(5 - 2**-10)
    assert await _ttl(server, 1) == 0
    await server.stop()


# Too late


@in_loop
async def test_a_renewal_that_comes_too_late_revokes_the_lease_and_says_so_in_order() -> None:
    server = _server()
    await _grant(server, 1, 2)
    await _grant(server, 2, 60)
    await server.call(PutRequest(key=b"a", lease=1))
    keepalive = _KeepAlive(server)
    await _becomes_due(server)
    assert await _ttl(server, 1) == 0, "due, and not gone"
    keepalive.renew(2, 1, 2)
    await settle()
    assert keepalive.answers() == [(2, 60), (1, 0), (2, 60)]
    revisions = [LeaseKeepAliveResponse.FromString(m).header.revision for m in keepalive.pipe.sent]
    assert revisions == [2, 3, 3]
    assert (await server.call(A)).count == 0
    assert await _ttl(server, 1) == -1
    await server.stop()


@in_loop
async def test_the_answer_to_a_late_renewal_waits_until_the_revoke_is_durable() -> None:
    server = _server()
    await _grant(server, 1, 2)
    await _becomes_due(server)
    keepalive = _KeepAlive(server)
    server.flusher.hold()
    keepalive.renew(1)
    await settle()
    assert server.flusher.is_waiting
    assert keepalive.answers() == []
    server.flusher.release()
    await settle()
    assert keepalive.answers() == [(1, 0)]
    await server.stop()


@in_loop
async def test_two_late_renewals_of_one_lease_revoke_it_once() -> None:
    server = _server()
    await _grant(server, 1, 2)
    await server.call(PutRequest(key=b"a", lease=1))
    await _becomes_due(server)
    streams = [_KeepAlive(server) for _ in range(2)]
    for stream in streams:
        stream.renew(1)
    await settle()
    assert [stream.answers() for stream in streams] == [[(1, 0)]] * 2
    assert server.store.current == 3
    await server.stop()


# After a stall


@in_loop
async def test_after_a_stall_a_waiting_keepalive_wins_and_the_rest_expires() -> None:
    server = _server(serve=True)
    for lease in (1, 2):
        await _grant(server, lease, 5)
        await server.call(PutRequest(key=b"key %d" % lease, lease=lease))
    keepalive = _KeepAlive(server)
    await server.clock.advance(4)
    server.clock.jump(60)  # The process is stopped; both deadlines pass meanwhile.
    keepalive.renew(1)  # It was in the socket when the process went on.
    await server.clock.advance(0)
    assert keepalive.answers() == [(1, 5)]
    assert await _ttl(server, 1) == 5
    await server.clock.advance(GRACE_S - 2**-10)
    assert (await server.call(RangeRequest(key=b"key 2"))).count == 1
    await server.clock.advance(TICK_S + 2**-10)
    assert (await server.call(RangeRequest(key=b"key 2"))).count == 0
    assert (await server.call(RangeRequest(key=b"key 1"))).count == 1
    await server.stop()


@in_loop
async def test_what_was_due_before_a_stall_is_not_saved_by_it() -> None:
    server = _server()
    await _grant(server, 1, 2)
    await _becomes_due(server)
    server.clock.jump(60)
    keepalive = _KeepAlive(server)
    keepalive.renew(1)
    await settle()
    assert keepalive.answers() == [(1, 0)]
    await server.stop()


# Not primary


@in_loop
async def test_demotion_ends_pending_renewals_as_not_primary() -> None:
    server = _server(serve=True)
    await _grant(server, 2, 5)
    server.flusher.hold()
    server.ask(LeaseGrantRequest(ID=1, TTL=5))
    await settle()
    pending, idle = _KeepAlive(server), _KeepAlive(server)
    pending.renew(1)
    await settle()
    server.lessor.demote()
    server.flusher.let_go()
    idle.renew(2)
    await settle()
    assert isinstance(pending.task.exception(), NotPrimaryError)
    assert isinstance(idle.task.exception(), NotPrimaryError)
    assert pending.answers() == idle.answers() == []
    ask = server.ask(LeaseTimeToLiveRequest(ID=1), Answer())
    assert ask.status.message == "not a primary lessor"
    server.lessor.check_invariants(server.clock.now())


@in_loop
async def test_demotion_ends_a_late_renewal_that_waits_for_its_revoke() -> None:
    server = _server()
    await _grant(server, 1, 2)
    await _becomes_due(server)
    server.flusher.hold()
    server.ask(PutRequest(key=b"a"))
    await settle()
    keepalive = _KeepAlive(server)
    keepalive.renew(1)
    await settle()
    server.lessor.demote()
    server.flusher.let_go()
    await settle()
    assert isinstance(keepalive.task.exception(), NotPrimaryError)
    assert len(server.lessor) == 1


@in_loop
async def test_nothing_expires_once_demoted() -> None:
    server = _server(serve=True)
    await _grant(server, 1, 2)
    server.lessor.demote()
    await server.clock.advance(60)
    assert len(server.lessor) == 1
    await server.stop()
