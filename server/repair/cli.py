"""`tenure repair`: the arguments, the words, the exit code.

Exit codes: 0 if there was nothing to repair, or all of it could be; 3 if something is lost, or if
that cannot be told (with --dry-run: would be); 1 if it cannot be repaired, and nothing was changed;
128 for arguments that make no sense.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from server.repair.repair import Report, repair
from server.repair.sieve import Named
from server.settings.config import StartError

OK: Final = 0
FAILED: Final = 1
LOST: Final = 3
BAD_ARGUMENTS: Final = 128

Say = Callable[[str], object]


class _ArgumentsError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _ArgumentsError(message)


def main(arguments: Sequence[str], *, say: Say) -> int:
    """Run `tenure repair` with `arguments`; returns its exit code. `say` prints a line."""
    parser = _Parser(
        prog="tenure repair",
        description="Make a store that starts of one that does not, and say what is lost. The"
        " damaged one is kept. The server must not be running.",
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--dry-run", action="store_true", help="say it all, and change nothing")
    try:
        chosen = parser.parse_args(arguments)
    except _ArgumentsError as error:
        sys.stderr.write(f"Error: {error}\n")
        return BAD_ARGUMENTS
    except SystemExit:  # argparse has printed the help.
        return OK
    try:
        report = repair(chosen.data_dir, dry_run=chosen.dry_run)
    except StartError as error:
        sys.stderr.write(f"Error: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Error: interrupted\n")
        return -signal.SIGINT
    for line in described(report, dry_run=chosen.dry_run):
        say(line)
    return LOST if report.is_something_lost else OK


def described(report: Report, *, dry_run: bool) -> Iterator[str]:
    """The lines to print: what is wrong, what is lost, what is done."""
    if report.is_sound:
        yield f"nothing to repair: the store is whole, up to revision {report.found_revision}"
        return
    for remark in report.remarks:
        yield f"wrong: {remark}"
    if report.revision:
        yield from _losses(report)
        yield f"saved: {_many(report.keys, 'key')}, {_many(report.leases, 'lease')}"
    if report.is_raised:
        yield (
            f"revision: it goes on above {report.revision}, and all below is compacted, so that"
            " no revision is given twice; watches that resume from before are told so"
        )
    elif report.revision:
        yield f"revision: {report.revision}, as before"
    if report.kept is not None:
        yield f"repaired: the damaged store is kept in {report.kept}"
    elif dry_run:
        yield "nothing was changed: this was a dry run"


def _losses(report: Report) -> Iterator[str]:
    if report.acknowledged is None:
        yield (
            f"found: up to revision {report.found_revision}; without the mark it cannot be told"
            " whether that is all that was acknowledged"
        )
    else:
        revision, sequence = report.acknowledged
        yield f"found: up to revision {report.found_revision} (sequence {report.found_sequence})"
        yield f"acknowledged: up to revision {revision} (sequence {sequence})"
    if report.lost_revisions:
        first, last = report.found_revision + 1, report.found_revision + report.lost_revisions
        yield f"lost: {_many(report.lost_revisions, 'revision')}, {first} to {last}"
    elif report.is_short:
        yield "lost: changes without a revision, such as leases granted or revoked, users, alarms"
    if report.gaps.count:
        yield f"lost: {_many(report.missing_revisions, 'revision')} in the middle"
        yield from _named("lost: revision", report.gaps)
    if report.dropped.count:
        yield f"dropped: {_many(report.dropped.count, 'row')} that make no sense"
        yield from _named("dropped:", report.dropped)
    if report.dropped.count or report.gaps.count:
        yield (
            "beware: of what is lost in the middle only the newest change of a key matters: such a"
            " key has an older value again, or is there again though it was deleted"
        )
    if report.detached.count:
        yield f"kept without a lease: {_many(report.detached.count, 'key')} whose lease is lost"
        yield from _named("kept without a lease:", report.detached)
    if not report.is_something_lost:
        yield "lost: nothing"
    elif not report.is_loss_known:
        yield "beware: more may be lost than can be named"


def _named(what: str, named: Named) -> Iterator[str]:
    for name in named.names:
        yield f"{what} {name}"
    if named.count > len(named.names):
        yield f"{what} {named.count - len(named.names)} more"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
