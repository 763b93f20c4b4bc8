"""Puts random operations to Tenure and to etcd 3.5.1, and prints what they answer differently.

python -m compat.differential [--operations N] [--seed SEED] [--target NAME]
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from compat.differential.hunt import Hunt
from compat.targets import ETCD, TARGETS

OPERATIONS: Final = 100_000
FINDINGS_MAX: Final = 5


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m compat.differential", allow_abbrev=False)
    parser.add_argument("--operations", type=int, default=OPERATIONS, help=f"default: {OPERATIONS}")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="default: a new one")
    parser.add_argument("--target", choices=list(TARGETS), default="tenure")
    parser.add_argument(
        "--findings", type=int, default=FINDINGS_MAX, help=f"to stop at; default: {FINDINGS_MAX}"
    )
    parser.add_argument("--as-found", action="store_true", help="do not make findings shorter")
    parser.add_argument("--first", type=int, default=0, help="the episode to begin with")
    options = parser.parse_args(argv)
    print(f"seed {options.seed}, {options.operations:,} operations", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        hunt = Hunt(TARGETS[options.target], ETCD, Path(folder))
        try:
            tally = asyncio.run(
                hunt.run(
                    options.seed,
                    options.operations,
                    findings_max=options.findings,
                    shrinks=not options.as_found,
                    first=options.first,
                )
            )
        finally:
            hunt.close()
    took_s = time.monotonic() - begin
    print(f"{tally.operations:,} operations compared in {took_s:.0f} s:")
    print(", ".join(f"{name} {count:,}" for name, count in tally.methods.most_common()))
    for name, count in tally.meant.most_common():
        print(f"meant, {name}: {count}")
    print(f"{len(tally.findings)} differences that are not meant")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
