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

from mvcc.backend.base import Backend
from server.app import _Server
from server.clock import SystemClock
from server.datadir import DataDir
from server.identity import bootstrap_identity
from server.logins import gate_maker
from server.recovery import Recovered, recover
from server.settings.config import Config
from tests.power.story import Rows, read, rows_of


@dataclass(frozen=True, slots=True)
class Cut:
    image: Path
    life: int
    acknowledged: int
    begun: int
    when: str


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
        server = _Server(config, SystemClock())
        is_first = DataDir(data_dir).is_new
        try:
            told = asyncio.get_running_loop().create_future()
            assert await server._open(told)
            backend: Backend | None = server._backend
            assert backend is not None
            assert is_first or server._mark is not None
            rows = rows_of(backend)
            recovered = recover(
                backend,
                lambda: bootstrap_identity(config),
                ttl_min=config.lease_ttl_min,
                revoke_rate=config.lease_revoke_rate,
                mark=server._mark,
                gate=gate_maker(config, SystemClock(), lambda: 0.0),
            )
            recovered.state.lessor.check_invariants(now=0.0)
            return Started(rows, recovered)
        finally:
            server._close_backend()
            if server._mark is not None:
                server._mark.close()
            if server._lock is not None:
                server._lock.release()

    return asyncio.run(run())


def check(out: Path, cut: Cut, data_dir: Path) -> None:
    """Raises AssertionError, or what the start raises, with the cut named in its notes."""
    try:
        directory = DataDir(data_dir)
        assert directory.mark.exists() or not directory.store.exists(), "a store without a mark"
        found = start(data_dir).rows
        states = allowed(out, cut)
        assert found in states, _difference(found, states)
    except BaseException as error:
        error.add_note(f"{cut}")
        raise


def _difference(found: Rows, states: list[Rows]) -> str:
    nearest = min(states, key=lambda each: len(each.items() ^ found.items()))
    lost = sorted(nearest.keys() - found.keys())
    more = sorted(found.keys() - nearest.keys())
    return f"none of {len(states)} states; of the nearest one {lost} are lost, {more} are more"
