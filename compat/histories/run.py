"""A whole run: episodes one after the other, each checked and then forgotten."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compat.histories.api import Error
from compat.histories.checking import Promises, check
from compat.histories.episode import Episodes
from compat.histories.record import History
from compat.histories.seeded import NONE
from compat.histories.violation import (
    EARLY,
    LATE,
    LEASE,
    LINEARIZABILITY,
    SERVER,
    WATCH,
    Violation,
    excerpt,
)
from compat.targets import NATIVE, Server, Target

EPISODE_S: Final = 20.0  # Of load; so much history is in memory.
SHOWN_MAX: Final = 3  # Violations with their excerpt.


@dataclass(frozen=True)
class Seeded(Target):
    """Tenure by the entry point that can have a bug, or a slow disk."""

    bug: str = NONE

    def command(self) -> list[str]:
        entry = (sys.executable, "-m", "compat.histories.seeded", self.bug)
        return [*entry, "--transport", self.transport]


def seeded(bug: str = NONE, base: Target = NATIVE) -> Seeded:
    title = base.title if bug == NONE else f"{base.title}, with the bug {bug}"
    return Seeded(f"{base.name}-{bug}", title, base.line, base.transport, bug)


@dataclass
class Tally:
    seed: str
    seconds: float = 0.0  # Of load.
    operations: int = 0
    unknown: int = 0
    watch_events: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    expiries: int = 0
    lateness_s: float = -math.inf
    shown: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.rules

    def rows(self) -> list[tuple[str, str]]:
        late = f"{self.lateness_s:.3f} s" if self.expiries else "none measured"
        faults, rules = self.faults, self.rules
        return [
            ("seed", self.seed),
            ("seconds", f"{self.seconds:,.0f}"),
            ("operations", f"{self.operations:,}"),
            ("of them without an answer", f"{self.unknown:,}"),
            ("kills", f"{faults['kill']:,}"),
            ("stops", f"{faults['stop']:,}"),
            ("cuts", f"{faults['cut']:,}"),
            ("times of slow disk", f"{faults['slow']:,}"),
            ("restarts", f"{faults['restarts']:,}"),
            ("watch events", f"{self.watch_events:,}"),
            ("expiries timed", f"{self.expiries:,}"),
            ("early leases", f"{rules[EARLY]:,}"),
            ("other lease violations", f"{rules[LEASE] + rules[LATE]:,}"),
            ("lost acknowledged writes", f"{self.lost:,}"),
            ("linearizability violations", f"{rules[LINEARIZABILITY]:,}"),
            ("watch violations", f"{rules[WATCH]:,}"),
            ("server failures", f"{rules[SERVER]:,}"),
            ("largest lateness", late),
        ]

    def add(self, history: History, promises: Promises, number: int) -> None:
        calls = [call for call in history.calls if call.invoke >= history.began]
        self.operations += len(calls)
        self.unknown += sum(call.is_unknown for call in calls)
        self.watch_events += sum(
            len(heard.events) for watch in history.watches for heard in watch.heard
        )
        verdict = check(history, promises)
        self.rules.update(verdict.by_rule)
        self.lost += verdict.lost
        self.expiries += verdict.expiries
        self.lateness_s = max(self.lateness_s, verdict.lateness_s)
        for violation in verdict.violations[: SHOWN_MAX - len(self.shown)]:
            self.shown.append(_shown(history, violation, self.seed, number))


def _shown(history: History, violation: Violation, seed: str, number: int) -> str:
    lines = "\n".join(f"    {line}" for line in excerpt(history, violation))
    return f"seed {seed}, episode {number}: {violation}\n{lines}"


async def run(
    target: Target,
    folder: Path,
    tally: Tally,
    *,
    seconds: float,
    faults: Sequence[str],
    promises: Promises,
    violations_max: int = SHOWN_MAX,
    first: int = 0,
) -> None:
    """Load `target` for so many seconds, or until an episode ends with that many violations.

    Args:
        tally: of the seed to draw from; up to date whenever an episode has been checked.
        faults: names of `faults.KINDS`.
        first: the number of the first episode; what happens in one is drawn from seed and number.
    """
    server = Server(target, folder / "data")
    await asyncio.to_thread(server.start)
    try:
        episodes = Episodes(server, tally.seed, faults)
        tally.faults = episodes.counts
        number = first
        while tally.seconds < seconds and tally.rules.total() < violations_max:
            began = time.monotonic()
            try:
                history = await episodes.run(number, min(EPISODE_S, seconds - tally.seconds))
            except (RuntimeError, Error) as error:
                tally.rules[SERVER] += 1
                tally.shown.append(f"seed {tally.seed}, episode {number}: {SERVER}: {error}")
                break
            finally:
                tally.seconds += time.monotonic() - began
            tally.add(history, promises, number)
            number += 1
            print(
                f"{tally.seconds:.0f} s, episode {number - 1}: {len(history.calls)} calls, revision"
                f" {history.last_revision}, violations {tally.rules.total()}",
                file=sys.stderr,
                flush=True,
            )
    finally:
        await asyncio.to_thread(server.stop, signal.SIGKILL)
