"""The command `tenure`: read the arguments, set up logging, run the server, end as etcd ends.

Exit codes, which scripts and process managers act on: 0 for a text that was asked for and for a
clean end, 1 for settings that cannot be honoured and for a start that failed, 2 for arguments
that are no flags; `tenure snapshot` has those of etcdutl, and `tenure repair` its own. A server
ended by a signal dies of that signal once all is closed, so a shell sees 143 or 130, but ends with
0 as the first process of a container, which signals cannot kill.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from server import log
from server.log import fields
from server.settings import flags
from server.settings.config import Config, ConfigError, StartError

logger = logging.getLogger(__name__)

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
_FIRST_PROCESS: Final = 1
SNAPSHOT: Final = "snapshot"  # Words that ask for a command instead of a server.
REPAIR: Final = "repair"


def main(
    arguments: Sequence[str] | None = None, *, run: Callable[[Config], int] | None = None
) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: without the program's name; those of the process by default.
        run: serves until told to end; `server.app.run` by default. It returns an exit code, or
            the negative number of the signal that ended it.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments and arguments[0] in (SNAPSHOT, REPAIR):
        command = _load_snapshot() if arguments[0] == SNAPSHOT else _load_repair()
        code = command(arguments[1:], say=print)
        return _end_by_signal(-code) if code < 0 else code
    try:
        parsed = flags.parse(arguments, os.environ)
        config = parsed.config
        log.setup(config.log_level, config.log_format, config.log_outputs, config.rotation)
    except flags.HelpRequested:
        print(flags.help_text(), end="")
        return OK
    except flags.VersionRequested:
        print(flags.version_text(), end="")
        return OK
    except flags.UsageError as error:
        print(f"{error}\n{flags.USAGE}", end="", file=sys.stderr)
        return MISUSED
    except ConfigError as error:
        log.setup("info", "json", ("default",))
        logger.critical("failed to verify flags", extra=fields(error=str(error)))
        return FAILED
    logger.info("Running: ", extra=fields(args=["tenure", *arguments]))
    for remark in parsed.remarks:
        logger.log(remark.level, remark.text, extra=fields(**remark.fields))
    return _serve(parsed.config, run or _load_server())


def _load_server() -> Callable[[Config], int]:
    # Only when it is to run: `--version` and a refusal should not pay for loading it.
    from server.app import run

    return run


def _load_snapshot() -> Callable[..., int]:
    # As above.
    from server.snapshot.cli import main

    return main


def _load_repair() -> Callable[..., int]:
    # As above.
    from server.repair.cli import main

    return main


def _serve(config: Config, run: Callable[[Config], int]) -> int:
    try:
        code = run(config)
    except StartError as error:
        logger.critical("failed to start", extra=fields(error=str(error)))
        return FAILED
    return _end_by_signal(-code) if code < 0 else code


def _end_by_signal(number: int) -> int:
    """Die of the signal that ended the server, as etcd does (pkg/osutil/interrupt_unix.go)."""
    logging.shutdown()
    if os.getpid() == _FIRST_PROCESS:
        os._exit(OK)  # Not a return: the interpreter's end would answer calls that still arrive.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number  # Not reached unless the signal is blocked.
