"""What watchers were told, against the history of revisions.

Each watcher by itself, from the revision that it began at: ordered, every event once, a revision
never split over two responses, nothing left out up to the last event or progress notification that
came, and each event what the history says of it, its previous key too if asked for. A watcher that
was cut and resumed is two watchers here, and each must be told all from where it began.

A progress notification says that all up to its revision has been told: nothing at or below it may
be missing then, even if it comes later. etcd before 3.5.8 answers a request for progress ahead of
events that are still on their way (etcd#15220), so `progress_is_exact` may be turned off for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compat.histories import model
from compat.histories.record import Event, History, Watch
from compat.histories.violation import WATCH, Violation


def check_watches(history: History, *, progress_is_exact: bool = True) -> Iterator[Violation]:
    for watch in history.watches:
        for text, revision, at in _check(watch, history, progress_is_exact=progress_is_exact):
            yield Violation(WATCH, f"{watch.name} from {watch.start}: {text}", revision, at)
            break  # One fault brings others with it.


Finding = tuple[str, int, float]


def _check(watch: Watch, history: History, *, progress_is_exact: bool) -> Iterator[Finding]:
    if watch.refusal:
        yield f"cancelled: {watch.refusal}", watch.start, history.ended
    told = watch.start - 1  # Up to here nothing more may come.
    gaps = _Gaps(watch, history.log)
    for heard in watch.heard:
        revisions = [event.revision for event in heard.events]
        if not revisions:
            if progress_is_exact:
                yield from gaps.up_to(heard.revision, heard.at)
            continue
        if revisions != sorted(revisions):
            yield f"out of order: {revisions}", revisions[0], heard.at
        if revisions[0] <= told:
            yield f"{revisions[0]} came after {told}", revisions[0], heard.at
        if len({(event.revision, event.key) for event in heard.events}) < len(revisions):
            yield "an event came twice", revisions[0], heard.at
        if heard.revision < revisions[-1]:
            yield f"header {heard.revision} below its events", revisions[-1], heard.at
        told = revisions[-1]
        gaps.heard.update((event.revision, event.key) for event in heard.events)
        yield from gaps.up_to(told, heard.at)
    if watch.is_whole and progress_is_exact:
        yield from gaps.up_to(history.last_revision, history.ended)
    yield from _check_events(watch, history)


class _Gaps:
    """Asks, from where it left off, whether all of a watcher's events have been heard."""

    def __init__(self, watch: Watch, log: Mapping[int, Sequence[Event]]) -> None:
        self.heard: set[tuple[int, bytes]] = set()
        self._watch = watch
        self._log = log
        self._next = watch.start

    def up_to(self, end: int, at: float) -> Iterator[Finding]:
        watch = self._watch
        while self._next <= end and self._next in self._log:
            revision = self._next
            self._next += 1
            for event in self._log[revision]:
                if (revision, event.key) not in self.heard and model.covers(
                    watch.key, watch.end, event.key
                ):
                    yield f"{event.key!r} at {revision} is missing, told up to {end}", revision, at
                    return


def _check_events(watch: Watch, history: History) -> Iterator[Finding]:
    for heard in watch.heard:
        for event in heard.events:
            if event.revision > history.last_revision:
                if heard.at < history.ended:
                    yield f"{event} is gone in the end", event.revision, heard.at
                return  # It came after the account was made.
            told = history.log.get(event.revision, ())
            meant = next((each for each in told if each.key == event.key), None)
            if meant is not None and not watch.prev_kv:
                meant = meant._replace(prev=None)
            if event != meant or not model.covers(watch.key, watch.end, event.key):
                yield f"{event} is not {meant}", event.revision, history.ended
