"""Judges what a power cut has left: it must start, and hold what it must.

The start is the server's own, from the lock to the recovered state. What the store holds then is
compared row by row, in every column, with the states that the story allows: all batches that were
acknowledged, perhaps more of those begun, each whole and none out of order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mvcc.backend.base import Backend, Column
from mvcc.backend.errors import BackendCorruptError
from server.app import _Server
from server.clock import SystemClock
from server.datadir import DataDir
from server.deadlines.layout import BOOT_ID_FILE
from server.recovery import Recovered
from server.repair.repair import repair
from server.settings.config import Config, StartError
from tests.power.story import Rows, read, rows_of


@dataclass(frozen=True, slots=True)
class Cut:
    image: Path
    life: int
    acknowledged: int
    begun: int
    when: str

    @property
    def is_sure(self) -> bool:
        """There is nothing in it but what fsyncs have covered."""
        return self.when.endswith("what is sure")


def cuts_in(out: Path) -> Iterator[Cut]:
    for line in (out / "cuts").read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        yield Cut(**{**fields, "image": out / fields["image"]})


def allowed(out: Path, cut: Cut) -> list[Rows]:
    """What the store may hold."""
    life = read(out / f"story.{cut.life}", cut.acknowledged, cut.begun)
    states = list(life.states())
    # Until something is acknowledged in a life, the disk may hold what it held before it.
    if cut.life and not life.acknowledged:
        whole = (out / f"story.{cut.life - 1}").stat().st_size
        states += read(out / f"story.{cut.life - 1}", whole, whole).states()
    elif not life.acknowledged:
        states.append({})
    return states


@dataclass(frozen=True, slots=True)
class Started:
    rows: Rows  # As the store was opened.
    recovered: Recovered


def start(data_dir: Path) -> Started:
    """Start on `data_dir` as a server does, and end at once as one that is killed does.

    Raises:
        StartError: it is refused.
    """

    async def run() -> Started:
        config = Config(data_dir=data_dir)
        server = _Server(config, SystemClock(), BOOT_ID_FILE)
        try:
            told = asyncio.get_running_loop().create_future()
            assert await server._open(told)
            backend: Backend | None = server._backend
            assert backend is not None
            try:
                rows = rows_of(backend)
            except BackendCorruptError:
                rows = {}  # And the recovery has to say so.
            recovered = server._recover(backend)
            recovered.state.lessor.check_invariants(now=0.0)
            return Started(rows, recovered)
        finally:
            server._close_backend()
            if server._keeping is not None:
                server._keeping.close()
            if server._mark is not None:
                server._mark.close()
            if server._lock is not None:
                server._lock.release()

    return asyncio.run(run())


def check(out: Path, cut: Cut, data_dir: Path) -> str:
    """Judge one image; returns "started" or "repaired".

    A start may refuse a MANIFEST whose last record, which was never synced, has reached the disk
    in part and out of order: RocksDB cannot tell that from damage. Then a repair must find all.

    Raises AssertionError, or what the start raises, with the cut named in its notes.
    """
    how, columns = "started", set(Column)
    try:
        directory = DataDir(data_dir)
        assert directory.mark.exists() or not directory.store.exists(), "a store without a mark"
        try:
            found = start(data_dir).rows
        except StartError as error:
            if cut.is_sure or "MANIFEST" not in str(error):
                raise
            repair(data_dir, dry_run=False)
            found = start(data_dir).rows
            how, columns = "repaired", set(Column) - {Column.META, Column.AUTH}
        states = [_of(each, columns) for each in allowed(out, cut)]
        found = _of(found, columns)
        assert found in states, _difference(found, states)
    except BaseException as error:
        error.add_note(f"{cut}")
        raise
    return how


def _of(rows: Rows, columns: set[Column]) -> Rows:
    return {key: value for key, value in rows.items() if key[0] in columns}


def _difference(found: Rows, states: list[Rows]) -> str:
    nearest = min(states, key=lambda each: len(each.items() ^ found.items()))
    lost = sorted(nearest.keys() - found.keys())
    more = sorted(found.keys() - nearest.keys())
    return f"none of {len(states)} states; of the nearest one {lost} are lost, {more} are more"
