"""Compaction that nobody asks for: when, of which revision, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from etcdpb.rpc_pb2 import AlarmRequest, AlarmType, CompactionRequest, PutRequest
from mvcc.backend.memory import MemoryBackend
from mvcc.compaction import STEP_ROWS_MAX
from server.settings.compacting import KeepFor, KeepRevisions, Retention
from server.settings.config import Config, ConfigError
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess

A = PutRequest(key=b"a")
NEVER = -1
HOUR_S = 3600
HOUR_NS = HOUR_S * 10**9


@asynccontextmanager
async def _server(mode: str, retention: str) -> AsyncIterator[ServerInProcess]:
    """A server of which nothing runs but what compacts: its hours are not made of ticks."""
    config = Config(ephemeral=True, auto_compaction_mode=mode, auto_compaction_retention=retention)
    server = ServerInProcess(MemoryBackend(), FakeClock(), config, serve=False)
    tasks = [asyncio.ensure_future(server.core.sweeper.run())]
    if server.core.auto_compactor is not None:
        tasks.append(asyncio.ensure_future(server.core.auto_compactor.run()))
    await settle()
    try:
        yield server
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _put(server: ServerInProcess, count: int = 1) -> None:
    for _ in range(count):
        server.ask(A)
    await settle()


async def _written_each(server: ServerInProcess, steps: int, step_s: float) -> list[int]:
    """Put once, then let a step pass; the compacted revision after each step."""
    seen = []
    for _ in range(steps):
        await _put(server)
        await server.clock.advance(step_s)
        seen.append(server.store.compact_revision)
    return seen


# --- periodic ---


@in_loop
async def test_the_first_compaction_comes_after_a_whole_period_and_is_of_its_beginning() -> None:
    async with _server("periodic", "5m") as server:
        await _put(server, 7)
        await server.clock.advance(299.999)
        assert server.store.compact_revision == NEVER
        await server.clock.advance(0.001)
        assert server.store.compact_revision == 1


@in_loop
async def test_a_short_period_is_compacted_once_each_period() -> None:
    """TestPeriodicMinutes of etcd's v3compactor.

    Of a period ago the first time, of a tenth more from then on: the window has eleven notes.
    """
    async with _server("periodic", "5m") as server:
        compacted = await _written_each(server, 41, 30)
        assert compacted == [NEVER] * 9 + [1] * 10 + [10] * 10 + [20] * 10 + [30] * 2


@in_loop
async def test_a_long_period_is_noted_every_six_minutes_and_compacted_every_hour() -> None:
    """TestPeriodicHourly: the window is the whole period, the interval an hour."""
    async with _server("periodic", "2") as server:
        compacted = await _written_each(server, 45, HOUR_S / 10)
        assert compacted == [NEVER] * 19 + [1] * 10 + [10] * 10 + [20] * 6


@in_loop
async def test_what_was_compacted_last_time_is_not_compacted_again() -> None:
    """Nothing is written: the next compaction comes with the first note that says more."""
    async with _server("periodic", "10s") as server:
        await server.clock.advance(100)
        assert server.store.compact_revision == 1
        await _put(server, 3)
        await server.clock.advance(9)
        assert server.store.compact_revision == 1
        await server.clock.advance(3)
        assert server.store.compact_revision == 4


@in_loop
async def test_a_revision_that_somebody_else_has_compacted_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with _server("periodic", "10s") as server:
        await _put(server, 3)
        await server.call(CompactionRequest(revision=4))
        await server.clock.advance(10)
        assert server.store.compact_revision == 4
        assert "completed auto periodic compaction" in caplog.messages


@in_loop
async def test_a_failure_is_told_and_tried_again_at_the_next_note(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TestPeriodicSkipRevNotChange's counterpart: a tenth of the period later, not a whole one."""
    caplog.set_level(logging.INFO)
    async with _server("periodic", "10s") as server:
        alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, alarm=AlarmType.CORRUPT)
        await server.call(alarm)
        await server.clock.advance(10)
        assert server.store.compact_revision == NEVER
        failed = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert [each.getMessage() for each in failed] == ["failed auto periodic compaction"]
        told = failed[0].__dict__["fields"]
        assert told["error"] == "etcdserver: corrupt cluster"
        assert told["retry-interval"] == "1s"
        alarm.action = AlarmRequest.DEACTIVATE
        await server.call(alarm)
        await server.clock.advance(1)
        assert server.store.compact_revision == 1


@in_loop
async def test_a_compaction_says_when_it_begins_and_ends_and_of_what_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with _server("periodic", "90s") as server:
        await server.clock.advance(90)
        said = [each for each in caplog.records if "auto" in each.getMessage()]
        assert [each.getMessage() for each in said] == [
            "starting auto periodic compaction",
            "completed auto periodic compaction",
        ]
        for each in said:
            told = each.__dict__["fields"]
            assert (told["revision"], told["compact-period"]) == (1, "1m30s")
        assert "took" in said[1].__dict__["fields"]


@in_loop
async def test_the_rows_go_as_after_a_compaction_by_request() -> None:
    async with _server("revision", "1") as server:
        await _put(server, 50)
        await server.clock.advance(301)
        assert server.store.compact_revision == 50
        assert server.store.swept_revision == 50


@in_loop
async def test_the_shortest_period_leaves_time_for_everything_else() -> None:
    async with _server("periodic", "1ns") as server:
        await _put(server)
        await server.clock.advance(0.01)
        await _put(server)


# --- by revision ---


@in_loop
async def test_every_five_minutes_all_but_so_many_revisions_is_compacted() -> None:
    """TestRevision of etcd's v3compactor: nothing while there are no more than those."""
    async with _server("revision", "10") as server:
        await _put(server, 9)  # Revision 10.
        await server.clock.advance(300)
        assert server.store.compact_revision == NEVER
        await _put(server, 90)  # Revision 100.
        await server.clock.advance(299.999)
        assert server.store.compact_revision == NEVER
        await server.clock.advance(0.001)
        assert server.store.compact_revision == 90
        await server.clock.advance(300)
        assert server.store.compact_revision == 90
        await _put(server)
        await server.clock.advance(300)
        assert server.store.compact_revision == 91


@in_loop
async def test_without_a_retention_nothing_is_compacted() -> None:
    async with _server("revision", "0") as server:
        assert server.core.auto_compactor is None


# --- settings ---


@pytest.mark.parametrize(
    ("mode", "text", "kept"),
    [
        ("periodic", "", None),
        ("periodic", "0", None),
        ("periodic", "0s", None),
        ("revision", "0", None),
        ("periodic", "1", KeepFor(HOUR_NS)),
        ("periodic", "+72", KeepFor(72 * HOUR_NS)),
        ("periodic", "1m30s", KeepFor(90 * 10**9)),
        ("revision", "1000", KeepRevisions(1000)),
        ("revision", "1us", KeepRevisions(1000)),  # As in etcd, strange as it is.
    ],
)
def test_a_retention_is_read_as_etcd_reads_it(mode: str, text: str, kept: Retention | None) -> None:
    config = Config(auto_compaction_mode=mode, auto_compaction_retention=text)
    assert config.retention == kept


@pytest.mark.parametrize(
    ("mode", "text", "refusal"),
    [
        ("bogus", "0", 'unknown auto-compaction-mode "bogus"'),
        ("", "0", "undefined auto-compaction-mode"),
        ("periodic", "junk", 'error parsing CompactionRetention: time: invalid duration "junk"'),
        (
            "periodic",
            "1.5",
            'error parsing CompactionRetention: time: missing unit in duration "1.5"',
        ),
        (
            "revision",
            "-1",
            'error parsing CompactionRetention: time: missing unit in duration "-1"',
        ),
        ("periodic", "-5m", "--auto-compaction-retention must not be below 0"),
    ],
)
def test_what_is_no_retention_is_refused_with_etcds_words(
    mode: str, text: str, refusal: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(auto_compaction_mode=mode, auto_compaction_retention=text)
    assert str(caught.value) == refusal


@pytest.mark.parametrize(("given", "rows"), [(0, STEP_ROWS_MAX), (-1, STEP_ROWS_MAX), (7, 7)])
def test_a_step_walks_as_many_rows_as_the_setting_says(given: int, rows: int) -> None:
    assert Config(compaction_batch_limit=given).compaction_rows == rows


def test_a_sweep_takes_its_steps_and_its_pauses_from_the_settings() -> None:
    async def scenario() -> None:
        config = Config(ephemeral=True, compaction_batch_limit=10, compaction_sleep_interval_s=60.0)
        server = ServerInProcess(MemoryBackend(), FakeClock(), config)
        await _put(server, 25)
        server.ask(CompactionRequest(revision=26))
        await settle()
        for swept in (False, False, True):
            assert (server.store.swept_revision == 26) == swept
            await server.clock.advance(60)
        await server.stop()

    asyncio.run(scenario())
