"""What has to be seen as it happens, because no number left behind could tell it afterwards.

The parts are given the methods of these as plain callables, so they stay strangers to metrics.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

from server.flusher import Done, Flusher
from server.log import fields
from server.metrics.histogram import Histogram, doubling
from server.settings.values import go_duration

logger = logging.getLogger(__name__)

SLOW_FSYNC_S: Final = 1.0  # etcd's warnSyncDuration (server/storage/wal/wal.go).

# etcd's buckets for everything that waits for a disk: 1 ms to 8 s.
DISK_BOUNDS_S: Final = doubling(0.001, 14)
# A lease is promised to go half a second after its deadline at the latest; 50 ms is a tick.
LAG_BOUNDS_S: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60)


@dataclass(slots=True)
class CheckCounts:
    successes: int = 0
    errors: int = 0
    is_well: bool = False


class Observed:
    def __init__(self) -> None:
        self.fsync_s = Histogram(DISK_BOUNDS_S)
        self.commit_s = Histogram(DISK_BOUNDS_S)
        self.expiry_lag_s = Histogram(LAG_BOUNDS_S)
        self.health_success = 0  # Answers of /health that were good.
        self.health_failures = 0
        # By kind of check (livez, readyz) and name: how often it went well, how often badly, and
        # whether it did the last time.
        self.checks: dict[tuple[str, str], CheckCounts] = {}

    def synced(self, took_s: float) -> None:
        """An fsync of the store's log; called in the thread that does it."""
        self.fsync_s.observe(took_s)
        if took_s > SLOW_FSYNC_S:
            told = {"took": go_duration(took_s), "expected_duration": go_duration(SLOW_FSYNC_S)}
            logger.warning("slow fdatasync", extra=fields(**told))

    def checked(self, kind: str, name: str, *, is_well: bool) -> None:
        counts = self.checks.setdefault((kind, name), CheckCounts())
        counts.is_well = is_well
        if is_well:
            counts.successes += 1
        else:
            counts.errors += 1


class ObservedFlusher:
    """A `Flusher` that says how long each group waited, up to the moment the loop knows."""

    def __init__(self, flusher: Flusher, commit_s: Histogram) -> None:
        self._flusher = flusher
        self._commit_s = commit_s

    def flush(self, done: Done, *, is_small: bool = False) -> None:
        began = time.perf_counter()

        def observed(error: BaseException | None) -> None:
            self._commit_s.observe(time.perf_counter() - began)
            done(error)

        self._flusher.flush(observed, is_small=is_small)

    def stop(self) -> None:
        self._flusher.stop()
