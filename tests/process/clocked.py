"""Lives of one server, one after the other, whose time stands still unless the test moves it.

Time here is served time: seconds that leases were served, summed over all lives.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.process.client import Client
from tests.support.clocked import TestClock
from tests.support.process import Line, ServerProcess

BOOT: Final = "11111111-2222-3333-4444-555555555555\n"
GOES_ON: Final = "leases go on with the time they had left"
FULL_TTL: Final = "every lease gets its full TTL"


class Lives:
    def __init__(self, directory: Path, sockets: Path, stack: ExitStack) -> None:
        self.data_dir = directory / "data"
        self.boot_id = directory / "boot_id"
        self.boot_id.write_text(BOOT)
        self._directory = directory
        self._sockets = sockets
        self._stack = stack
        self._lives = 0
        self._least = 0.0  # Served time of the lives before this one.
        self._most = 0.0
        self.server: ServerProcess
        self.client: Client
        self._clock: TestClock

    def spawn(self, *flags: str, data_dir: Path | None = None) -> ServerProcess:
        """A life on its way up."""
        self._lives += 1
        self._clock = TestClock(self._directory / f"clock{self._lives}")
        self.server = self._stack.enter_context(
            ServerProcess(
                data_dir or self.data_dir,
                self._clock.flag,
                f"--test-boot-id={self.boot_id}",
                *flags,
                socket=self._sockets / str(self._lives),
                module="tests.support.clocked",
            )
        )
        return self.server

    def start(self, *flags: str, data_dir: Path | None = None) -> Client:
        """A life that serves, and a client of it."""
        server = self.spawn(*flags, data_dir=data_dir).wait_until_ready()
        self.client = self._stack.enter_context(Client(server.target))
        return self.client

    def kill(self) -> None:
        """kill -9; the time that had been asked for stays where it was."""
        self.server.kill()
        self._count()

    def terminate(self) -> None:
        """SIGTERM, to the end."""
        self.server.terminate()
        self._count()

    def _count(self) -> None:
        self._least, self._most = self.served_least, self.served_most
        self._clock = TestClock(self._directory / "none")

    def advance(self, seconds: float) -> None:
        """Let leases be served for so long."""
        self._clock.advance(seconds)

    def begin_to_advance(self, seconds: float) -> None:
        """The same, without waiting for it."""
        self._clock.ask(seconds)

    @property
    def served_least(self) -> float:
        """Served time; between this and `served_most`, which differ once a kill came in a step."""
        return self._least + self._clock.done

    @property
    def served_most(self) -> float:
        return self._most + self._clock.begun

    def said(self) -> Line:
        """The line about deadlines in this life's log."""
        (line,) = [each for each in self.server.lines if each["msg"] in (GOES_ON, FULL_TTL)]
        return line

    def copy(self, to: Path) -> Path:
        """Copy the data directory as `cp -a` would."""
        shutil.copytree(self.data_dir, to)
        return to
