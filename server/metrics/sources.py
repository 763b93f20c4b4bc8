"""The parts that the numbers are read from; `app` fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvcc.watch import WatchHub
from server.call_counts import CallCounts
from server.commands.base import State
from server.engine import Engine
from server.metrics.observed import Observed
from server.slow import Slow


@dataclass(frozen=True, slots=True)
class Sources:
    state: State
    engine: Engine
    hub: WatchHub
    calls: Mapping[str, CallCounts]  # By path.
    observed: Observed
    slow: Slow
    member_id: int
    quota_bytes: float  # Infinity for none.
