"""Servers that are gone when the test is over, on sockets whose paths are short enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from server.settings.config import TRANSPORTS, Config
from tests.process.client import Client
from tests.process.clocked import Lives
from tests.support.process import ServerProcess

ON_EACH_TRANSPORT: Final = pytest.mark.parametrize("transport", TRANSPORTS)


class Servers:
    """Starts servers over one data directory and clients of them."""

    def __init__(self, data_dir: Path, transport: str, sockets: Path, stack: ExitStack) -> None:
        self.data_dir = data_dir
        self._transport = transport
        self._sockets = sockets
        self._stack = stack
        self._started = 0

    def spawn(self, *flags: str, data_dir: Path | None = None, url: str = "") -> ServerProcess:
        """A server on its way up, or to its refusal."""
        socket = None if url else self.new_socket()
        chosen = (f"--transport={self._transport}", *flags)
        server = ServerProcess(data_dir or self.data_dir, *chosen, socket=socket, url=url)
        return self._stack.enter_context(server)

    def new_socket(self) -> Path:
        self._started += 1
        return self._sockets / str(self._started)

    def start(self, *flags: str) -> tuple[ServerProcess, Client]:
        """A server that serves, and a client of it."""
        server = self.spawn(*flags).wait_until_ready()
        return server, self.client(server)

    def client(self, server: ServerProcess) -> Client:
        return self._stack.enter_context(Client(server.target))

    def adopt(self, server: ServerProcess) -> ServerProcess:
        """Close a server at the end that was started otherwise."""
        return self._stack.enter_context(server)

    def refused(self, data_dir: Path | None = None) -> str:
        """Start a server that must not come up: exit code 1, one fatal line; its error."""
        server = self.spawn(data_dir=data_dir)
        assert server.wait() == 1, server.described()
        line = server.fatal()
        assert line["msg"] == "failed to start"
        return str(line["error"])


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Not below `tmp_path`: a socket's path has some 100 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="tenure-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def transport() -> str:
    """Of the servers. Where it could matter, the module's `pytestmark` is `ON_EACH_TRANSPORT`."""
    return Config().transport


@pytest.fixture
def servers(tmp_path: Path, transport: str, sockets: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path / "data", transport, sockets, stack)


@pytest.fixture
def lives(tmp_path: Path, sockets: Path) -> Iterator[Lives]:
    with ExitStack() as stack:
        yield Lives(tmp_path, sockets, stack)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What a test opens and does not close itself."""
    with ExitStack() as made:
        yield made


@pytest.fixture
def strace() -> str:
    """The path of the program, if there is one and it is allowed to trace."""
    path = shutil.which("strace")
    if path is None:
        pytest.skip("an fsync is made to fail by strace, which is not installed")
    trial = subprocess.run(
        [path, "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if trial.returncode:
        pytest.skip(f"strace may not trace here: {trial.stderr.strip()}")
    return path
