"""Records histories of a server under faults, checks them, and prints what was found.

python -m compat.histories [--seconds N] [--seed S] [--target tenure|tenure-grpcio|etcd-3.5.1]
                           [--faults kill,term,stop,cut,slow] [--bug NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from compat.histories.checking import Promises
from compat.histories.faults import KINDS
from compat.histories.run import Tally, run, seeded
from compat.histories.seeded import BUGS, NONE
from compat.targets import ETCD, TARGETS, Target

SECONDS: Final = 120.0
NAMES: Final = {**TARGETS, "etcd": ETCD}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m compat.histories", allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"default: {SECONDS:.0f}")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="default: a new one")
    parser.add_argument("--target", choices=list(NAMES), default="tenure")
    parser.add_argument("--faults", default="", help=f"default: {','.join(KINDS)}; `none` for none")
    parser.add_argument("--bug", choices=[NONE, *BUGS], default=NONE, help="seed it into Tenure")
    parser.add_argument("--first", type=int, default=0, help="the episode to begin with")
    parser.add_argument(
        "--keeps-remaining",
        action="store_true",
        help="the target's leases keep their remaining time over a restart",
    )
    parser.add_argument("--late-max", type=float, default=float("inf"), help="seconds; later fails")
    parser.add_argument(
        "--exact-progress",
        action="store_true",
        help="hold etcd 3.5.1 to the order of progress notifications, which it does not keep",
    )
    parser.add_argument("--data", type=Path, help="a folder to leave the server's data in")
    options = parser.parse_args(argv)
    target: Target = NAMES[options.target]
    kinds = [kind for kind in KINDS if target.is_tenure or kind != "slow"]
    if options.faults:
        kinds = [kind for kind in options.faults.split(",") if kind != "none"]
        if unknown := set(kinds) - set(KINDS):
            parser.error(f"no such fault: {', '.join(unknown)}")
    promises = Promises(
        keeps_remaining=options.keeps_remaining,
        late_max_s=options.late_max,
        progress_is_exact=target.is_tenure or options.exact_progress,
    )
    if target.is_tenure:
        target = seeded(options.bug, target)
    print(f"seed {options.seed}, {target.title}, faults {','.join(kinds) or 'none'}", flush=True)
    tally = Tally(options.seed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(
                run(
                    target,
                    options.data or Path(folder),
                    tally,
                    seconds=options.seconds,
                    faults=kinds,
                    promises=promises,
                    first=options.first,
                )
            )
    finally:  # A fault of the recorder's own must not take what an hour has shown.
        for text in tally.shown:
            print(f"\n{text}")
        print()
        for name, value in tally.rows():
            print(f"{name:28} {value:>16}")
    return 0 if tally.is_clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
