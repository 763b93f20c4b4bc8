"""One script, many ways to run it: the answers and the rows on disk are always the same.

As groups of any size or one by one, with restarts in between or none, in memory or on RocksDB.
A group's result depends on the state, its commands and one `now`, and on nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from etcdpb.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
)
from mvcc.backend.base import Backend, Column
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from server.settings.compacting import PAUSE_DEFAULT_S
from server.status import RpcError
from tests.support import requests
from tests.support.clock import FakeClock, settle
from tests.support.quick import quick_directory
from tests.support.server import ServerInProcess, parsed

TERM: Final = b"term"  # Counts the starts, so it alone tells of a restart.

Script = Sequence[Any]
Rows = dict[Column, list[tuple[bytes, bytes]]]


@dataclass(frozen=True)
class Way:
    """`group` commands are handed in at once; then everything is replaced, if `restarts`."""

    group: int
    restarts: bool = False


WAYS: Final = (Way(2), Way(5), Way(1000), Way(1, restarts=True), Way(3, restarts=True))


async def _run(script: Script, backend: Backend, way: Way) -> tuple[list[Any], Rows]:
    server = ServerInProcess(backend, FakeClock())
    answers = []
    for begin in range(0, len(script), way.group):
        group = script[begin : begin + way.group]
        asked = [(request, server.ask(request)) for request in group]
        await settle()
        for request, answer in asked:
            try:
                reply = parsed(request, answer)
            except RpcError as refusal:
                answers.append((refusal.status.code, refusal.status.message))
            else:
                reply.header.raft_term = 0
                answers.append(reply)
        if way.restarts:
            await server.restart()
    await settle()
    await server.clock.advance(2 * PAUSE_DEFAULT_S)  # A sweep may have been interrupted.
    assert server.fatal == []
    rows = {
        column: [(key, value) for key, value in backend.scan(column) if key != TERM]
        for column in Column
    }
    server.lessor.check_invariants(server.clock.now())
    await server.stop()
    return answers, rows


def _in_memory(script: Script, way: Way) -> tuple[list[Any], Rows]:
    return asyncio.run(_run(script, MemoryBackend(), way))


def _on_disk(script: Script, way: Way) -> tuple[list[Any], Rows]:
    with quick_directory() as directory:
        backend = RocksBackend.open(Path(directory) / "store")
        try:
            return asyncio.run(_run(script, backend, way))
        finally:
            backend.close()


_scripts: Final = st.lists(
    requests.writes.filter(lambda request: not requests.is_read(request)), max_size=30
)

# Everything that shares rows or state with its neighbours, in an order that makes them meet.
BUSY: Final[Script] = (
    LeaseGrantRequest(ID=1, TTL=5),
    PutRequest(key=b"a", value=b"1", lease=1),
    PutRequest(key=b"b", value=b"1", lease=1, prev_kv=True),
    LeaseGrantRequest(ID=1, TTL=6),
    PutRequest(key=b"a", value=b"2", prev_kv=True),
    CompactionRequest(revision=3),
    LeaseRevokeRequest(ID=1),
    LeaseRevokeRequest(ID=1),
    LeaseGrantRequest(ID=1, TTL=6),
    PutRequest(key=b"b", lease=1),
    DeleteRangeRequest(key=b"a", range_end=b"\0", prev_kv=True),
    CompactionRequest(revision=6),
    CompactionRequest(revision=6),
    PutRequest(key=b"b", ignore_value=True),
    PutRequest(key=b"b", value=b"3"),
)


@given(_scripts)
@example(BUSY)
def test_a_script_does_the_same_in_groups_or_one_by_one_with_restarts_or_without(
    script: Script,
) -> None:
    expected = _in_memory(script, Way(1))
    for way in WAYS:
        assert _in_memory(script, way) == expected, way


@given(_scripts)
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])  # A store for each.
@example(BUSY)
def test_a_script_does_the_same_on_disk_as_in_memory(script: Script) -> None:
    expected = _in_memory(script, Way(1))
    for way in (Way(1), Way(1000), Way(4, restarts=True)):
        assert _on_disk(script, way) == expected, way
