"""Defragment and Hash: space comes back, and nothing that can be read changes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from pathlib import Path
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.errors import BackendIOError
from mvcc.backend.memory import MemoryBackend
from server import status
from server.log import fields_of
from server.settings.config import TRANSPORTS
from server.status import Code
from tests.support.client import Client, refusal, until
from tests.support.clock import FakeClock
from tests.support.serving import GRACE_S, Running, running, served
from tests.support.waits import leave, waiting

ALL: Final = b"\0"
QUOTA: Final = 20_000
NOSPACE: Final = pb.AlarmType.NOSPACE


async def _defragment(client: Client) -> None:
    reply = await client.maintenance.Defragment(pb.DefragmentRequest())
    assert reply == pb.DefragmentResponse()  # Without a header, as etcd's.


async def _hash(client: Client) -> int:
    return (await client.maintenance.Hash(pb.HashRequest())).hash


async def _sizes(client: Client) -> tuple[int, int]:
    reply = await client.maintenance.Status(pb.StatusRequest())
    return reply.dbSize, reply.dbSizeInUse


async def _disarm(client: Client) -> None:
    raised = await client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.GET))
    for alarm in raised.alarms:
        request = pb.AlarmRequest(
            action=pb.AlarmRequest.DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm
        )
        await client.maintenance.Alarm(request)


@served(quota_backend_bytes=QUOTA)
async def test_a_full_store_takes_writes_again_after_compact_defragment_and_disarm(
    server: Running,
) -> None:
    """TestAlarm of tests/common/alarm_test.go: the recovery that etcd's documentation teaches."""
    client = server.client
    value = b"v" * 1000
    while (await _sizes(client))[0] + 2000 < QUOTA:
        await client.put(b"a", value)
    assert await refusal(client.put(b"a", value * 2)) == status.NO_SPACE
    assert await refusal(client.put(b"a")) == status.NO_SPACE
    await client.compact(await client.revision(), physical=True)
    await _disarm(client)
    # Compacted is not yet given back, so the store is as full as before.
    assert await refusal(client.put(b"a", value * 2)) == status.NO_SPACE
    await _defragment(client)
    await _disarm(client)
    await client.put(b"a", value * 2)


@served(on_disk=True)
async def test_it_gives_back_what_compaction_freed_and_nothing_else(server: Running) -> None:
    """tests/common/defrag_test.go; HashKV is the same before and after."""
    client = server.client
    for number in range(10):
        await client.put(b"%d" % (number % 2), b"v" * 500)
    await client.compact(8, physical=True)
    before = await client.maintenance.HashKV(pb.HashKVRequest(revision=9))
    size, in_use = await _sizes(client)
    assert size > in_use + 2000
    await _defragment(client)
    assert await _sizes(client) == (in_use, in_use)
    after = await client.maintenance.HashKV(pb.HashKVRequest(revision=9))
    assert after.hash == before.hash
    assert (await client.get(ALL, ALL)).count == 2
    assert await client.revision() == 11


@served(on_disk=True)
async def test_writes_go_on_during_it(server: Running) -> None:
    for _ in range(50):
        await server.client.put(b"a", b"v" * 1000)
    await server.client.compact(51)
    calls = [_defragment(server.client) for _ in range(3)]
    await asyncio.gather(*calls, *[server.client.put(b"%d" % n) for n in range(100)])
    assert await server.client.revision() == 151


def test_what_it_gave_back_stays_given_back_after_a_restart() -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            for _ in range(5):
                await server.client.put(b"a", b"v" * 500)
            await server.client.compact(6, physical=True)
        async with running(backend=backend) as server:
            size, in_use = await _sizes(server.client)
            assert size > in_use + 1000
            await _defragment(server.client)
            assert (await _sizes(server.client))[0] == in_use
        async with running(backend=backend) as server:
            assert await _sizes(server.client) == (in_use, in_use)

    asyncio.run(scenario())


def test_the_hash_of_all_is_not_zero_and_the_same_after_a_restart(tmp_path: Path) -> None:
    """TestV3Hash and TestV3HashRestart."""

    async def scenario() -> None:
        async with running(directory=tmp_path) as server:
            await server.client.put(b"foo", b"bar")
            before = await _hash(server.client)
            assert before != 0
            await server.client.put(b"foo", b"baz")
            changed = await _hash(server.client)
            assert changed != before
        async with running(directory=tmp_path) as server:
            assert await _hash(server.client) == changed

    asyncio.run(scenario())


class _Prepared(MemoryBackend):
    """It keeps in which thread it was prepared for a scan."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def prepare(self) -> None:
        super().prepare()
        self.threads.append(threading.get_ident())


def test_what_takes_long_before_a_scan_is_done_off_the_loop() -> None:
    async def scenario() -> None:
        backend = _Prepared()
        async with running(backend=backend) as server:
            await _hash(server.client)
            assert len(backend.threads) == 1
            await server.client.maintenance.Snapshot(pb.SnapshotRequest()).rest()
            assert len(backend.threads) == 2
        assert threading.get_ident() not in backend.threads

    asyncio.run(scenario())


class _SlowBackend(MemoryBackend):
    """Its defragmentation ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.compactions = 0
        self.is_asked = False

    def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:
        self.is_asked = True
        self.compactions += column == Column.KEY and not start
        self.may_end.wait(GRACE_S)
        super().compact(column, start, end)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_defragmentation_goes_on_without_who_asked_for_it(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And whoever asks meanwhile waits for the same one."""
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        backend = _SlowBackend()
        async with running(backend=backend, transport=transport) as server:
            client = server.client
            await client.put(b"a", b"v" * 1000)
            await client.put(b"a")
            await client.compact(3, physical=True)
            left = waiting(server.connect().maintenance.Defragment(pb.DefragmentRequest()))
            await until(lambda: backend.is_asked)
            await leave(left)
            await until(lambda: server.streams == 0)
            other = waiting(_defragment(client))
            await client.put(b"b")
            assert (await _sizes(client))[0] > (await _sizes(client))[1]
            backend.may_end.set()
            await other
            assert (await _sizes(client))[0] == (await _sizes(client))[1]
            assert backend.compactions == 1

    asyncio.run(scenario())
    said = [each for each in caplog.messages if "defragment" in each]
    assert said == ["starting defragment", "finished defragment"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_defragmentation_that_fails_is_told_and_can_be_tried_again(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(MemoryBackend):
        def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:  # noqa: ARG002
            raise BackendIOError(Path("store"), "no room")

    async def scenario() -> None:
        async with running(backend=Failing(), transport=transport) as server:
            for _ in range(2):
                refused = await refusal(_defragment(server.client))
                assert refused.code == Code.UNKNOWN
            await server.client.put(b"a")

    asyncio.run(scenario())
    assert caplog.messages.count("failed to defragment") == 2


def test_one_that_takes_long_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Every five seconds; here each of its twenty pieces takes two."""
    caplog.set_level(logging.INFO)
    clock = FakeClock()

    class Slow(MemoryBackend):
        def compact(self, column: Column, start: bytes = b"", end: bytes | None = None) -> None:
            super().compact(column, start, end)
            if column == Column.KEY:
                pieces.append((start, end))
                clock._now += 2

    pieces: list[tuple[bytes, bytes | None]] = []

    async def scenario() -> None:
        async with running(backend=Slow(), clock=clock) as server:
            await server.put_many(100)
            await _defragment(server.client)

    asyncio.run(scenario())
    told = [fields_of(each)["done"] for each in caplog.records if each.message == "defragmenting"]
    assert told == ["15 %", "30 %", "45 %", "60 %", "75 %", "90 %"]
    assert (pieces[0][0], pieces[-1][1], len(pieces)) == (b"", None, 20)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pieces))
