"""Lock and Unlock: who holds it, who waits in which order, and what is left of those who go."""

from __future__ import annotations

import asyncio
import random

import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb.v3lock_pb2 import LockRequest, LockResponse, UnlockRequest
from mvcc.backend.memory import MemoryBackend
from server import status
from server.services import tails
from server.status import Code, Status
from tests.support.calls import Pipe
from tests.support.client import Client, refusal, until
from tests.support.clock import FakeClock, settle
from tests.support.ops import put
from tests.support.server import ServerInProcess
from tests.support.serving import Running, served
from tests.support.waits import leave, queued, waiting

PATH = "/v3lockpb.Lock/Lock"


def _unknown(status: Status) -> Status:
    """What is left of an error that came out of etcd's own client: its text."""
    return Status(Code.UNKNOWN, status.message)


async def _lock(client: Client, lease: int, name: bytes = b"a") -> LockResponse:
    return await client.lock.Lock(LockRequest(name=name, lease=lease))


async def _unlock(client: Client, key: bytes) -> pb.ResponseHeader:
    return (await client.lock.Unlock(UnlockRequest(key=key))).header


@served()
async def test_a_free_lock_is_a_key_of_the_lease(server: Running) -> None:
    client = server.client
    await client.grant(60, 0x1F)
    held = await _lock(client, 0x1F)
    assert held.key == b"a/1f"
    assert held.header.revision == 2
    assert held.header.member_id == server.core.recovered.identity.member_id
    (entry,) = (await client.get(b"a/1f")).kvs
    assert (entry.value, entry.lease) == (b"", 0x1F)


@served()
async def test_a_lease_below_zero_is_written_with_its_sign(server: Running) -> None:
    """As Go's %x of a signed number."""
    await server.client.grant(60, -26)
    assert (await _lock(server.client, -26)).key == b"a/-1a"


@served()
async def test_without_a_lease_the_server_grants_one_of_a_minute(server: Running) -> None:
    held = await _lock(server.client, 0)
    lease_id = int(held.key.removeprefix(b"a/"), 16)
    assert (await server.client.time_to_live(lease_id, keys=True)).grantedTTL == 60
    assert list((await server.client.time_to_live(lease_id, keys=True)).keys) == [held.key]


@served()
async def test_the_lease_that_holds_a_lock_gets_it_again_at_once(server: Running) -> None:
    client = server.client
    await client.grant(60, 1)
    first = await _lock(client, 1)
    await client.put(b"else")
    again = await _lock(client, 1)
    assert again.key == first.key
    assert again.header.revision == 3  # The transaction that found it changed nothing.


@served()
async def test_a_lock_goes_to_the_next_in_line_and_wakes_no_other(server: Running) -> None:
    """TestMutexLockSingleNode and TestMutexWaitsOnCurrentHolder of etcd's integration tests."""
    client = server.client
    for lease in (1, 2, 3):
        await client.grant(60, lease)
    held = await _lock(client, 1)
    second = waiting(_lock(client, 2))
    await queued(client, b"a", 2)
    third = waiting(_lock(client, 3))
    await queued(client, b"a", 3)
    released = await _unlock(client, held.key)
    got = await second
    assert got.key == b"a/2"
    assert got.header.revision >= released.revision
    assert not third.done()
    await _unlock(client, got.key)
    assert (await third).key == b"a/3"
    await _unlock(client, b"a/3")
    assert (await client.get(b"a/", b"a0")).count == 0
    assert server.core.tails.count == 0


@served()
async def test_one_who_waits_behind_one_who_leaves_goes_on_waiting(server: Running) -> None:
    """The key just ahead has gone, and there is an older one: the wait begins anew."""
    client = server.client
    for lease in (1, 2, 3):
        await client.grant(60, lease)
    await _lock(client, 1)
    second = waiting(_lock(client, 2))
    await queued(client, b"a", 2)
    third = waiting(_lock(client, 3))
    await queued(client, b"a", 3)
    await leave(second)
    await queued(client, b"a", 2)
    assert not third.done()
    await _unlock(client, b"a/1")
    assert (await third).key == b"a/3"


@served()
async def test_locks_of_other_names_are_others(server: Running) -> None:
    """A name that continues another one is no part of its queue, since a slash stands between."""
    client = server.client
    await client.grant(60, 1)
    await client.grant(60, 2)
    await _lock(client, 1, b"a")
    assert (await _lock(client, 2, b"ab")).key == b"ab/2"
    assert (await _lock(client, 2, b"b")).key == b"b/2"


@served()
async def test_a_key_put_by_anyone_under_the_name_is_in_the_queue(server: Running) -> None:
    """Locks of etcdctl and of the server are the same keys."""
    client = server.client
    await client.grant(60, 2)
    await client.put(b"a/mine")
    second = waiting(_lock(client, 2))
    await queued(client, b"a", 2)
    await client.delete(b"a/mine")
    assert (await second).key == b"a/2"


@served()
async def test_no_name_is_a_name(server: Running) -> None:
    await server.client.grant(60, 1)
    assert (await _lock(server.client, 1, b"")).key == b"/1"


@served(clock=FakeClock)
async def test_a_lock_goes_on_when_the_lease_of_its_holder_ends(server: Running) -> None:
    client = server.client
    await client.grant(5, 1)
    await client.grant(60, 2)
    await _lock(client, 1)
    second = waiting(_lock(client, 2))
    await queued(client, b"a", 2)
    await server.time.advance(6)
    assert (await second).key == b"a/2"


@served(clock=FakeClock)
async def test_whose_lease_ended_while_waiting_does_not_get_the_lock(server: Running) -> None:
    client = server.client
    await client.grant(60, 1)
    await client.grant(5, 2)
    await _lock(client, 1)
    second = waiting(refusal(_lock(client, 2)))
    await queued(client, b"a", 2)
    await server.time.advance(6)
    await queued(client, b"a", 1)
    await _unlock(client, b"a/1")
    assert await second == status.LOCK_SESSION_EXPIRED


@served()
async def test_a_caller_who_leaves_takes_the_place_in_the_queue_along(server: Running) -> None:
    """A cancelled Lock deletes its key (client/v3/concurrency/mutex.go)."""
    client = server.client
    await client.grant(60, 1)
    await client.grant(60, 2)
    await _lock(client, 1)
    second = waiting(_lock(server.connect(), 2))
    await queued(client, b"a", 2)
    await leave(second)
    await queued(client, b"a", 1)
    assert (await client.get(b"a/1")).count == 1
    await until(lambda: server.core.tails.count == 0)
    assert (await client.time_to_live(2)).TTL > 0  # The lease is the caller's own.


@served()
async def test_a_lost_connection_takes_its_places_along(server: Running) -> None:
    """And the leases that were granted for them, since nobody was told of those."""
    client, other = server.client, server.connect()
    await client.grant(60, 1)
    await _lock(client, 1)
    others = [waiting(_lock(other, 0)) for _ in range(3)]
    await queued(client, b"a", 4)
    lessor = server.core.recovered.state.lessor
    assert len(lessor) == 4
    await other.close()
    await queued(client, b"a", 1)
    await until(lambda: len(lessor) == 1)
    await asyncio.gather(*others, return_exceptions=True)


@served(on_disk=True)
async def test_however_they_come_and_go_there_is_one_holder_and_nothing_is_left(
    server: Running,
) -> None:
    """Many take the lock, some give up waiting for it, all at a seed's word."""
    chance = random.Random(20_261_123)
    holders: set[bytes] = set()
    taken = 0

    async def work(client: Client) -> None:
        nonlocal taken
        for _ in range(8):
            lease = (await client.grant(60)).ID
            call = waiting(_lock(client, lease))
            if chance.random() < 0.4:
                await asyncio.wait((call,), timeout=chance.random() * 0.01)
                if not call.done():
                    await leave(call)
                    await client.revoke(lease)  # The answer may have been on its way.
                    continue
            held = await call
            assert not holders
            holders.add(held.key)
            taken += 1
            await client.get(b"a/", b"a0", limit=1, sort_order=pb.RangeRequest.DESCEND)
            holders.remove(held.key)
            await _unlock(client, held.key)

    await asyncio.gather(*[work(server.connect()) for _ in range(10)])
    await queued(server.client, b"a", 0)
    await until(lambda: server.core.tails.count == 0)
    assert taken > 10


@served()
async def test_a_deadline_ends_the_wait(server: Running) -> None:
    client = server.client
    await client.grant(60, 1)
    await client.grant(60, 2)
    await _lock(client, 1)
    call = client.channel.unary_unary(PATH)
    message = LockRequest(name=b"a", lease=2).SerializeToString()
    refused = await refusal(call(message, timeout=0.2))
    assert refused.code == Code.DEADLINE_EXCEEDED
    await queued(client, b"a", 1)


@served()
async def test_a_lease_that_is_not_there_is_told_without_its_code(server: Running) -> None:
    refused = await refusal(_lock(server.client, 7))
    assert refused == Status(Code.UNKNOWN, "etcdserver: requested lease not found")
    assert (await server.client.get(b"a/7")).count == 0


@served()
async def test_a_full_store_refuses_locks_and_lets_them_go(server: Running) -> None:
    client = server.client
    await client.grant(60, 1)
    await _lock(client, 1)
    alarm = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=pb.AlarmType.NOSPACE)
    await client.maintenance.Alarm(alarm)
    assert await refusal(_lock(client, 0)) == _unknown(status.NO_SPACE)
    await _unlock(client, b"a/1")
    assert (await client.get(b"a/1")).count == 0


@served()
async def test_unlocking_deletes_whatever_key_it_is_given(server: Running) -> None:
    client = server.client
    await client.put(b"k")
    assert (await _unlock(client, b"k")).revision == 3
    assert (await _unlock(client, b"k")).revision == 3
    assert (await client.get(b"k")).count == 0


@served()
async def test_unlocking_no_key_is_refused(server: Running) -> None:
    assert await refusal(_unlock(server.client, b"")) == _unknown(status.KEY_NOT_PROVIDED)


@served()
async def test_no_more_may_wait_than_the_bound_says(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "TAILS_MAX", 1)
    client = server.client
    for lease in (1, 2, 3):
        await client.grant(60, lease)
    await _lock(client, 1)
    second = waiting(_lock(client, 2))
    await until(lambda: server.core.tails.count == 1)
    assert await refusal(_lock(client, 3)) == status.TOO_MANY_REQUESTS
    await queued(client, b"a", 2)  # The refused one's key is gone.
    await _unlock(client, b"a/1")
    assert (await second).key == b"a/2"


@served()
async def test_a_wait_that_history_no_longer_covers_looks_again(server: Running) -> None:
    """The holder's delete is compacted before the waiter was told of it."""
    client = server.client
    await client.grant(60, 1)
    await client.grant(60, 2)
    await _lock(client, 1)
    second = waiting(_lock(client, 2))
    await queued(client, b"a", 2)
    await client.kv.Txn(pb.TxnRequest(success=[put(b"b")]))
    await client.compact(await client.revision())
    await _unlock(client, b"a/1")
    assert (await second).key == b"a/2"


@served()
async def test_the_end_of_the_server_ends_the_wait_and_the_place(server: Running) -> None:
    client = server.client
    await client.grant(60, 1)
    await client.grant(60, 2)
    await _lock(client, 1)
    second = waiting(refusal(_lock(client, 2)))
    await queued(client, b"a", 2)
    await server.stop_serving()
    assert await second == status.SERVER_STOPPED
    assert set(server.core.recovered.state.store.index.entries) >= {b"a/1"}
    assert server.core.recovered.state.store.index.live(b"a/2") is None


@pytest.mark.parametrize("is_held_before", [False, True])
def test_who_leaves_before_the_place_is_durable_leaves_none_but_keeps_an_old_one(
    is_held_before: bool,
) -> None:
    async def scenario() -> None:
        server = ServerInProcess(MemoryBackend(), FakeClock())
        await server.call(pb.LeaseGrantRequest(TTL=60, ID=1))
        if is_held_before:
            pipe = _asked(LockRequest(name=b"a", lease=1))
            server.open(PATH, pipe)
            await settle()
            assert len(pipe.sent) == 1
        server.flusher.hold()
        call = server.open(PATH, _asked(LockRequest(name=b"a", lease=1)))
        server.ask(pb.PutRequest(key=b"b"))
        await settle()
        call.cancel()
        await settle()
        server.flusher.let_go()
        await settle()
        found = await server.call(pb.RangeRequest(key=b"a/1"))
        assert found.count == is_held_before
        await server.stop()

    asyncio.run(scenario())


def _asked(request: LockRequest) -> Pipe:
    pipe = Pipe()
    pipe.write(request.SerializeToString())
    pipe.half_close()
    return pipe
