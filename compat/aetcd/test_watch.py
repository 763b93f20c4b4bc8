"""aetcd: watches. All of a client share one stream."""

import asyncio
from typing import Any

import pytest

from compat.aetcd import Connect, aetcd
from compat.targets import Server

EVENT_MAX_S = 10.0


async def next_of(events: Any) -> Any:
    return await asyncio.wait_for(anext(events), EVENT_MAX_S)


async def test_a_watch_sees_puts_and_deletes_of_its_key(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        watch = await client.watch(key, prev_kv=True)
        events = aiter(watch)
        first = (await client.put(key, b"1")).header.revision
        await client.put(key + b"-other", b"x")
        await client.delete(key)
        put, deleted = await next_of(events), await next_of(events)
        assert (put.kind, put.kv.value, put.kv.mod_revision) == ("PUT", b"1", first)
        assert (deleted.kind, deleted.kv.mod_revision) == ("DELETE", first + 2)
        assert deleted.prev_kv.value == b"1"
        await watch.cancel()
        with pytest.raises(StopAsyncIteration):
            await next_of(events)


async def test_history_comes_first_and_in_order(connect: Connect, prefix: str) -> None:
    start = prefix.encode()
    async with connect() as client:
        first = (await client.put(start + b"a", b"0")).header.revision
        for number in range(1, 100):
            await client.put(start + b"a", b"%d" % number)
        events = aiter(await client.watch_prefix(start, start_revision=first + 1))
        await client.put(start + b"b", b"100")
        seen = [(await next_of(events)).kv.value for _ in range(100)]
        assert seen == [b"%d" % number for number in range(1, 101)]


async def test_kinds_can_be_left_out(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        puts = aiter(await client.watch(key, kind=aetcd.rtypes.EventKind.PUT))
        deletes = aiter(await client.watch(key, kind=aetcd.rtypes.EventKind.DELETE))
        for value in (b"1", b"2"):
            await client.put(key, value)
            await client.delete(key)
        assert [(await next_of(puts)).kv.value for _ in range(2)] == [b"1", b"2"]
        assert [(await next_of(deletes)).kind for _ in range(2)] == ["DELETE"] * 2


async def test_many_watches_on_one_stream_each_get_their_own(connect: Connect, prefix: str) -> None:
    keys = [f"{prefix}{number:02d}".encode() for number in range(50)]
    async with connect() as client:
        watches = [await client.watch(key) for key in keys]
        assert len({watch.watch_id for watch in watches}) == 50
        await asyncio.gather(*(client.put(key, key) for key in keys))
        for key, watch in zip(keys, watches, strict=True):
            assert (await next_of(aiter(watch))).kv.value == key


async def test_a_cancelled_watch_leaves_the_others(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        gone, going = await client.watch(key), await client.watch(key)
        await gone.cancel()
        for value in (b"1", b"2"):
            await client.put(key, value)
            assert (await next_of(aiter(going))).kv.value == value


async def test_a_watch_once_returns_or_runs_out_of_time(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        with pytest.raises(aetcd.exceptions.WatchTimeoutError):
            await client.watch_once(key, timeout=0.2)
        put = await client.put(key, b"1")
        event = await client.watch_once(key, start_revision=put.header.revision)
        assert event.kv.value == b"1"


@pytest.mark.usefixtures("fresh_server")
async def test_a_watch_of_a_compacted_revision_tells_which(connect: Connect) -> None:
    async with connect() as client:
        for value in (b"1", b"2", b"3"):
            await client.put(b"key", value)
        await client.compact(3)
        events = aiter(await client.watch(b"key", start_revision=1))
        with pytest.raises(aetcd.exceptions.RevisionCompactedError) as error:
            await next_of(events)
        assert error.value.compacted_revision == 3
        events = aiter(await client.watch(b"key", start_revision=4))
        assert (await next_of(events)).kv.value == b"3"


async def test_a_watch_ends_with_its_server_and_a_new_one_goes_on(
    connect: Connect, fresh_server: Server
) -> None:
    async with connect() as client:
        events = aiter(await client.watch(b"key"))
        await client.put(b"key", b"before")
        assert (await next_of(events)).kv.value == b"before"
        await asyncio.to_thread(fresh_server.restart)
        with pytest.raises(aetcd.exceptions.ClientError):
            await next_of(events)
    async with connect() as client:
        events = aiter(await client.watch(b"key", start_revision=2))
        await client.put(b"key", b"after")
        assert [(await next_of(events)).kv.value for _ in range(2)] == [b"before", b"after"]
