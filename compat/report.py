"""The page about a whole run, and the table that heads it."""

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from compat.differences import DIFFERENCES
from compat.outcomes import Outcome, Record
from compat.suites import SUITES
from compat.targets import TARGETS
from compat.wires import WIRES

_HEAD: Final = """\
# Compatibility

Written by `make compat`, which runs unmodified clients against Tenure, on each of its transports,
and, with the same expectations, against etcd 3.5.1; everything in the clear, and again over TLS
with certificates on both sides. compat/README.md says how.

"""


def page(record: Record) -> str:
    """The whole page."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    lines = [_HEAD + f"Run on {today.isoformat()} with", ""]
    lines += [f"- {target.version()}" for target in TARGETS.values()]
    lines += [f"- {text}" for text in record.versions]
    lines += ["", "How many scenarios passed, of how many there are:", "", *summary(record)]
    for suite in SUITES.values():
        chosen = [each for each in record.outcomes if each.suite == suite.folder]
        lines += ["", f"## {suite.title}", "", *_scenarios(chosen)]
    lines += ["", "## Meant differences from etcd 3.5.1", ""]
    lines += ["Tenure follows the newest patch of etcd's 3.6 line.", ""]
    for name, difference in DIFFERENCES.items():
        lines.append(f"- `{name}`: {difference.what} ({difference.since})")
    return "\n".join(lines) + "\n"


def summary(record: Record) -> list[str]:
    """One row a client, one column a target and a wire; below it, why something was skipped."""
    columns = [(target, wire) for target in TARGETS for wire in WIRES]
    titles = [f"{TARGETS[target].title}, {WIRES[wire]}" for target, wire in columns]
    lines = [f"| client | {' | '.join(titles)} |", "|---" * (len(columns) + 1) + "|"]
    for client in dict.fromkeys(each.client for each in _in_order(record.outcomes)):
        row = [
            _count(
                each
                for each in record.outcomes
                if (each.client, each.target, each.wire) == (client, *column)
            )
            for column in columns
        ]
        lines.append(f"| {client} | {' | '.join(row)} |")
    reasons = {each.reason: each.client for each in record.outcomes if each.reason}
    if reasons:
        lines += ["", "Skipped:", ""]
        lines += [f"- {client}: {reason}" for reason, client in sorted(reasons.items())]
    return lines


def _count(outcomes: Iterable[Outcome]) -> str:
    counts = Counter(each.outcome for each in outcomes)
    if not counts:
        return "-"
    text = f"{counts['passed']}/{counts.total()}"
    if counts["skipped"]:
        text += f" ({counts['skipped']} skipped)"
    return f"**{text}**" if counts["failed"] or counts["not run"] else text


def _in_order(outcomes: list[Outcome]) -> list[Outcome]:
    suites = list(SUITES)
    return sorted(outcomes, key=lambda each: (suites.index(each.suite), each.client))


def _scenarios(outcomes: list[Outcome]) -> Iterator[str]:
    """One row a scenario, one column a target; a cell names what did not pass."""
    yield f"| scenario | {' | '.join(target.title for target in TARGETS.values())} |"
    yield "|---" * (len(TARGETS) + 1) + "|"
    for place, title in sorted({(each.place, each.title) for each in outcomes}):
        row = [
            _cell([each for each in outcomes if (each.title, each.target) == (title, target)])
            for target in TARGETS
            if place
        ]
        yield f"| {title} | {' | '.join(row)} |"


def _cell(outcomes: list[Outcome]) -> str:
    if len(kinds := {each.outcome for each in outcomes}) <= 1:
        return "".join(kinds) or "-"
    others = [
        f"{each.outcome}: {each.client}, {WIRES[each.wire]}"
        for each in outcomes
        if each.outcome != "passed"
    ]
    return "; ".join(others)
