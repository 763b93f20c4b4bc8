"""Compaction between other work: in steps, once a physical one is answered nothing is left."""

from __future__ import annotations

import asyncio

from etcdpb.rpc_pb2 import CompactionRequest, PutRequest, RangeRequest
from mvcc import compaction
from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from server.settings.compacting import PAUSE_DEFAULT_S
from server.status import COMPACTED, FUTURE_REVISION
from tests.support.calls import Answer
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, parsed

A = PutRequest(key=b"a")
STEPS = 3
VERSIONS = STEPS * compaction.STEP_ROWS_MAX - 1  # Walked in so many steps, the last not full.


def _rows(server: ServerInProcess) -> int:
    return sum(1 for _ in server.backend.scan(Column.KEY))


async def _server(versions: int = VERSIONS) -> ServerInProcess:
    """One key with a history. The background tasks run."""
    server = ServerInProcess(MemoryBackend(), FakeClock())
    for _ in range(versions):
        server.ask(A)
    await settle()
    assert _rows(server) == versions
    return server


def _compact(server: ServerInProcess, revision: int, *, physical: bool) -> Answer:
    return server.ask(CompactionRequest(revision=revision, physical=physical))


@in_loop
async def test_a_compaction_is_answered_before_its_rows_are_gone() -> None:
    server = await _server()
    answer = _compact(server, VERSIONS + 1, physical=False)
    await settle()
    assert answer.is_done
    assert server.ask(RangeRequest(key=b"a", revision=VERSIONS)).status == COMPACTED
    assert _rows(server) > 1
    await server.clock.advance(STEPS * PAUSE_DEFAULT_S)
    assert _rows(server) == 1
    await server.stop()


@in_loop
async def test_a_physical_compaction_is_answered_only_once_the_rows_are_gone() -> None:
    server = await _server()
    left_when_answered: list[int] = []
    answer = Answer(lambda _: left_when_answered.append(_rows(server)))
    server.ask(CompactionRequest(revision=VERSIONS + 1, physical=True), answer)
    await settle()
    assert not answer.is_done
    await server.clock.advance(STEPS * PAUSE_DEFAULT_S)
    assert left_when_answered == [1]
    assert parsed(CompactionRequest(), answer).header.revision == VERSIONS + 1
    await server.stop()


@in_loop
async def test_a_refused_physical_compaction_waits_for_the_one_under_way() -> None:
    server = await _server()
    _compact(server, VERSIONS + 1, physical=False)
    again = _compact(server, VERSIONS + 1, physical=True)
    await settle()
    assert not again.is_done
    await server.clock.advance(STEPS * PAUSE_DEFAULT_S)
    assert again.status == COMPACTED
    assert _rows(server) == 1
    await server.stop()


@in_loop
async def test_a_refused_physical_compaction_with_none_under_way_is_told_at_once() -> None:
    server = await _server(3)
    answer = _compact(server, 9, physical=True)
    await settle()
    assert answer.status == FUTURE_REVISION
    await server.stop()


@in_loop
async def test_other_commands_get_in_between_two_steps() -> None:
    server = await _server()
    _compact(server, VERSIONS + 1, physical=True)
    await settle()
    left = _rows(server)
    assert (await server.call(A)).header.revision == VERSIONS + 2
    assert _rows(server) == left + 1, "the sweep pauses between its steps"
    await server.clock.advance(STEPS * PAUSE_DEFAULT_S)
    assert _rows(server) == 2
    await server.stop()


@in_loop
async def test_a_later_compaction_takes_the_sweep_under_way_further() -> None:
    server = await _server()
    half = VERSIONS // 2
    first = _compact(server, half, physical=True)
    await settle()
    second = _compact(server, VERSIONS, physical=True)
    await server.clock.advance(2 * STEPS * PAUSE_DEFAULT_S)
    assert parsed(CompactionRequest(), first).header.revision == VERSIONS + 1
    assert parsed(CompactionRequest(), second).header.revision == VERSIONS + 1
    assert _rows(server) == 2
    await server.stop()


@in_loop
async def test_a_compaction_in_one_group_with_the_last_step_of_another_is_swept_by_itself() -> None:
    server = await _server(9)
    first = _compact(server, 5, physical=False)
    for _ in range(20):  # Until the sweep's first and last step is queued.
        await asyncio.sleep(0)
        if first.is_done and server.engine.stats().queued:
            break
    assert server.engine.stats().queued == 1
    left_when_answered: list[int] = []
    second = Answer(lambda _: left_when_answered.append(_rows(server)))
    server.ask(CompactionRequest(revision=9, physical=True), second)
    groups = server.engine.stats().groups
    await settle()
    assert left_when_answered == []
    await server.clock.advance(PAUSE_DEFAULT_S)
    assert left_when_answered == [2]
    assert server.engine.stats().groups == groups + 2
    await server.stop()


@in_loop
async def test_a_sweep_that_a_crash_interrupted_goes_on_by_itself() -> None:
    server = await _server()
    _compact(server, VERSIONS + 1, physical=False)
    await settle()
    interrupted = _rows(server)
    assert interrupted > 1
    await server.restart()
    assert _rows(server) == interrupted
    await server.clock.advance(STEPS * PAUSE_DEFAULT_S)
    assert _rows(server) == 1
    assert server.ask(RangeRequest(key=b"a", revision=VERSIONS)).status == COMPACTED
    assert (await server.call(RangeRequest(key=b"a"))).kvs[0].version == VERSIONS
    await server.stop()


@in_loop
async def test_what_a_sweep_frees_is_counted_and_survives_a_restart() -> None:
    server = await _server(5)
    before = server.store.in_use
    await server.call(CompactionRequest(revision=6, physical=True))
    after = server.store.in_use
    assert server.store.freed == before - after
    assert after == sum(
        len(key) + len(value) for column in Column for key, value in server.backend.scan(column)
    )
    await server.restart()
    assert (server.store.in_use, server.store.freed) == (after, before - after)
    await server.stop()
