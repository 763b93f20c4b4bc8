"""The settings of compaction: when it happens by itself, and in which steps.

A retention is read as etcd reads it (parseCompactionRetention in server/embed/etcd.go): a whole
number is hours, or revisions where those are counted; anything else is a duration, whatever the
mode, and its nanoseconds are then the revisions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from server.settings.setting import ConfigError, option
from server.settings.values import DURATION, INT, STRING, duration_ns

GROUP: Final = "Compaction"
PERIODIC: Final = "periodic"
BY_REVISION: Final = "revision"
HOUR_NS: Final = 3600 * 10**9
BATCH_DEFAULT_ROWS: Final = 1000  # What 0 means; etcd's defaultCompactionBatchLimit.
PAUSE_DEFAULT_S: Final = 0.01  # What 0 means; etcd's defaultCompactionSleepInterval.

_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.")


@dataclass(frozen=True, slots=True)
class KeepFor:
    """Compact what is older than this."""

    period_ns: int


@dataclass(frozen=True, slots=True)
class KeepRevisions:
    """Compact what is more revisions behind than this."""

    revisions: int


Retention = KeepFor | KeepRevisions


@dataclass(frozen=True, kw_only=True)  # Without slots: a class has one base that has some.
class Compacting:
    """Fields of `server.settings.config.Config`."""

    auto_compaction_mode: str = option(
        PERIODIC, STRING, GROUP, f"What the retention counts: {PERIODIC} or {BY_REVISION}."
    )
    auto_compaction_retention: str = option(
        "0",
        STRING,
        GROUP,
        "How much history compaction leaves: a number of hours, a duration such as 30m, or a"
        " number of revisions. 0: nothing is compacted but by request.",
    )
    compaction_batch_limit: int = option(
        0,
        INT,
        GROUP,
        "Most rows that one step of a compaction walks; 0 means 1000. Requests wait for a step.",
        aliases=("experimental-compaction-batch-limit",),
    )
    compaction_sleep_interval_s: float = option(
        0.0,
        DURATION,
        GROUP,
        "Pause between two steps of a compaction; 0 means 10ms.",
        aliases=("experimental-compaction-sleep-interval",),
    )

    def check_compacting(self) -> None:
        """Raise ConfigError for what cannot be done, with etcd's texts where etcd refuses it."""
        if not self.auto_compaction_mode:
            raise ConfigError("undefined auto-compaction-mode")
        if self.auto_compaction_mode not in (PERIODIC, BY_REVISION):
            raise ConfigError(f'unknown auto-compaction-mode "{self.auto_compaction_mode}"')
        _ = self.retention

    @property
    def retention(self) -> Retention | None:
        """What is kept by itself; None for all.

        Raises:
            ConfigError: the setting cannot be read.
        """
        amount = self._amount()
        if amount < 0:
            raise ConfigError("--auto-compaction-retention must not be below 0")
        if amount == 0:
            return None
        if self.auto_compaction_mode == BY_REVISION:
            return KeepRevisions(amount)
        return KeepFor(amount)

    def _amount(self) -> int:
        """In nanoseconds, or in revisions."""
        text = self.auto_compaction_retention or "0"
        if _WHOLE.fullmatch(text) and int(text) >= 0:
            return int(text) * (HOUR_NS if self.auto_compaction_mode == PERIODIC else 1)
        try:
            return duration_ns(text)
        except ValueError as error:
            trouble = "missing unit in" if _NUMBER.fullmatch(text) else "invalid"
            raise ConfigError(
                f'error parsing CompactionRetention: time: {trouble} duration "{text}"'
            ) from error

    @property
    def compaction_rows(self) -> int:
        """How many rows a step of a compaction may walk."""
        asked = self.compaction_batch_limit
        return asked if asked > 0 else BATCH_DEFAULT_ROWS

    @property
    def compaction_pause_s(self) -> float:
        """The pause between two of them."""
        asked = self.compaction_sleep_interval_s
        return asked if asked > 0 else PAUSE_DEFAULT_S
