"""A server as a process of its own, known by its command line, its log and how it ends.

What is always true:
  1. Whoever makes a `ServerProcess` closes it, and `close` leaves no process behind, whatever
     state it was in. Nothing here waits without a bound.
  2. The log is read to its end by a thread, so a server never blocks on a full pipe. A line is
     either JSON or `noise`: what a library or the interpreter printed past our logging.
  3. It listens on a unix socket unless told otherwise. A free TCP port is free only for as long
     as nobody else takes it, which over many restarts somebody does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
READY: Final = "ready to serve client requests"
WAIT_MAX_S: Final = 30.0  # For a line or for the end; a loaded machine gets patience.

Line = dict[str, Any]


class UnexpectedEndError(AssertionError):
    """The process ended, or kept silent, where a line of its log was waited for."""


class ServerProcess:
    """One run of the server. It is starting when made; `wait_until_ready` waits for the rest."""

    def __init__(
        self,
        data_dir: Path,
        *flags: str,
        socket: Path | None = None,
        url: str = "",
        wrapper: Sequence[str] = (),
        module: str = "server",
    ) -> None:
        """
        Args:
            data_dir: need not exist.
            flags: more of them.
            socket: of a unix domain, to listen on; short, as sockets' paths are.
            url: to listen on instead of `socket`.
            wrapper: a command to run the server under.
            module: what is run as the server.
        """
        assert bool(url) != bool(socket), "one of the two"
        self.data_dir = data_dir
        self.url = url or f"unix://{socket}"
        self.target = f"unix:{socket}" if socket else url.removeprefix("http://")
        self.noise: list[str] = []
        self._lines: list[Line] = []
        self._news = threading.Condition()
        self._has_ended = False
        self._process = subprocess.Popen(
            [
                *wrapper,
                *(sys.executable, "-m", module),
                f"--data-dir={data_dir}",
                f"--listen-client-urls={self.url}",
                f"--advertise-client-urls={self.url}",
                *flags,
            ],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name="server log", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of what was started: the wrapper, if there is one."""
        return self._process.pid

    @property
    def lines(self) -> list[Line]:
        """The log so far."""
        with self._news:
            return list(self._lines)

    @property
    def messages(self) -> list[str]:
        return [line["msg"] for line in self.lines]

    def fatal(self) -> Line:
        """The one line that says why the process ended.

        Raises:
            AssertionError: there is none, or more than one, or a trace of a crash beside it.
        """
        fatal = [line for line in self.lines if line["level"] == "fatal"]
        assert len(fatal) == 1, self.described()
        assert not any("Traceback" in line for line in self.noise), self.described()
        return fatal[0]

    def described(self) -> str:
        """Everything it printed, for a failing test to show."""
        return "\n".join([*(json.dumps(line) for line in self.lines), *self.noise])

    def wait_until_ready(self) -> Self:
        """Return once it serves clients.

        Raises:
            UnexpectedEndError: it never did.
        """
        self.wait_for(READY)
        return self

    def wait_for(self, message: str) -> Line:
        """The first line with that text, as soon as it is there.

        Raises:
            UnexpectedEndError: the log ended without it, or it did not come in time.
        """

        def found() -> Line | None:
            return next((line for line in self._lines if line["msg"] == message), None)

        self._wait(lambda: found() is not None or self._has_ended)
        line = found()
        if line is None:
            raise UnexpectedEndError(f"no line {message!r} in the log:\n{self.described()}")
        return line

    def wait(self) -> int:
        """The exit code, or the negative number of the signal that ended it, once it ended.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        code = self._process.wait(WAIT_MAX_S)
        self._reader.join(WAIT_MAX_S)
        return code

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def catches(self, number: signal.Signals) -> bool:
        """Whether it has a handler of its own for the signal by now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (caught,) = [line for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(int(caught.split()[1], 16) >> number - 1 & 1)

    def has_open(self, path: Path) -> bool:
        """Whether it has that file open now."""
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                if descriptor.readlink() == path:
                    return True
            except FileNotFoundError:  # Closed meanwhile.
                continue
        return False

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait for its end."""
        self._process.kill()
        self.wait()

    def terminate(self) -> int:
        """Ask it to end; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Make sure that it has ended. Again is harmless."""
        if self.is_running:
            self._process.kill()
        self.wait()

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._news:
            self._news.wait_for(condition, WAIT_MAX_S)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as log:
            for text in log:
                try:
                    line = json.loads(text)
                except ValueError:
                    line = None
                with self._news:
                    if isinstance(line, dict) and "msg" in line:
                        self._lines.append(line)
                    else:
                        self.noise.append(text.rstrip())
                    self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()


def environment() -> dict[str, str]:
    """This process's, without settings of etcd in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
