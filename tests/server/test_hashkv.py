"""HashKV: one number for the store up to a revision, the same as etcd's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import google_crc32c
import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb.kv_pb2 import KeyValue
from server import status
from tests.support.client import Client, refusal
from tests.support.serving import Running, running, served

EMPTY: Final = 1084519789  # CRC-32C of "key": what etcd 3.5 answers of an empty store.


async def _hash(client: Client, revision: int = 0) -> pb.HashKVResponse:
    return await client.maintenance.HashKV(pb.HashKVRequest(revision=revision))


def _row(main: int, sub: int, kv: KeyValue, mark: bytes = b"") -> bytes:
    key = main.to_bytes(8, "big") + b"_" + sub.to_bytes(8, "big") + mark
    return key + kv.SerializeToString()


@served()
async def test_it_is_the_checksum_of_bucket_name_and_rows_in_order(server: Running) -> None:
    """server/storage/mvcc/hash.go, computed here from the rows as etcd stores them."""
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    await server.client.delete(b"a")
    rows = [
        _row(2, 0, KeyValue(key=b"a", value=b"1", create_revision=2, mod_revision=2, version=1)),
        _row(3, 0, KeyValue(key=b"a", value=b"2", create_revision=2, mod_revision=3, version=2)),
        _row(4, 0, KeyValue(key=b"a"), b"t"),
    ]
    for revision, count in ((2, 1), (3, 2), (4, 3), (0, 3)):
        expected = google_crc32c.value(b"key" + b"".join(rows[:count]))
        reply = await _hash(server.client, revision)
        assert reply.hash == expected
        assert reply.hash_revision == (revision or 4)
        assert (reply.header.revision, reply.compact_revision) == (4, -1)


@served()
async def test_an_empty_store_hashes_to_the_bare_seed_and_so_does_a_negative_revision(
    server: Running,
) -> None:
    assert (await _hash(server.client)).hash == EMPTY
    await server.client.put(b"a")
    reply = await _hash(server.client, -1)
    assert reply.hash == EMPTY
    assert (await _hash(server.client)).hash != EMPTY


@served()
async def test_it_is_the_same_each_time_and_names_the_newest_revision(server: Running) -> None:
    """TestV3HashKV of the integration tests: ten times."""
    for number in range(5):
        put = await server.client.put(b"%d" % number, b"v")
        replies = [await _hash(server.client) for _ in range(10)]
        assert {reply.hash for reply in replies} == {replies[0].hash}
        assert replies[0].header.revision == put.header.revision


@served()
async def test_revisions_below_the_compacted_and_above_the_current_are_refused(
    server: Running,
) -> None:
    """At the compacted revision it answers, since etcd 3.5.10."""
    for _ in range(3):
        await server.client.put(b"a")
    await server.client.compact(3)
    assert await refusal(_hash(server.client, 2)) == status.COMPACTED
    assert (await _hash(server.client, 3)).compact_revision == 3
    assert await refusal(_hash(server.client, 5)) == status.FUTURE_REVISION


@pytest.mark.parametrize("target", [5, 6, 7, 8, 9])
@served()
async def test_a_compaction_does_not_change_the_hash_of_what_it_leaves_readable(
    server: Running, target: int
) -> None:
    """TestKVHash after compaction on a value, a tombstone and the newest of all: before, during
    and after the sweep, at every revision from the compacted one on.
    """
    client = server.client
    await client.put(b"a", b"1")  # 2
    await client.put(b"b", b"1")  # 3
    await client.put(b"a", b"2")  # 4
    await client.delete(b"a")  # 5
    await client.put(b"c", b"1")  # 6
    await client.put(b"a", b"3")  # 7
    await client.delete(b"c")  # 8
    await client.delete(b"b")  # 9
    await client.compact(target)
    during = [(await _hash(client, revision)).hash for revision in range(target, 10)]
    assert await refusal(client.compact(target, physical=True)) == status.COMPACTED
    after = [(await _hash(client, revision)).hash for revision in range(target, 10)]
    assert after == during


def test_it_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """TestV3HashRestart, with HashKV."""

    async def scenario() -> None:
        async with running(directory=tmp_path) as server:
            for number in range(5):
                await server.client.put(b"%d" % (number % 2), b"v")
            await server.client.compact(4, physical=True)
            before = await _hash(server.client)
        async with running(directory=tmp_path) as server:
            after = await _hash(server.client)
            assert (after.hash, after.header.revision) == (before.hash, before.header.revision)
            assert after.compact_revision == 4

    asyncio.run(scenario())
