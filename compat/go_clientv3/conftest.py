"""The fixture that runs a scenario of Go's clientv3. They are tests of Go's, compiled by make."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from compat.outcomes import VERSIONS
from compat.programs import RUN_MAX_S, launch
from compat.targets import Server

FOLDER: Final = Path(__file__).parent
PROGRAM: Final = FOLDER / "scenarios.test"
MISSING: Final = "go, which `make compat` builds it with, was not on PATH"

Start = Callable[[str], subprocess.Popen[str]]


def pytest_configure(config: pytest.Config) -> None:
    module = "go.etcd.io/etcd/client/v3 "
    needs = (FOLDER / "go.mod").read_text().splitlines()
    [version] = [line.strip().removeprefix(module) for line in needs if module in line]
    config.stash[VERSIONS] = [
        f"Go clientv3 {version}" if PROGRAM.exists() else f"Go clientv3 ({MISSING})"
    ]


@pytest.fixture
def start(server: Server, prefix: str) -> Start:
    """Starts a scenario, named by its function, against the server."""
    if not PROGRAM.exists():
        pytest.skip(MISSING)
    timeout = f"-test.timeout={RUN_MAX_S:.0f}s"
    return lambda name: launch(
        [str(PROGRAM), f"-test.run=^{name}$", timeout], FOLDER, server, prefix
    )
