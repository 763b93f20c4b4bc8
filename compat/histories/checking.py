"""All of the checks over one episode."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from compat.histories.leases import Leases
from compat.histories.linearizability import Replay, by_key, in_time
from compat.histories.record import History
from compat.histories.timeline import Timeline
from compat.histories.violation import Violation
from compat.histories.watching import check_watches


@dataclass(frozen=True)
class Promises:
    """What the server under test promises beyond what all do."""

    keeps_remaining: bool = False  # A lease's time over a restart; see `leases`.
    late_max_s: float = math.inf  # Seconds of served time.
    progress_is_exact: bool = True


@dataclass
class Verdict:
    violations: list[Violation] = field(default_factory=list)
    lost: int = 0
    lateness_s: float = -math.inf
    expiries: int = 0  # Whose lateness was measured.

    @property
    def by_rule(self) -> Counter[str]:
        return Counter(each.rule for each in self.violations)


def check(history: History, promises: Promises | None = None) -> Verdict:
    promises = promises or Promises()
    timeline = Timeline(history)
    replay = Replay(history)
    verdict = Verdict(replay.run(), replay.lost)
    verdict.violations += in_time(history, replay)
    verdict.violations += by_key(history, replay, timeline)
    verdict.violations += check_watches(history, progress_is_exact=promises.progress_is_exact)
    leases = Leases(
        history,
        replay,
        timeline,
        keeps_remaining=promises.keeps_remaining,
        late_max_s=promises.late_max_s,
    )
    verdict.violations += leases.check()
    verdict.lateness_s, verdict.expiries = leases.lateness_s, leases.expiries
    return verdict
