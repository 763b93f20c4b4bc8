"""aetcd: leases, renewed one request a stream or many on one, and the locks made of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from compat.aetcd import Connect, aetcd

TTL_S = 2  # The shortest at etcd's defaults.
LATE_MAX_S = 10.0
NOT_FOUND = "etcdserver: requested lease not found"


async def test_a_lease_tells_its_ttl_and_its_keys(connect: Connect, prefix: str) -> None:
    keys = [f"{prefix}{name}".encode() for name in "ab"]
    async with connect() as client:
        lease = await client.lease(600)
        assert lease.ttl == await lease.granted_ttl() == 600
        assert 590 <= await lease.remaining_ttl() < 600
        for key in keys:
            await client.put(key, b"x", lease=lease)
        assert sorted(await lease.keys()) == keys
        assert (await client.get(keys[0])).lease == lease.id
        assert (await lease.refresh()).TTL == 600
        await lease.revoke()
        assert (await client.get_prefix(prefix.encode())).count == 0


async def test_an_id_of_ones_own_is_taken_once(connect: Connect) -> None:
    async with connect() as client:
        lease = await client.lease(600, lease_id=4823)
        assert lease.id == 4823
        with pytest.raises(aetcd.exceptions.DuplicateLeaseError):
            await client.lease(600, lease_id=4823)
        await lease.revoke()


async def test_a_lease_that_is_not_there_is_told_in_etcds_ways(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(aetcd.exceptions.ClientError) as error:
            await client.revoke_lease(4824)
        assert str(error.value) == NOT_FOUND
        assert (await client.refresh_lease(4824)).TTL == 0
        assert (await client.get_lease_info(4824)).TTL == -1


async def test_a_lease_runs_out_not_early_and_a_watch_sees_it(
    connect: Connect, prefix: str
) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        events = aiter(await client.watch(key, kind=aetcd.rtypes.EventKind.DELETE, prev_kv=True))
        start = time.monotonic()
        lease = await client.lease(TTL_S)
        await client.put(key, b"x", lease=lease)
        event = await asyncio.wait_for(anext(events), TTL_S + LATE_MAX_S)
        assert time.monotonic() - start >= TTL_S
        assert event.prev_kv.lease == lease.id
        assert (await lease.refresh()).TTL == 0


async def test_one_stream_keeps_leases_for_as_long_as_it_renews_them(
    connect: Connect, prefix: str
) -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()

    async def requests() -> AsyncIterator[Any]:
        while lease_id := await asked.get():
            yield aetcd.rpc.LeaseKeepAliveRequest(ID=lease_id)

    async with connect() as client:
        kept = [(await client.lease(2 * TTL_S)).id for _ in range(20)]
        answers = aiter(client.leasestub.LeaseKeepAlive(requests()))
        start = time.monotonic()
        while time.monotonic() - start < 3 * TTL_S:
            for lease_id in kept:
                await asked.put(lease_id)
            for lease_id in kept:
                answer = await anext(answers)
                assert (lease_id, 2 * TTL_S) == (answer.ID, answer.TTL)
            # A lease that nobody renews tells the time.
            key = f"{prefix}key".encode()
            await client.put(key, b"x", lease=await client.lease(TTL_S))
            await client.watch_once(key, kind=aetcd.rtypes.EventKind.DELETE)
        await asked.put(0)
        with pytest.raises(StopAsyncIteration):
            await anext(answers)


async def test_a_lock_is_held_by_one_and_goes_to_who_waits(connect: Connect, prefix: str) -> None:
    key = f"{prefix}lock".encode()
    async with connect() as one, connect() as other:
        mine, theirs = one.lock(key), other.lock(key)
        assert await mine.acquire()
        assert not await theirs.acquire(timeout=0)
        waiting = asyncio.create_task(theirs.acquire(timeout=None))
        assert await mine.is_acquired()
        assert await mine.release()
        assert await asyncio.wait_for(waiting, LATE_MAX_S)
        assert (await mine.is_acquired(), await theirs.is_acquired()) == (False, True)
        assert await theirs.release()


async def test_a_lock_not_refreshed_ends_with_its_ttl_and_not_before(
    connect: Connect, prefix: str
) -> None:
    key = f"{prefix}lock".encode()
    async with connect() as one, connect() as other:
        start = time.monotonic()
        mine = one.lock(key, ttl=TTL_S)
        assert await mine.acquire()
        assert (await mine.refresh()).TTL == TTL_S
        async with other.lock(key) as theirs:
            assert time.monotonic() - start >= TTL_S
            assert await theirs.is_acquired()
            assert await mine.release() is False
