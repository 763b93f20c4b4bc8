"""`python -m bench table PAGE...`: the README's Speed table from pages of results.

Each row names a figure of a page and the command that takes it again. A figure found in more than
one page is taken from the last. With `--write README.md` the table replaces what stands there
between the two marks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.floor import KERNELS_FSYNC
from bench.report import HEAD

BEGIN: Final = "<!-- speed: python -m bench table -->"
END: Final = "<!-- /speed -->"


class Row(NamedTuple):
    """What the README calls it, and where it is found: section, figure and unit of a page."""

    label: str
    section: str
    figure: str
    unit: str
    command: str


RATE: Final = "requests/s"


def _load(label: str, figure: str, level: str = "8x16") -> list[Row]:
    command = f'load --levels {level} --only "{figure}"'
    return [Row(label, "Load", f"{figure} {level}", RATE, command)]


def _tls(label: str, figure: str) -> list[Row]:
    command = f'tls --levels 8x16 --only "{figure}"'
    return [Row(f"{label}, TLS", "Load over TLS", f"{figure} 8x16", RATE, command)]


def _clientv3(label: str, figure: str) -> list[Row]:
    return [
        Row(label, "Go clientv3", f"clientv3 {figure}", RATE, "clientv3"),
        Row(label, "Go clientv3", f"clientv3 {figure}", "p99 latency us", "clientv3"),
    ]


LOADED: Final = (
    ("put, one key", "put, one key, 64 B"),
    ("put, 100,000 keys", "put, 100,000 keys, 64 B"),
    ("range, 1 key", "range, 1 key"),
    ("range, 1,000 keys", "range, 1000 keys"),
    ("transaction, as Kubernetes updates", "txn update, 512 B"),
    ("lease grant", "lease grant"),
    ("lease revoke", "lease revoke"),
    ("keepalive, one a stream", "keepalive, 1 message a stream"),
    ("keepalive, 1,000 a stream", "keepalive, 1000 messages a stream"),
)
STORM: Final = "Storm of 100,000 leases"
BULK: Final = "One lease with 100,000 keys"

ROWS: Final = (
    *(row for label, figure in LOADED for row in _load(label, figure)),
    *_load("range, one in flight", "range, 1 key", "1x1"),
    *_load("put, one in flight", "put, one key, 64 B", "1x1"),
    *(row for label, figure in LOADED for row in _tls(label, figure)),
    Row(
        "keepalives, paced, 1,000 clients: CPU",
        "Keepalives of many clients",
        "paced keepalive, 1000 connections of 1",
        "server CPU us/renewal",
        "keepalives",
    ),
    Row(
        "100,000 keepalives at once after a restart",
        "Keepalives of many clients",
        "return after a restart, all renewed",
        "s",
        "keepalives",
    ),
    *_clientv3("Go client, 16 workers, put", "put, 16 workers"),
    *_clientv3("Go client, 16 workers, range", "range, 16 workers"),
    *_clientv3("Go client, 16 workers, grant", "grant, 16 workers"),
    *_clientv3("Go client, 128 workers, put", "put, 128 workers"),
    *_clientv3("Go client, 128 workers, range", "range, 128 workers"),
    *_clientv3("the same, with GOGC=800", "range, 128 workers with GOGC=800"),
    Row("1,000 watchers of one key", "Watch fan-out", "watch, 1,000 watchers of one key",
        "events/s", "watch"),
    Row("10,000 keys with a watcher each", "Watch fan-out", "watch, 10,000 keys, a watcher each",
        "events/s", "watch"),
    Row("100,000 leases due together: last key gone", STORM, "last due to last key gone", "s",
        "storm"),
    Row("a put's p99 meanwhile", STORM, "put during the storm, p99", "ms", "storm"),
    Row("one lease with 100,000 keys revoked", BULK, "revoke of one lease", "s", "bulk"),
    Row("a put's p99 meanwhile", BULK, "put meanwhile, p99", "ms", "bulk"),
    *(
        Row(f"put, {count} in flight: an fsync / the disk's own", "fsync floor", f"put {level}",
            KERNELS_FSYNC, "fsync")
        for count, level in ((1, "1x1"), (128, "8x16"), (256, "64x4"))
    ),
    *(
        row
        for size in ("100,000", "1,000,000")
        for row in (
            Row(f"memory of a lease with its key, of {size}", "Size",
                f"resident, a lease with its key at {size}", "bytes", "size"),
            Row(f"{size} leases and keys: start to first read", "Size",
                f"kill -9, exec to first read at {size}", "s", "size"),
        )
    ),
    *(
        Row(f"{label}: cost at 1,000,000 to cost at 10,000", "Size",
            f"{figure}, cost from 10,000 to 1,000,000", "times", "size")
        for label, figure in (
            ("put with lease", "put with lease"),
            ("range", "range, 1 key"),
            ("keepalive", "keepalive, 1 message a stream"),
        )
    ),
)  # fmt: skip

Cells = dict[str, str]  # By the names of the columns.


def read(page: str) -> dict[tuple[str, str, str], Cells]:
    """The figures of a page, by section, name and unit."""
    found: dict[tuple[str, str, str], Cells] = {}
    section, columns = "", list(HEAD)
    for line in page.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if cells[:2] == list(HEAD[:2]):
                columns = cells
            elif len(cells) == len(columns) > 2:
                found[section, cells[0], cells[1]] = dict(zip(columns, cells, strict=True))
    return found


def lines(found: dict[tuple[str, str, str], Cells]) -> Iterable[str]:
    """The table; a row whose figure is on no page is left out."""
    yield "| load | unit | Tenure | etcd 3.5.1 | Tenure / etcd | to reach | `python -m bench` |"
    yield "|---|---|---|---|---|---|---|"
    for row in ROWS:
        cells = found.get((row.section, row.figure, row.unit))
        if cells is not None:
            ours, theirs, ratio = (
                cells[name].partition(" (")[0] for name in ("tenure", "etcd", "tenure / etcd")
            )
            words = (row.label, row.unit, ours, theirs, ratio, cells["target"], f"`{row.command}`")
            yield f"| {' | '.join(words)} |"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench table", description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="of bench/results")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put it between FILE's marks")
    options = parser.parse_args(arguments)
    found: dict[tuple[str, str, str], Cells] = {}
    for page in options.pages:
        found |= read(page.read_text(encoding="utf-8"))
    text = "\n".join(lines(found))
    if options.write is None:
        print(text)
        return 0
    before = options.write.read_text(encoding="utf-8")
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        print(f"{options.write} has no {BEGIN} ... {END}", file=sys.stderr)
        return 1
    options.write.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")
    return 0
