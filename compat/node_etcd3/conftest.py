"""The fixture that runs a scenario of node's etcd3."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from compat.outcomes import VERSIONS
from compat.programs import launch
from compat.targets import Server

FOLDER: Final = Path(__file__).parent
NODE: Final = shutil.which("node")
PACKAGE: Final = FOLDER / "node_modules" / "etcd3" / "package.json"

Start = Callable[[str], subprocess.Popen[str]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [f"node etcd3 ({_missing()})" if _missing() else _versions()]


def _missing() -> str:
    """What this machine lacks, or nothing."""
    if NODE is None:
        return "node is not on PATH"
    if not PACKAGE.exists():
        return "npm, which `make compat` installs etcd3 with, was not on PATH"
    return ""


def _versions() -> str:
    assert NODE is not None
    ask = "console.log(['etcd3', '@grpc/grpc-js'].map(n => require(n + '/package').version).join())"
    run = subprocess.run(
        [NODE, "-e", f"console.log(process.version); {ask}"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=True,
    )
    node, packages = run.stdout.split()
    etcd3, grpc_js = packages.split(",")
    return f"node etcd3 {etcd3}, with grpc-js {grpc_js} on node {node}"


@pytest.fixture
def start(server: Server, prefix: str) -> Start:
    """Starts a scenario, named by its file, against the server."""
    if NODE is None or _missing():
        pytest.skip(_missing())
    return lambda file: launch([NODE, file], FOLDER, server, prefix)
