"""`tenure snapshot save | status | restore`: etcdutl's commands, flags and exit codes.

Exit codes are those of etcd's tools (pkg/cobrautl/error.go): 0, 1 for what went wrong, 128 for
arguments that do not fit together, 4 for a form of output that is not offered. A restore ended by
a signal removes what it has made, and dies of that signal.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from server import log
from server.clock import SystemClock
from server.log import fields
from server.settings.config import Config, StartError
from server.settings.urls import parse_urls
from server.snapshot.fetch import Source, save
from server.snapshot.file import SnapshotError
from server.snapshot.progress import Progress
from server.snapshot.restore import restore
from server.snapshot.status import FORMS, read_status

logger = logging.getLogger(__name__)

OK: Final = 0
FAILED: Final = 1
BAD_FEATURE: Final = 4
BAD_ARGUMENTS: Final = 128
USER_VARIABLE: Final = "ETCDCTL_USER"  # etcdctl's own.

Say = Callable[[str], object]


class _ArgumentsError(Exception):
    pass


class _EndedError(BaseException):
    """A signal came. Not an Exception: nothing but the way out may meet it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _ArgumentsError(message)


def main(arguments: Sequence[str], *, say: Say) -> int:
    """Run `tenure snapshot` with `arguments`; returns its exit code. `say` prints a line."""
    try:
        chosen = _parser().parse_args(arguments)
    except _ArgumentsError as error:
        say_error(str(error))
        return BAD_ARGUMENTS
    except SystemExit as end:  # argparse has printed the help.
        return OK if end.code in (None, 0) else BAD_ARGUMENTS
    log.setup("info", "console", ("stderr",))
    progress = Progress(SystemClock(), sys.stderr.write if sys.stderr.isatty() else None)
    gc.disable()  # It ends with the work; walking all that was made again and again is waste.
    previous = {each: signal.signal(each, _end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        code: int = chosen.run(chosen, say, progress)
    except (SnapshotError, StartError) as error:
        progress.close()
        say_error(str(error))
        return FAILED
    except _EndedError as error:
        progress.close()
        say_error("interrupted; nothing was left behind")
        return -error.number
    finally:
        gc.enable()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code


def say_error(text: str) -> None:
    sys.stderr.write(f"Error: {text}\n")


def _end(number: int, frame: object) -> NoReturn:  # noqa: ARG001  # a handler's signature
    raise _EndedError(number)


def _parser() -> _Parser:
    parser = _Parser(prog="tenure snapshot", description="Save, look into and restore snapshots.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    command = commands.add_parser("save", help="store a snapshot of a running server in a file")
    command.add_argument("file", type=Path)
    command.add_argument("--endpoints", default="127.0.0.1:2379", help="the one server to ask")
    command.add_argument(
        "--cacert", type=Path, help="trust servers that this authority vouches for"
    )
    command.add_argument("--cert", type=Path, help="the client's own certificate")
    command.add_argument("--key", type=Path, help="and its key")
    command.add_argument(
        "--user",
        default=os.environ.get(USER_VARIABLE, ""),
        help=f"name:password; or in {USER_VARIABLE}, where no list of processes shows it",
    )
    command.set_defaults(run=_save)

    command = commands.add_parser("status", help="say what a snapshot holds")
    command.add_argument("file", type=Path)
    command.add_argument("-w", "--write-out", default="simple", help=", ".join(FORMS))
    command.set_defaults(run=_status)

    command = commands.add_parser("restore", help="make a data directory of a snapshot")
    command.add_argument("file", type=Path)
    command.add_argument("--data-dir", type=Path, default=Path(), help="default: <name>.etcd")
    command.add_argument("--name", default="default", help="of this member")
    command.add_argument(
        "--initial-cluster", default="", help="this member and its peer URLs: name=url"
    )
    command.add_argument("--initial-cluster-token", default="etcd-cluster")
    command.add_argument("--initial-advertise-peer-urls", default="http://localhost:2380")
    command.add_argument(
        "--skip-hash-check",
        action="store_true",
        help="for a database copied from a data directory, which has no hash",
    )
    command.add_argument(
        "--bump-revision", type=int, default=0, help="by how much to raise the revision"
    )
    command.add_argument(
        "--mark-compacted",
        action="store_true",
        help="compact up to the raised revision; goes with --bump-revision, and only with it",
    )
    command.set_defaults(run=_restore)
    return parser


def _save(chosen: argparse.Namespace, say: Say, progress: Progress) -> int:
    if "," in chosen.endpoints:
        say_error("snapshot must be requested to one selected node, not multiple")  # etcd's text.
        return BAD_ARGUMENTS
    source = Source(
        endpoint=chosen.endpoints,
        ca_file=chosen.cacert,
        cert_file=chosen.cert,
        key_file=chosen.key,
        user=chosen.user,
    )
    version = save(chosen.file, source, lambda done, total: progress("fetching", done, total))
    say(f"Snapshot saved at {chosen.file}")
    if version:
        say(f"Server version {version}")
    return OK


def _status(chosen: argparse.Namespace, say: Say, progress: Progress) -> int:
    form = FORMS.get(chosen.write_out)
    if form is None:
        say_error("unsupported output format")  # etcd's text.
        return BAD_FEATURE
    say(form(read_status(chosen.file, lambda done, total: progress("reading", done, total))))
    return OK


def _restore(chosen: argparse.Namespace, say: Say, progress: Progress) -> int:  # noqa: ARG001  # as etcdutl, it logs
    if (chosen.bump_revision > 0) != chosen.mark_compacted or chosen.bump_revision < 0:
        say_error("--mark-compacted required if --bump-revision > 0, and disallowed otherwise")
        return BAD_ARGUMENTS
    try:
        peer_urls = parse_urls(chosen.initial_advertise_peer_urls)
    except ValueError as error:
        say_error(f"--initial-advertise-peer-urls: {error}")
        return BAD_ARGUMENTS
    config = Config(
        name=chosen.name,
        data_dir=chosen.data_dir,
        initial_cluster=chosen.initial_cluster,
        initial_cluster_token=chosen.initial_cluster_token,
        initial_advertise_peer_urls=peer_urls,
    )
    named = fields(path=str(chosen.file), data_dir=str(config.data_dir))
    logger.info("restoring snapshot", extra=named)
    restored = restore(
        chosen.file,
        config,
        skip_hash=chosen.skip_hash_check,
        bump_revision=chosen.bump_revision,
        progress=progress,
    )
    if restored.keys_without_lease:
        logger.warning(
            "keys belonged to leases that have no record; they were kept without a lease",
            extra=fields(keys=restored.keys_without_lease),
        )
    logger.info(
        "restored snapshot",
        extra=fields(
            path=str(chosen.file),
            data_dir=str(config.data_dir),
            revision=restored.revision,
            keys=restored.keys,
            leases=restored.leases,
            member_id=f"{restored.identity.member_id:x}",
            cluster_id=f"{restored.identity.cluster_id:x}",
        ),
    )
    return OK
