"""The calibration of the histories: nothing is found where nothing is wrong, and each bug is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from compat.histories.checking import Promises
from compat.histories.run import Tally, run, seeded
from compat.histories.seeded import BUGS
from compat.histories.violation import EARLY, LATE, LEASE, LINEARIZABILITY, LOST, WATCH
from compat.targets import ETCD, NATIVE, Target, TargetUnavailableError

pytestmark = [pytest.mark.compat, pytest.mark.timeout(120)]

SEED: Final = "of every run"
CLEAN_S: Final = 25.0  # Seconds of load, with one or two of each fault.
BUG_S: Final = 12.0
FAULTS: Final = ("kill", "term", "stop", "cut")

# What a bug is found by, and the faults that it needs.
FOUND_BY: Final = {
    "reply-before-fsync": (LOST, ["kill"]),
    "renewal-lost": (EARLY, []),
    "revoke-not-atomic": (LINEARIZABILITY, []),
    "watch-gap-on-resume": (WATCH, []),
    "stale-read": (LINEARIZABILITY, []),
}


def record(
    target: Target, folder: Path, seconds: float, faults: Sequence[str], promises: Promises
) -> Tally:
    try:
        target.command()
    except TargetUnavailableError as error:
        pytest.skip(str(error))
    tally = Tally(SEED)
    asyncio.run(run(target, folder, tally, seconds=seconds, faults=faults, promises=promises))
    return tally


def test_tenure_keeps_its_promises(tmp_path: Path) -> None:
    faults = (*FAULTS, "slow")
    tally = record(seeded(), tmp_path, CLEAN_S, faults, Promises())
    assert tally.is_clean, tally.shown
    assert tally.faults.keys() >= {"kill", "term", "stop", "cut", "slow"}
    assert tally.expiries
    assert tally.watch_events


def test_etcd_does_too(tmp_path: Path) -> None:
    tally = record(ETCD, tmp_path, CLEAN_S, FAULTS, Promises(progress_is_exact=False))
    assert tally.is_clean, tally.shown
    assert tally.faults.keys() >= {"kill", "term", "stop", "cut"}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(bug: str, tmp_path: Path) -> None:
    rule, faults = FOUND_BY[bug]
    tally = record(seeded(bug), tmp_path, BUG_S, faults, Promises())
    assert tally.rules[rule], tally.rules
    unlike = {EARLY, LATE, LEASE} - {rule}
    assert not unlike & tally.rules.keys() or bug == "reply-before-fsync", tally.shown


def test_the_ordinary_server_has_no_way_to_a_bug() -> None:
    assert "compat" not in " ".join(NATIVE.command())
