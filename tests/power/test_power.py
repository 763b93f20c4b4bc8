"""The power is cut at every kind of moment: all that was acknowledged is there, and nothing torn.

`TENURE_POWER_CUTS=5000` makes a long run of it, `TENURE_POWER_SEED=7` another one. A run is made
of several lives over one directory, ended by a kill, by a power cut or in good order.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from mvcc.backend.journal import find
from server.datadir import DataDir
from server.settings.config import StartError
from tests.power import turns
from tests.power.check import check, cuts_in, start
from tests.power.story import Rows, read
from tests.power.support import NEEDS_PTRACE, record, scratch
from tests.server.snapshot.support import ETCD_3_5

CUTS: Final = int(os.environ.get("TENURE_POWER_CUTS", "100"))
SEED: Final = int(os.environ.get("TENURE_POWER_SEED", "1"))
LIVES: Final = 3  # Of a run.
BAD_LIVES_MAX: Final = 20  # Of a bad server, until one is caught: more than half are at once.
CUTS_OF_A_RUN: Final = 200  # About so many images stand on the disk at once.

pytestmark = [pytest.mark.power, NEEDS_PTRACE]


@pytest.mark.timeout(60 + CUTS)
def test_nothing_that_was_acknowledged_is_lost_by_a_power_cut() -> None:
    done = again = 0
    ends: Counter[str] = Counter()
    seed = SEED
    while done < CUTS * 3 // 4:
        with scratch() as path:
            data_dir = path / "top" / "not" / "there" / "yet"
            story = path / "out" / "story.{life}"
            command = ("tests.power.life", str(data_dir), str(story), f"{seed}/{{life}}")
            record(path, *command, lives=LIVES, cuts=min(CUTS - done, CUTS_OF_A_RUN), seed=seed)
            for cut in cuts_in(path / "out"):
                left = cut.image / data_dir.relative_to(path / "top")
                ends[check(path / "out", cut, left)] += 1
                if done % 8 == 0:  # A start leaves a store that starts, with the same rows.
                    assert start(left).recovered.term > 2
                    again += 1
                shutil.rmtree(cut.image)
                done += 1
            summary = (path / "out" / "summary").read_text(encoding="utf-8")
        print(f"seed {seed}: {summary}")  # noqa: T201  # shown for a long run, by -s
        seed += 1
    print(dict(ends))  # noqa: T201  # as above
    assert again
    assert ends["started"] > 5 * ends["repaired"]


@pytest.mark.parametrize("fault", ["no-fsync", "mark-first", "rocks-first"])
def test_a_server_that_answers_too_early_would_be_caught(fault: str) -> None:
    """So the run above can fail: fsyncs left out, and the mark set or RocksDB told before them."""
    assert any(caught(fault, seed) for seed in range(1, BAD_LIVES_MAX + 1))


def caught(fault: str, seed: int) -> int:
    """How many images of such a life are told from those of a good one."""
    found = 0
    with scratch() as path:
        data_dir, story = path / "top" / "data", path / "out" / "story.{life}"
        command = ("tests.power.life", str(data_dir), str(story), str(seed), fault)
        record(path, *command, lives=1, cuts=100, seed=seed)
        for cut in cuts_in(path / "out"):
            try:
                check(path / "out", cut, cut.image / "data")
            except (AssertionError, StartError):
                found += 1
    print(f"{fault}, seed {seed}: {found} images are bad")  # noqa: T201  # shown by -s
    return found


def test_a_journal_has_all_that_it_has_synced_by_itself() -> None:
    """Names of its files included, from the first record of each turn on."""
    with scratch() as path:
        story = path / "out" / "story.{life}"
        record(
            path, "tests.power.turns", str(path / "top"), str(story), lives=1, cuts=500, seed=SEED
        )
        seen: Counter[int] = Counter()
        for cut in cuts_in(path / "out"):
            life = read(path / "out" / "story.0", cut.acknowledged, cut.begun)
            for number in range(turns.JOURNALS):
                told = [batch[0][0] == number for batch in life.batches]
                found = find(cut.image / f"{number}")
                last = 0 if found is None else found.last
                assert sum(told[: life.acknowledged]) <= last <= sum(told), (cut, number)
                seen[last] += 1
        assert min(seen[last] for last in range(turns.RECORDS + 1)) > 0, seen


def test_a_restore_cut_short_is_whole_or_refused_or_not_there() -> None:
    """And once the command has ended, it is whole."""
    snapshot = ETCD_3_5.path
    with scratch() as path:
        data_dir, story = path / "top" / "not" / "there", path / "out" / "story.{life}"
        command = ("tests.power.command", str(story), "0", "snapshot", "restore", str(snapshot))
        record(path, *command, "--data-dir", str(data_dir), lives=1, cuts=500, seed=SEED)
        whole = start(data_dir)
        seen: Counter[str] = Counter()
        for cut in cuts_in(path / "out"):
            left = cut.image / data_dir.relative_to(path / "top")
            seen[state_of_restore(left, whole.rows, must_be=bool(cut.acknowledged))] += 1
        assert seen["refused"] > 5
        assert seen["whole"] > 2


def state_of_restore(left: Path, whole: Rows, *, must_be: bool) -> str:
    if not must_be:
        try:
            DataDir.prepare(left)
        except StartError as error:
            assert "has not finished" in str(error)  # noqa: PT017  # one of three ways it may be
            return "refused"
        if DataDir(left).is_new:
            return "nothing"
    assert start(left).rows.items() >= whole.items()
    return "whole"
