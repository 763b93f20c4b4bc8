"""Damage that a read meets while the server runs. (What a start meets: tests/power.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend import rocks_options
from server.settings.config import TRANSPORTS
from server.status import Code, Status
from tests.mvcc.backend.support import flip_a_bit
from tests.support.client import refusal
from tests.support.loop import in_loop
from tests.support.serving import running

REVISIONS = 20
DAMAGED = Status(Code.DATA_LOSS, "etcdserver: what is to be read is damaged on the disk")


def damage(store: Path) -> None:
    """Where its oldest keys are."""
    table = max(store.glob("*.sst"), key=lambda each: each.stat().st_size)
    flip_a_bit(table, table.stat().st_size // 20)


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_loop
async def test_whoever_reads_what_is_damaged_is_told_so_and_nobody_else(
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its client gets DATA_LOSS and no path; the log names the file; what is newest is served."""
    monkeypatch.setattr(rocks_options, "BLOCK_CACHE_BYTES", 0)
    async with running(directory=tmp_path) as server:
        await server.put_many(REVISIONS, b"v" * 3_000, b"k")
    async with running(directory=tmp_path, transport=transport) as server:
        damage(tmp_path)
        old = pb.RangeRequest(key=b"k", revision=2)
        assert await refusal(server.client.kv.Range(old)) == DAMAGED
        (line,) = [each for each in caplog.records if each.levelname != "WARNING"]  # Slowness.
        assert (line.levelname, line.exc_info) == ("ERROR", None)
        assert line.getMessage() == "the store is damaged; a request failed by it"
        assert str(tmp_path) in str(line.__dict__)
        (kv,) = (await server.client.kv.Range(pb.RangeRequest(key=b"k"))).kvs
        assert kv.mod_revision == REVISIONS + 1
