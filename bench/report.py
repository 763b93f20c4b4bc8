"""What was measured, as a table for people and a Markdown page to keep.

A `Figure` is one quantity for each contender, as one sample for each round. Rounds of the
contenders alternate, so sample i of one is compared with sample i of the other, and the ratio has
a spread of its own. "Ahead" means better by the margin in each of enough rounds, "behind" worse
in the same way; all else is "even", which says that these rounds cannot tell.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Final

from bench.servers import ETCD, TENURE, Contender

RESULTS: Final = Path(__file__).resolve().parent / "results"
AHEAD, BEHIND, EVEN = "ahead", "behind", "even"
MARGIN: Final = 0.05  # Below this, two runs of one server differ as well.
ROUNDS_MIN: Final = 3  # With fewer, chance alone often puts one ahead in all of them.


@dataclass(slots=True)
class Figure:
    """One quantity. `target` is what Tenure is to reach: at least or at most, as `higher` says.

    `ratio_target` is the same for the ratio of the medians of Tenure's rounds to etcd's.
    """

    name: str
    unit: str
    higher_is_better: bool
    target: float | None = None
    ratio_target: float | None = None
    judged: bool = True  # False: it describes the run, and neither more nor less is better.
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, value: float) -> None:
        self.samples.setdefault(contender, []).append(value)

    def of(self, contender: str) -> str:
        """Median (smallest..largest), or a dash if it was not measured."""
        return spread(self.samples.get(contender, []))

    def ratios(self) -> list[float]:
        """Tenure / etcd for each round in which both were measured and above 0."""
        ours, theirs = self.samples.get(TENURE, []), self.samples.get(ETCD, [])
        return [a / b for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]

    def verdict(self) -> str:
        gains = self._gains()
        if len(gains) < ROUNDS_MIN:
            return ""
        if min(gains) >= 1 + MARGIN:
            return AHEAD
        return BEHIND if max(gains) <= 1 / (1 + MARGIN) else EVEN

    def seems(self) -> str:
        """What the median says where the rounds are too few for a verdict; else empty."""
        gains = self._gains()
        if not 0 < len(gains) < ROUNDS_MIN:
            return ""
        if median(gains) >= 1 + MARGIN:
            return AHEAD
        return BEHIND if median(gains) <= 1 / (1 + MARGIN) else EVEN

    def _gains(self) -> list[float]:
        """By round, above 1 where Tenure is better."""
        if not self.judged:
            return []
        ratios = self.ratios()
        return ratios if self.higher_is_better else [1 / ratio for ratio in ratios]

    def goal(self) -> str:
        """The target and whether Tenure's median reaches it; empty without a target."""
        if self.target is not None:
            return self._reaches(self.target, self.samples.get(TENURE, []), "")
        if self.ratio_target is not None:
            return self._reaches(self.ratio_target, self.ratios(), "x")
        return ""

    def _reaches(self, target: float, found: Sequence[float], unit: str) -> str:
        goal = f"{'>=' if self.higher_is_better else '<='} {number(target)}{unit}"
        if not found:
            return goal
        middle = median(found)
        reached = middle >= target if self.higher_is_better else middle <= target
        return f"{goal} {'met' if reached else 'MISSED'}"


@dataclass(slots=True)
class Section:
    """One benchmark: what it did, and its figures."""

    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)

    def figure(
        self,
        name: str,
        unit: str,
        *,
        higher_is_better: bool = False,
        target: float | None = None,
        ratio_target: float | None = None,
        judged: bool = True,
    ) -> Figure:
        """The figure of that name and unit, made at its first use."""
        for figure in self.figures:
            if (figure.name, figure.unit) == (name, unit):
                return figure
        self.figures.append(Figure(name, unit, higher_is_better, target, ratio_target, judged))
        return self.figures[-1]


def number(value: float) -> str:
    """Three significant digits or all the integer ones."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}..{number(max(values))})"


HEAD: Final = ("figure", "unit", "tenure", "etcd", "tenure / etcd", "", "target")


def _others(section: Section) -> list[str]:
    """Contenders beside the two that are compared: they get a column each, without a ratio."""
    names = {name for figure in section.figures for name in figure.samples}
    return sorted(names - {TENURE, ETCD})


def _rows(section: Section) -> Iterable[tuple[str, ...]]:
    others = _others(section)
    yield (*HEAD, *others)
    for figure in section.figures:
        ratio = spread(figure.ratios()) if figure.judged else ""
        yield (
            figure.name,
            figure.unit,
            figure.of(TENURE),
            figure.of(ETCD),
            ratio,
            figure.verdict(),
            figure.goal(),
            *(figure.of(other) for other in others),
        )


def plain(section: Section) -> str:
    """The section as a table of padded columns."""
    rows = list(_rows(section))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in rows]  # fmt: skip
    return "\n".join([f"\n{section.title}", section.text, "", *lines])


def markdown(
    sections: Sequence[Section], facts: Sequence[tuple[str, str]], pictures: Sequence[str] = ()
) -> str:
    """The whole run as a page: its facts, the tables, pictures, then wins and losses by name."""
    lines = [f"# {facts[0][1]}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts[1:]]
    lines += [
        "",
        "Median (smallest..largest) of the rounds. How to read it: `bench/README.md`.",
        "",
    ]
    for section in sections:
        lines += [f"## {section.title}", "", section.text, ""]
        head, *rows = _rows(section)
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    lines += [f"![{picture.removesuffix('.png')}]({picture})\n" for picture in pictures]
    figures = [(section, figure) for section in sections for figure in section.figures]
    lines += ["## Losses beside wins", ""]
    for verdict in (BEHIND, EVEN, AHEAD):
        names = [f"{f.name}, {f.unit} ({s.title})" for s, f in figures if f.verdict() == verdict]
        lines.append(f"- **{verdict.capitalize()}**: {'; '.join(names) or 'nowhere'}.")
    seeming = [(f.seems(), f"{f.name}, {f.unit} ({s.title})") for s, f in figures if f.seems()]
    if seeming:
        behind = "; ".join(name for seems, name in seeming if seems == BEHIND) or "none"
        lines.append(
            f"- Of fewer than {ROUNDS_MIN} rounds, so not judged: {len(seeming)} figures. Behind "
            f"in the median: {behind}."
        )
    missed = [f"{f.name} ({s.title})" for s, f in figures if f.goal().endswith("MISSED")]
    lines.append(f"- Targets missed: {'; '.join(missed) or 'none'}.")
    return "\n".join(lines) + "\n"


def new_page(name: str) -> Path:
    """`bench/results/DATE-NAME.md`; a second run of a day gets a number, none is replaced."""
    RESULTS.mkdir(exist_ok=True)
    stem = f"{datetime.now(UTC):%Y-%m-%d}-{name}"
    path, again = RESULTS / f"{stem}.md", 2
    while path.exists():
        path, again = RESULTS / f"{stem}-{again}.md", again + 1
    return path


def facts_of_run(
    title: str, contenders: Sequence[Contender], *, command: str, seed: int, directory: Path
) -> list[tuple[str, str]]:
    """What somebody needs to judge the figures or to take them again."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    facts = [
        ("title", title),
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("command", f"`{command}`"),
        ("seed", str(seed)),
        ("machine", f"{os.cpu_count()} cores, {_cpu_model()}, {_memory_gib()} GiB of memory"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("file system of the data", _file_system(directory)),
        ("load average at the start", load),
        ("python", _python()),
        ("grpcio", _package("grpcio")),
        ("rocksdict", _package("rocksdict")),
    ]
    return facts + [(contender.name, contender.version) for contender in contenders]


def _python() -> str:
    """Its version, and how long a fixed loop takes: builds of one version differ by a third."""
    took_ms = []
    for _ in range(5):
        began = time.perf_counter()
        total, table = 0, dict.fromkeys(range(1000), 1)
        for number in range(200_000):
            total += table[number % 1000]
        took_ms.append((time.perf_counter() - began) * 1e3)
    return f"{platform.python_version()}, {min(took_ms):.1f} ms for a fixed loop (`report._python`)"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.0f}"


def _file_system(directory: Path) -> str:
    """The kind of file system that holds `directory`; memory-backed ones make fsync free."""
    held_by, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        inside = directory.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(held_by):
            held_by, kind = mount, found
    return f"{kind} (in memory: fsync costs nothing here)" if kind == "tmpfs" else kind
