"""When each revision was first known to be there, and until when it was known not to be.

Whoever is shown a revision at an instant proves that it, and all before it, had happened. Whoever
is answered, linearizably, as of a lower one proves that it had not when the call began. Both are
the recorder's instants, so they hold however long an answer was on its way.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable

from compat.histories.record import Call, History, Kind


def is_fresh(call: Call) -> bool:
    """Whether the answer speaks of the store as it was between `invoke` and `done`."""
    return call.is_answered and call.kind is Kind.KV and not call.serializable


class Timeline:
    def __init__(self, history: History) -> None:
        seen = [(call.done, call.revision) for call in history.calls if call.is_answered]
        seen += [
            (heard.at, heard.events[-1].revision)
            for watch in history.watches
            for heard in watch.heard
            if heard.events  # A progress notification ahead of its time is found elsewhere.
        ]
        seen.append((history.ended, history.last_revision))
        self._seen = _rising(sorted(seen))
        fresh = [(-call.revision, -call.invoke) for call in history.calls if is_fresh(call)]
        # By falling revision, the newest instant first; searched by the negated revision.
        self._unseen = sorted(fresh)
        self._latest: list[float] = []
        newest = -math.inf
        for _, negated in reversed(self._unseen):
            newest = max(newest, -negated)
            self._latest.append(newest)
        self._latest.reverse()

    def seen_by(self, revision: int) -> float:
        """The first instant at which that revision was known to have happened."""
        index = bisect_left(self._seen, revision, key=lambda entry: entry[1])
        return self._seen[index][0] if index < len(self._seen) else math.inf

    def unseen_until(self, revision: int) -> float:
        """The last instant at which it was known not to have happened."""
        index = bisect_left(self._unseen, -(revision - 1), key=lambda entry: entry[0])
        return self._latest[index] if index < len(self._latest) else -math.inf


def _rising(seen: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Only those entries whose revision is above all before."""
    rising: list[tuple[float, int]] = []
    for at, revision in seen:
        if not rising or revision > rising[-1][1]:
            rising.append((at, revision))
    return rising
