"""etcdctl as a person uses it: a command that ends, or one that runs on and prints lines.

Waiting is always for a line or for the end, with a deadline; nothing here sleeps.
"""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from compat.waiting import WAIT_MAX_S
from compat.wires import Identity

RUN_MAX_S: Final = 20.0


@dataclass(frozen=True)
class Result:
    """How a command ended. `stderr` is without the client library's own log lines."""

    stdout: str
    stderr: str
    code: int


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    return kept | {"ETCDCTL_API": "3"}


def _without_log(stderr: str) -> str:
    """Drop the lines the client library logs on its own account, which are JSON objects."""
    return "".join(
        line for line in stderr.splitlines(keepends=True) if not line.startswith('{"level":')
    )


class Running:
    """An etcdctl that has not ended: its lines come as it prints them."""

    def __init__(self, command: list[str], stdin: str | None) -> None:
        self._process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()  # None: no more will come.
        self._errors: list[str] = []
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        if stdin is not None:
            self.write(stdin)

    def write(self, text: str) -> None:
        """Type `text`; the input stays open for more."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def line(self, within_s: float = WAIT_MAX_S) -> str:
        """The next line printed.

        Raises:
            TimeoutError: none came within `within_s` seconds.
            EOFError: the command ended instead.
        """
        try:
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            raise TimeoutError(f"no line within {within_s} s; stderr: {self._errors}") from None
        if line is None:
            self._lines.put(None)
            raise EOFError(f"the command ended; stderr: {self._errors}")
        return line

    def lines(self, count: int, within_s: float = WAIT_MAX_S) -> list[str]:
        """The next `count` lines, each awaited as by `line`."""
        return [self.line(within_s) for _ in range(count)]

    def silent(self) -> bool:
        """True if every line printed so far has been taken and the command still runs."""
        return self._lines.empty() and self._process.poll() is None

    def send(self, how: signal.Signals) -> None:
        """Send a signal, as Ctrl-C or a crash would."""
        self._process.send_signal(how)

    def end(self, within_s: float = WAIT_MAX_S) -> Result:
        """Wait for the command to end by itself; the lines not yet taken are the stdout.

        Raises:
            TimeoutError: it still runs after `within_s` seconds.
        """
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {within_s} s") from None
        for thread in self._threads:
            thread.join()
        rest = []
        while (line := self._lines.get()) is not None:
            rest.append(line + "\n")
        self._lines.put(None)
        return Result("".join(rest), _without_log("".join(self._errors)), code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr:
            self._errors.extend(self._process.stderr)


@dataclass(frozen=True)
class Etcdctl:
    """One version of etcdctl, pointed at one server."""

    path: Path
    version: str
    endpoint: str
    identity: Identity | None = None  # For TLS.

    @property
    def line(self) -> str:
        """The release line, such as 3.5."""
        return self.version.rpartition(".")[0]

    def run(self, *args: str, stdin: str = "") -> Result:
        """Run to the end, whatever the exit code."""
        done = subprocess.run(
            self._command(*args),
            env=_environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=RUN_MAX_S,
            check=False,
        )
        return Result(done.stdout, _without_log(done.stderr), done.returncode)

    def __call__(self, *args: str, stdin: str = "") -> str:
        """Run to the end and return what was printed; anything but success is an error."""
        result = self.run(*args, stdin=stdin)
        assert result.code == 0, result
        return result.stdout

    @contextmanager
    def running(self, *args: str, stdin: str | None = None) -> Iterator[Running]:
        """Start a command that does not end by itself; it is killed at the end of the block."""
        with Running(self._command(*args), stdin) as running:
            yield running

    def _command(self, *args: str) -> list[str]:
        command = [str(self.path), "--endpoints", self.endpoint]
        if self.identity is not None:
            command += [
                *("--cacert", str(self.identity.ca_file)),
                *("--cert", str(self.identity.cert_file)),
                *("--key", str(self.identity.key_file)),
            ]
        return [*command, *args]
