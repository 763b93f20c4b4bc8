"""Compact: what can no longer be read, what still can, and that it survives a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from server import status
from tests.support.client import Client, refusal
from tests.support.clock import FakeClock, settle
from tests.support.ops import fill_for_a_long_sweep
from tests.support.serving import Running, running, served

ALL: Final = b"\0"


async def _six_revisions(client: Client) -> None:
    """TestCompaction's data (tests/common/compact_test.go): key1 is at 2 to 4, key2 at 5 to 6."""
    for key, value in ((b"1", b"a"), (b"1", b"b"), (b"1", b"c"), (b"2", b"a"), (b"2", b"b")):
        await client.put(key, value)


@pytest.mark.parametrize("physical", [False, True])
@served()
async def test_below_the_compacted_revision_nothing_is_read_at_it_everything_is(
    server: Running, physical: bool
) -> None:
    """TestCompaction, plain and with physical."""
    client = server.client
    await _six_revisions(client)
    assert (await client.compact(4, physical=physical)).header.revision == 6
    assert await refusal(client.get(b"1", revision=3)) == status.COMPACTED
    assert await refusal(client.get(b"absent", revision=3)) == status.COMPACTED
    assert (await client.get(b"1", revision=4)).kvs[0].value == b"c"
    assert (await client.get(ALL, ALL, revision=5)).count == 2
    assert await refusal(client.compact(2, physical=physical)) == status.COMPACTED


@served()
async def test_compacting_the_current_revision_leaves_the_newest_of_each_key(
    server: Running,
) -> None:
    """TestV3CompactCurrentRev, read both ways."""
    await _six_revisions(server.client)
    await server.client.compact(6, physical=True)
    for serializable in (False, True):
        reply = await server.client.get(ALL, ALL, serializable=serializable)
        assert [kv.value for kv in reply.kvs] == [b"c", b"b"]
        again = await server.client.get(ALL, ALL, revision=6, serializable=serializable)
        assert again == reply


@served()
async def test_a_revision_is_compacted_once_and_never_before_it_happened(
    server: Running,
) -> None:
    """TestKVCompactError."""
    await _six_revisions(server.client)
    await server.client.compact(6)
    assert await refusal(server.client.compact(6)) == status.COMPACTED
    assert await refusal(server.client.compact(5)) == status.COMPACTED
    assert await refusal(server.client.compact(7)) == status.FUTURE_REVISION
    assert await refusal(server.client.compact(100, physical=True)) == status.FUTURE_REVISION


@served()
async def test_revision_0_can_be_compacted_once_and_minus_1_never(server: Running) -> None:
    """A store that was never compacted stands at -1."""
    assert await refusal(server.client.compact(-1)) == status.COMPACTED
    await server.client.compact(0)
    assert await refusal(server.client.compact(0)) == status.COMPACTED
    await server.client.compact(1)
    assert await refusal(server.client.compact(1)) == status.COMPACTED


@served()
async def test_a_compaction_moves_no_revision(server: Running) -> None:
    await _six_revisions(server.client)
    await server.client.compact(5, physical=True)
    assert (await server.client.put(b"3")).header.revision == 7


@served()
async def test_a_deleted_key_can_still_be_read_above_the_compacted_revision(
    server: Running,
) -> None:
    await server.client.put(b"a", b"1")  # 2
    await server.client.put(b"a", b"2")  # 3
    await server.client.delete(b"a")  # 4
    await server.client.put(b"b")  # 5
    await server.client.compact(3, physical=True)
    assert (await server.client.get(b"a", revision=3)).kvs[0].version == 2
    assert (await server.client.get(b"a", revision=4)).count == 0
    await server.client.compact(5, physical=True)
    assert (await server.client.get(b"a", revision=5)).count == 0
    (kv,) = (await server.client.get(ALL, ALL)).kvs
    assert kv.key == b"b"


@served()
async def test_a_physical_compaction_answers_once_the_rows_are_gone(server: Running) -> None:
    await _six_revisions(server.client)
    await server.client.compact(6, physical=True)
    assert len(list(server.backend.scan(Column.KEY))) == 2


@served(clock=FakeClock)
async def test_a_refused_physical_compaction_waits_for_the_sweep_under_way(
    server: Running,
) -> None:
    """etcd's Compact in server/etcdserver/v3_server.go."""
    newest = await fill_for_a_long_sweep(server.client)
    await server.client.compact(newest)
    refused = asyncio.ensure_future(refusal(server.client.compact(newest, physical=True)))
    assert await refusal(server.client.compact(newest)) == status.COMPACTED
    await settle()
    assert not refused.done()
    await server.time.advance(1)
    assert await refused == status.COMPACTED


@pytest.mark.parametrize("physical", [False, True])
def test_a_compaction_survives_a_restart(tmp_path: Path, physical: bool) -> None:
    async def scenario() -> None:
        async with running(directory=tmp_path) as server:
            await _six_revisions(server.client)
            await server.client.delete(b"1")
            await server.client.compact(5, physical=physical)
        async with running(directory=tmp_path) as server:
            assert await server.client.revision() == 7
            assert await refusal(server.client.get(b"1", revision=4)) == status.COMPACTED
            assert await refusal(server.client.compact(5)) == status.COMPACTED
            assert (await server.client.get(b"1", revision=5)).kvs[0].value == b"c"
            await server.client.compact(7, physical=True)
            assert (await server.client.get(ALL, ALL)).count == 1

    asyncio.run(scenario())


def test_the_revision_does_not_go_back_where_only_a_compacted_tombstone_had_it() -> None:
    """tests/robustness' issue 17780: the newest revisions may be tombstones that are gone."""

    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            for _ in range(3):
                await server.client.put(b"a")
                await server.client.delete(b"a")
            assert await server.client.revision() == 7
            await server.client.compact(7, physical=True)
        async with running(backend=backend) as server:
            assert await server.client.revision() == 7
            assert (await server.client.put(b"a")).header.revision == 8

    asyncio.run(scenario())


def test_a_sweep_that_was_interrupted_is_finished_after_a_restart() -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend, clock=FakeClock()) as server:
            newest = await fill_for_a_long_sweep(server.client)
            await server.client.compact(newest)
            await settle()  # One step of a thousand rows; then the sweeper waits for the clock.
            assert 100 < len(list(backend.scan(Column.KEY))) < 1200
        async with running(backend=backend) as server:
            assert await refusal(server.client.compact(newest, physical=True)) == status.COMPACTED
            assert len(list(backend.scan(Column.KEY))) == 100
            assert (await server.client.get(ALL, ALL, revision=newest)).count == 100

    asyncio.run(scenario())
