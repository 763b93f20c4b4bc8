"""aetcd: keys, ranges, deletes, compaction, and what the server says of itself."""

import asyncio

import pytest

from compat.aetcd import Connect, aetcd
from compat.targets import Server

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


async def test_what_was_put_is_got_with_its_history(connect: Connect, prefix: str) -> None:
    key, value = f"{prefix}ключ".encode(), bytes(range(256))
    async with connect() as client:
        assert await client.get(key) is None
        first = (await client.put(key, b"one")).header.revision
        second = await client.put(key, value, prev_kv=True)
        assert (second.prev_kv.value, second.prev_kv.mod_revision) == (b"one", first)
        got = await client.get(key)
        assert (got.key, got.value, got.version, got.lease) == (key, value, 2, 0)
        assert (got.create_revision, got.mod_revision) == (first, first + 1)
        assert (await client.get(key, serializable=True)).value == value


async def test_a_prefix_is_got_in_the_order_asked_for(connect: Connect, prefix: str) -> None:
    start = prefix.encode()
    async with connect() as client:
        for name, value in ((b"b", b"1"), (b"c", b"3"), (b"a", b"2")):
            await client.put(start + name, value)
        got = await client.get_prefix(start)
        assert (got.count, got.more, [kv.value for kv in got]) == (3, False, [b"2", b"1", b"3"])
        got = await client.get_prefix(start, sort_order="descend", sort_target="value")
        assert [kv.value for kv in got] == [b"3", b"2", b"1"]
        got = await client.get_prefix(start, sort_order="ascend", sort_target="create")
        assert [kv.key for kv in got] == [start + b"b", start + b"c", start + b"a"]
        got = await client.get_prefix(start, keys_only=True)
        assert [kv.value for kv in got] == [b""] * 3
        got = await client.get_range(start + b"a", start + b"c")
        assert [kv.key for kv in got] == [start + b"a", start + b"b"]


@pytest.mark.usefixtures("fresh_server")
async def test_get_all_gets_all(connect: Connect) -> None:
    async with connect() as client:
        assert len(await client.get_all()) == 0
        for name in (b"\x00", b"a", b"\xff\xff"):
            await client.put(name, name)
        assert [kv.value for kv in await client.get_all()] == [b"\x00", b"a", b"\xff\xff"]


async def test_deletes_tell_what_was_there(connect: Connect, prefix: str) -> None:
    start = prefix.encode()
    async with connect() as client:
        assert await client.delete(start) is None
        for name in (b"a", b"b", b"c"):
            put = await client.put(start + name, name)
        deleted = await client.delete(start + b"a", prev_kv=True)
        assert deleted.prev_kv.value == b"a"
        assert deleted.header.revision == put.header.revision + 1
        several = await client.delete_prefix(start, prev_kv=True)
        assert (several.deleted, [kv.value for kv in several]) == (2, [b"b", b"c"])
        assert (await client.delete_range(start, start + b"z")).deleted == 0


async def test_replace_replaces_what_is_as_expected(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        await client.put(key, b"one")
        assert await client.replace(key, b"two", b"three") is False
        assert await client.replace(key, b"one", b"two") is True
        assert (await client.get(key)).value == b"two"


async def test_refusals_reach_the_client(connect: Connect, prefix: str) -> None:
    key = f"{prefix}key".encode()
    async with connect() as client:
        with pytest.raises(aetcd.exceptions.InvalidArgumentError) as error:
            await client.put(b"", b"x")
        assert str(error.value) == "etcdserver: key is not provided"
        with pytest.raises(aetcd.exceptions.InvalidArgumentError) as error:
            await client.put(key, bytes(1536 * 1024))
        assert str(error.value) == "etcdserver: request is too large"
        with pytest.raises(aetcd.exceptions.ClientError) as error:
            await client.put(key, b"x", lease=4821)
        assert str(error.value) == "etcdserver: requested lease not found"


async def test_compaction_is_refused_of_what_is_compacted_and_of_the_future(
    connect: Connect, prefix: str
) -> None:
    async with connect() as client:
        revision = (await client.put(prefix.encode(), b"x")).header.revision
        await client.compact(revision, physical=True)
        for refused, text in ((revision, COMPACTED), (revision + 1, FUTURE)):
            with pytest.raises(aetcd.exceptions.ClientError) as error:
                await client.compact(refused)
            assert str(error.value) == text


async def test_many_calls_at_once_share_a_connection(connect: Connect, prefix: str) -> None:
    start = prefix.encode()
    async with connect() as client:
        puts = [client.put(start + b"%03d" % number, b"x") for number in range(500)]
        revisions = {put.header.revision for put in await asyncio.gather(*puts)}
        assert len(revisions) == 500
        assert (await client.get_prefix(start)).count == 500


@pytest.mark.usefixtures("fresh_server")
async def test_the_only_member_leads_and_can_be_asked_for_its_state(
    connect: Connect, server: Server
) -> None:
    async with connect() as client:
        await client.put(b"key", b"value")
        [member] = [member async for member in client.members()]
        assert list(member.client_urls) == [server.url]
        status = await client.status()
        assert status.leader.id == member.id
        assert status.db_size > 0
        assert await client.hash() > 0
        await client.defragment()
        [alarm] = await client.create_alarm(member.id)
        assert alarm.member_id == member.id
        with pytest.raises(aetcd.exceptions.ClientError) as error:
            await client.put(b"key", b"more")
        assert str(error.value) == "etcdserver: mvcc: database space exceeded"
        assert [each.member_id async for each in client.list_alarms()] == [member.id]
        await client.disarm_alarm(member.id)
        assert [each async for each in client.list_alarms()] == []
        await client.put(b"key", b"more")


async def test_no_server_is_a_connection_that_failed(
    connect: Connect, fresh_server: Server
) -> None:
    async with connect() as client:
        await client.put(b"key", b"value")
        fresh_server.stop()
        with pytest.raises(aetcd.exceptions.ConnectionFailedError):
            await client.get(b"key")
