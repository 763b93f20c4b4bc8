"""Runs the suites, each against each target in a process of its own, and says what came of it.

    python -m compat [--client NAME]... [--target NAME]... [--wire NAME]... [what pytest takes]

Most of a suite's time is waiting for a TTL or a process, so a few run at once.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from compat.outcomes import Record
from compat.report import page, summary
from compat.suites import SUITES, Suite
from compat.targets import PORT_MAX, PORT_MIN, ROOT, TARGETS, Target
from compat.wires import WIRES

JOBS: Final = 4  # At once, on two cores.
_COUNTS: Final = re.compile(r"\b\d+ (passed|skipped|deselected).* in \d")
_FINE: Final = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


@dataclass(frozen=True)
class Job:
    """One suite against one target."""

    suite: Suite
    target: Target
    arguments: list[str]
    outcomes: Path
    ports: range  # What its servers may listen on: a port is looked for long before it is taken.

    def run(self) -> bool:
        """Run to the end, print what came of it, and return whether all is well."""
        start = time.monotonic()
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", str(self.suite.path)),
                *("--target", self.target.name, "--outcomes", str(self.outcomes)),
                *("-q", "-p", "no:cacheprovider", *self.suite.options),
                *self.arguments,
            ],
            cwd=ROOT,
            env=os.environ | {"COMPAT_PORTS": f"{self.ports.start}-{self.ports.stop}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        is_fine = run.returncode in _FINE
        counts = [line for line in run.stdout.splitlines() if _COUNTS.search(line)]
        said = counts[-1] if is_fine and counts else f"\n{run.stdout}"
        took_s = time.monotonic() - start
        print(f"{self.suite.title} to {self.target.title}, {took_s:.0f} s: {said}", flush=True)
        return is_fine


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m compat", allow_abbrev=False)
    parser.add_argument("--client", action="append", choices=list(SUITES), help="default: all")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="default: all")
    parser.add_argument("--wire", action="append", choices=list(WIRES), help="default: both")
    parser.add_argument("--page", type=Path, help="where to write the results of a whole run")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"at once; default: {JOBS}")
    options, for_pytest = parser.parse_known_args(argv)
    arguments = [*for_pytest, *(f"--wire={wire}" for wire in options.wire or ())]
    is_whole = not (arguments or options.client or options.target)
    pairs = [
        (SUITES[client], TARGETS[target])
        for client in options.client or SUITES
        for target in options.target or TARGETS
    ]
    share = (PORT_MAX - PORT_MIN) // len(pairs)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            Job(
                suite,
                target,
                tuple(arguments),
                Path(folder) / f"{suite.folder}-{target.name}",
                range(first, first + share),
            )
            for first, (suite, target) in zip(count(PORT_MIN, share), pairs, strict=False)
        ]
        with ThreadPoolExecutor(options.jobs) as pool:
            are_fine = list(pool.map(Job.run, jobs))
        record = Record.merged(job.outcomes for job in jobs)
    print("\n".join(["", *summary(record)]))
    if options.page and is_whole:
        options.page.write_text(page(record))
        print(f"\n{options.page} is written")
    elif options.page:
        print(f"\n{options.page} is left as it was: this was a part of the suite")
    return 0 if all(are_fine) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
