"""Locks and elections while users count: they ask KV and Lease in their caller's name."""

from __future__ import annotations

from etcdpb.auth_pb2 import Permission
from etcdpb.v3election_pb2 import CampaignRequest, LeaderKey, LeaderRequest, ResignRequest
from etcdpb.v3lock_pb2 import LockRequest, UnlockRequest
from server import status
from server.status import Code, Status
from tests.support.client import Client, refusal, until
from tests.support.clock import FakeClock
from tests.support.serving import Running, served
from tests.support.users import (
    BOTH,
    CHEAP,
    READ,
    WRITE,
    add_role,
    add_user,
    as_user,
    enable,
    permit,
)
from tests.support.waits import leave, queued, waiting

DENIED = Status(Code.UNKNOWN, status.PERMISSION_DENIED.message)
ANONYMOUS = Status(Code.UNKNOWN, status.USER_EMPTY.message)
LOCK = LockRequest(name=b"a")


async def _ann(server: Running, kind: Permission.Type = BOTH) -> Client:
    """A user who may do that much under `a/`, while users count."""
    await add_role(server.client, "role", permit(kind, b"a/", b"a0"))
    await add_user(server.client, "ann", "role")
    await enable(server.client)
    return await as_user(server, "ann")


@served(bcrypt_cost=CHEAP)
async def test_who_may_read_and_write_the_queue_locks_and_leads(server: Running) -> None:
    ann = await _ann(server)
    held = await ann.lock.Lock(LOCK)
    await ann.lock.Unlock(UnlockRequest(key=held.key))
    won = await ann.election.Campaign(CampaignRequest(name=b"a", value=b"x"))
    assert (await ann.election.Leader(LeaderRequest(name=b"a"))).kv.value == b"x"
    await ann.election.Resign(ResignRequest(leader=won.leader))


@served(bcrypt_cost=CHEAP)
async def test_who_may_only_write_it_does_not_lock(server: Running) -> None:
    """A lock looks at who is ahead."""
    assert await refusal((await _ann(server, WRITE)).lock.Lock(LOCK)) == DENIED


@served(bcrypt_cost=CHEAP)
async def test_who_may_only_read_it_sees_the_leader_and_does_not_become_one(
    server: Running,
) -> None:
    await server.client.put(b"a/1", b"x")
    election = (await _ann(server, READ)).election
    assert (await election.Leader(LeaderRequest(name=b"a"))).kv.value == b"x"
    assert await refusal(election.Campaign(CampaignRequest(name=b"a"))) == DENIED
    assert await refusal(election.Resign(ResignRequest(leader=LeaderKey(key=b"a/1")))) == DENIED


@served(bcrypt_cost=CHEAP)
async def test_another_queue_is_another_right(server: Running) -> None:
    ann = await _ann(server)
    assert await refusal(ann.lock.Lock(LockRequest(name=b"b"))) == DENIED
    assert await refusal(ann.lock.Unlock(UnlockRequest(key=b"b/1"))) == DENIED
    observing = ann.election.Observe(LeaderRequest(name=b"b"))
    assert await observing.refusal() == DENIED


@served(bcrypt_cost=CHEAP)
async def test_nobody_gets_no_lock_and_not_so_much_as_a_lease(server: Running) -> None:
    await _ann(server)
    assert await refusal(server.client.lock.Lock(LOCK)) == ANONYMOUS
    assert len(server.core.recovered.state.lessor) == 0


@served(bcrypt_cost=CHEAP, clock=FakeClock, auth_token_ttl_s=10)
async def test_a_place_is_taken_back_even_when_the_token_has_run_out(server: Running) -> None:
    ann = await _ann(server)
    await ann.lock.Lock(LOCK)
    second = waiting(ann.lock.Lock(LOCK))
    await queued(ann, b"a", 2)
    await server.time.advance(11)
    await leave(second)
    again = await as_user(server, "ann")
    await queued(again, b"a", 1)
    await until(lambda: server.core.tails.count == 0)


@served(bcrypt_cost=CHEAP, clock=FakeClock, auth_token_ttl_s=10)
async def test_whose_token_has_run_out_does_not_come_to_its_turn(server: Running) -> None:
    """As on etcd, where a waiting call asks with the token that it came with."""
    ann = await _ann(server)
    held = await ann.lock.Lock(LOCK)
    second = waiting(refusal(ann.lock.Lock(LOCK)))
    await queued(ann, b"a", 2)
    await server.time.advance(11)
    again = await as_user(server, "ann")
    await again.lock.Unlock(UnlockRequest(key=held.key))
    assert await second == Status(Code.UNKNOWN, status.INVALID_AUTH_TOKEN.message)
    await queued(again, b"a", 0)
