"""Every scenario, each a program that ends well or says why not."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from compat.node_etcd3.conftest import FOLDER, Start
from compat.targets import Server

RUN_MAX_S: Final = 45.0


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end, which is to be a good one."""
    try:
        _, errors = process.communicate(timeout=RUN_MAX_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    "path", sorted((FOLDER / "scenarios").glob("*.js")), ids=lambda path: path.stem
)
def test_a_scenario_ends_well(path: Path, start: Start) -> None:
    finish(start(path))


def test_a_watch_and_a_lease_go_on_after_the_server_was_restarted(
    start: Start, fresh_server: Server
) -> None:
    process = start(FOLDER / "restart.js")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "restart\n"
        fresh_server.restart()
    finally:
        finish(process)
