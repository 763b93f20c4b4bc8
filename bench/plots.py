"""PNG pictures of a run: rate and latency against load, and against size, a line a contender.

The points are the figures whose name ends in a load (`8x16`: as many in flight as the product) or
in a size (`at 10,000`). Without matplotlib there are none; the page says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

from bench.report import Figure, Section

HOW_TO_INSTALL: Final = "matplotlib is not installed: no plots"
LOAD: Final = re.compile(r"(.+) (\d+)x(\d+)")
SIZE: Final = re.compile(r"(.+) at ([\d,]+)")
COLUMNS: Final = 3
INCHES: Final = (5.0, 3.2)  # One picture.
UNITS: Final = ("requests/s", "mean latency us", "p99 latency us", "bytes", "s", "ms")

Points = dict[str, list[tuple[int, float]]]  # By contender: x, and the median there.


def available() -> bool:
    return find_spec("matplotlib") is not None


def place(figure: Figure) -> tuple[str, str, int] | None:
    """What the picture is of, its x axis, and where on it the figure lies."""
    if (load := LOAD.fullmatch(figure.name)) is not None:
        return load[1], "in flight", int(load[2]) * int(load[3])
    if (size := SIZE.fullmatch(figure.name)) is not None:
        return size[1], "leases, a key each", int(size[2].replace(",", ""))
    return None


def lines(section: Section) -> dict[tuple[str, str, str], Points]:
    """By what, unit and x axis: the lines that have two points or more."""
    found: dict[tuple[str, str, str], Points] = {}
    for figure in section.figures:
        where = place(figure)
        if where is None or figure.unit not in UNITS:
            continue
        points = found.setdefault((where[0], figure.unit, where[1]), {})
        for contender, samples in figure.samples.items():
            points.setdefault(contender, []).append((where[2], median(samples)))
    return {
        key: points for key, points in found.items() if any(len(p) > 1 for p in points.values())
    }


def draw(sections: Sequence[Section], stem: Path) -> list[Path]:
    """Write one file a section that has lines, named by `stem`; return the files."""
    import_module("matplotlib").use("agg")  # Draws without a screen.
    pyplot = import_module("matplotlib.pyplot")
    written = []
    for section in sections:
        pictures = lines(section)
        if not pictures:
            continue
        columns = min(COLUMNS, len(pictures))
        rows = -(-len(pictures) // columns)
        drawing, grid = pyplot.subplots(
            rows, columns, figsize=(INCHES[0] * columns, INCHES[1] * rows), squeeze=False
        )
        for axes in grid.flat[len(pictures) :]:
            axes.set_axis_off()
        for axes, ((what, unit, x_axis), points) in zip(grid.flat, pictures.items(), strict=False):
            for contender, line in points.items():
                axes.plot(*zip(*sorted(line), strict=True), marker="o", label=contender)
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_title(what, fontsize=9)
            axes.set_xlabel(x_axis, fontsize=8)
            axes.set_ylabel(unit, fontsize=8)
            axes.legend(fontsize=7)
        drawing.tight_layout()
        title = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
        written.append(stem.with_name(f"{stem.name}-{title}.png"))
        drawing.savefig(written[-1], dpi=80)
        pyplot.close(drawing)
    return written
