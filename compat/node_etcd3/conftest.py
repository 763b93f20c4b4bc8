"""The fixture that runs a scenario of node's etcd3."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from compat.outcomes import VERSIONS
from compat.targets import Server

FOLDER: Final = Path(__file__).parent
NODE: Final = shutil.which("node")
PACKAGE: Final = FOLDER / "node_modules" / "etcd3" / "package.json"

Start = Callable[[Path], subprocess.Popen[str]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [f"node etcd3 ({_missing()})" if _missing() else _versions()]


def _missing() -> str:
    """What this machine lacks, or nothing."""
    if NODE is None:
        return "node is not on PATH"
    if not PACKAGE.exists():
        return "npm, which `make compat` installs it with, was not on PATH"
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
    """Starts a scenario against the server."""
    if NODE is None or _missing():
        pytest.skip(_missing())
    environment = os.environ | {"COMPAT_URL": server.url, "COMPAT_PREFIX": prefix}
    if server.identity is not None:
        files = (str(path) for path in server.identity)
        environment |= zip(("COMPAT_CA", "COMPAT_CERT", "COMPAT_KEY"), files, strict=True)

    def started(path: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [NODE, str(path)],
            cwd=FOLDER,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started
