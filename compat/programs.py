"""Scenarios that are programs of their own: told where the server is, and judged by how they end.

A program that prints `restart` goes on once the server is back.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from compat.targets import Server

RUN_MAX_S: Final = 45.0


class Scenario(NamedTuple):
    """What a program is asked for, and what a reader is told that it does."""

    name: str
    title: str


def launch(
    command: Sequence[str], folder: Path, server: Server, prefix: str
) -> subprocess.Popen[str]:
    """Start a program that has keys of its own below `prefix`."""
    environment = os.environ | {"COMPAT_URL": server.url, "COMPAT_PREFIX": prefix}
    if server.identity is not None:
        files = (str(path) for path in server.identity)
        environment |= zip(("COMPAT_CA", "COMPAT_CERT", "COMPAT_KEY"), files, strict=True)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end, which is to be a good one."""
    try:
        said = process.communicate(timeout=RUN_MAX_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, "\n".join(said)


def restart(process: subprocess.Popen[str], server: Server) -> None:
    """Restart the server when the program says so, and wait for a good end.

    The server is killed: what etcd 3.5.1 may say over TLS while it ends by itself, its own client
    does not take for the end of a server, and gives up.
    """
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "restart\n"
        server.restart(signal.SIGKILL)
    finally:
        finish(process)
