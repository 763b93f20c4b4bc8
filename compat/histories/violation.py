"""What a checker found, and the piece of history that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from compat.histories.record import Call, Event, History

EXCERPT_LINES_MAX: Final = 16
LINE_CHARACTERS_MAX: Final = 220
FILLED: Final = re.compile(r"\.{9,}")  # A large value is as well told by its beginning.
AROUND_S: Final = 0.25
AROUND_REVISIONS: Final = 2


@dataclass(frozen=True, slots=True)
class Violation:
    """`rule` is one of the names below; the rest says where to look."""

    rule: str
    text: str
    revision: int = 0
    at: float = 0.0
    lease: int = 0

    def __str__(self) -> str:
        return FILLED.sub("..", f"{self.rule}: {self.text}")


# The rules.
LINEARIZABILITY: Final = "linearizability"
LOST: Final = "lost acknowledged write"
WATCH: Final = "watch"
EARLY: Final = "early lease"
LEASE: Final = "lease"
LATE: Final = "late lease"
SERVER: Final = "server"  # It did not start, or ended by itself.


def excerpt(history: History, violation: Violation) -> list[str]:
    """The lines of the history that are nearest to the violation, in the order of time."""
    nearest = sorted(_lines(history, violation))[:EXCERPT_LINES_MAX]
    nearest.sort(key=lambda line: line[1])
    return [FILLED.sub("..", text)[:LINE_CHARACTERS_MAX] for _, _, text in nearest]


def _lines(history: History, violation: Violation) -> Iterator[tuple[float, float, str]]:
    """How far each is from the violation, its instant and its text."""
    revision = violation.revision
    near = range(revision - AROUND_REVISIONS, revision + AROUND_REVISIONS + 1)
    for call in history.calls:
        if _is_near(call, violation):
            away = abs(call.revision - revision) + (not call.wrote if call.is_answered else 0.5)
            yield away, call.invoke, str(call)
    for outage in history.outages:
        if outage.begin - AROUND_S <= violation.at <= outage.end + AROUND_S:
            name = "down" if outage.is_restart else "stopped"
            yield 0, outage.begin, f"{outage.begin:.4f}..{outage.end:.4f} {name}"
    if not revision:
        return
    for watch in history.watches:
        for heard in watch.heard:
            events = [event for event in heard.events if event.revision in near]
            if events:
                away = min(abs(event.revision - revision) for event in events)
                yield away + 0.5, heard.at, f"{heard.at:.4f} {watch.name} heard {_short(events)}"
    for each in near:
        if each in history.log:
            text = f"in the end revision {each} is {_short(history.log[each])}"
            yield abs(each - revision), history.ended, text


def _is_near(call: Call, violation: Violation) -> bool:
    if violation.lease:
        return call.lease == violation.lease
    if violation.revision:
        return abs(call.revision - violation.revision) <= AROUND_REVISIONS
    return call.invoke <= violation.at + AROUND_S and call.done >= violation.at - AROUND_S


def _short(events: list[Event] | tuple[Event, ...]) -> str:
    return ", ".join(
        f"{event.revision} {event.key!r} "
        + ("deleted" if event.kv is None else f"= {event.kv.value!r} lease {event.kv.lease:x}")
        for event in events
    )
