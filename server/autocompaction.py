"""Compaction that nobody asks for, as etcd's server/etcdserver/api/v3compactor does it.

periodic: the revision is noted ten times a period, or ten times an hour if the period is longer.
Once a whole period has passed, and then every period or hour, the oldest note is compacted: the
revision of a period ago, or of one note more. A failure is tried again at the next note, and what
was compacted last time is not compacted again.

revision: every five minutes, what is more than so many revisions behind.

Time is counted in notes, not read off a clock: while the process is stopped, none are made, and no
history is taken for older than it is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Final

from mvcc.errors import CompactedError
from mvcc.store import Store
from server.clock import Clock
from server.commands.kv import Compact
from server.engine import Engine
from server.log import fields
from server.settings.compacting import HOUR_NS, KeepFor, KeepRevisions, Retention
from server.settings.values import go_duration
from server.status import STATUS_OF
from server.sweeper import Sweeper

logger = logging.getLogger(__name__)

NOTES_PER_INTERVAL: Final = 10  # etcd's retryDivisor.
NOTE_INTERVAL_MIN_NS: Final = 10**7  # Of a period so short that nothing else would be done.
REVISION_INTERVAL_S: Final = 300.0  # etcd's revInterval.
_NS_PER_S: Final = 10**9


class AutoCompactor:
    def __init__(
        self, engine: Engine, store: Store, sweeper: Sweeper, clock: Clock, retention: Retention
    ) -> None:
        self._engine = engine
        self._store = store
        self._sweeper = sweeper
        self._clock = clock
        self._retention = retention

    async def run(self) -> None:
        """Serve until cancelled."""
        if isinstance(self._retention, KeepFor):
            await self._run_periodically(self._retention)
        else:
            await self._run_by_revision(self._retention)

    async def _run_periodically(self, retention: KeepFor) -> None:
        period_ns = retention.period_ns
        note_ns = max(min(period_ns, HOUR_NS) // NOTES_PER_INTERVAL, NOTE_INTERVAL_MIN_NS)
        notes: deque[int] = deque(maxlen=period_ns // note_ns + 1)
        wait = period_ns // note_ns  # Notes from one compaction to the next: the first is a period.
        passed, last = 0, 0
        about = {"compact_period": go_duration(period_ns / _NS_PER_S)}
        note_s = note_ns / _NS_PER_S
        while True:
            notes.append(self._store.published)
            await self._clock.sleep_until(self._clock.now() + note_s)
            passed += 1
            revision = notes[0]
            if passed < wait or revision == last:
                continue
            wait = min(wait, NOTES_PER_INTERVAL)
            if await self._compact("periodic", revision, about, note_s):
                passed, last = 0, revision

    async def _run_by_revision(self, retention: KeepRevisions) -> None:
        last = 0
        about = {"revision_compaction_retention": retention.revisions}
        while True:
            await self._clock.sleep_until(self._clock.now() + REVISION_INTERVAL_S)
            revision = self._store.published - retention.revisions
            if revision <= 0 or revision == last:
                continue
            if await self._compact("revision", revision, about, REVISION_INTERVAL_S):
                last = revision

    async def _compact(
        self, mode: str, revision: int, about: Mapping[str, object], retry_s: float
    ) -> bool:
        """Whether the revision is compacted now, by this or by somebody."""
        logger.info("starting auto %s compaction", mode, extra=fields(revision=revision, **about))
        began = self._clock.now()
        try:
            await self._engine.run(Compact(revision))
        except CompactedError:
            pass
        except tuple(STATUS_OF) as error:
            logger.warning(
                "failed auto %s compaction",
                mode,
                extra=fields(
                    revision=revision,
                    **about,
                    retry_interval=go_duration(retry_s),
                    error=STATUS_OF[type(error)].message,
                ),
            )
            return False
        self._sweeper.wake()
        took = go_duration(self._clock.now() - began)
        logger.info(
            "completed auto %s compaction",
            mode,
            extra=fields(revision=revision, **about, took=took),
        )
        return True
