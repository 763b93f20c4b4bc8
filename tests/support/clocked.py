"""A server whose time a test moves, as a process: `python -m tests.support.clocked`.

It takes the server's flags and two of its own, which the server itself refuses as it refuses any
flag it does not know:

    --test-clock=PATH      time stands still but for what the test asks for in this file
    --test-boot-id=PATH    read instead of the machine's boot id

The rest is the server as it is, `server.app.run` with a clock.
"""

from __future__ import annotations

import asyncio
import mmap
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from server import app, cli
from tests.support.clock import FakeClock

STEP_S: Final = 0.05  # Time moves so much at once: a tick, so that nothing looks like a stall.
LOOK_S: Final = 0.002  # Real time between two looks at the file.
WAIT_MAX_S: Final = 30.0
_ASKED, _BEGUN, _DONE = range(3)


class TestClock:
    """The test's side: three numbers in a mapped file, in seconds since the server's start."""

    __test__ = False  # pytest takes it for a test by its name.

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(3 * 8))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 3 * 8)
        self._words = memoryview(self._page).cast("d")
        self.flag = f"--test-clock={path}"

    def ask(self, seconds: float) -> None:
        """Let time move on; do not wait for it."""
        self._words[_ASKED] += seconds

    def advance(self, seconds: float) -> None:
        """Let time move on, and return when it has."""
        self.ask(seconds)
        until = time.monotonic() + WAIT_MAX_S
        while self.done < self._words[_ASKED]:
            assert time.monotonic() < until, "the server's time does not move"
            time.sleep(LOOK_S)

    @property
    def done(self) -> float:
        """How far the server has come, at least."""
        return self._words[_DONE]

    @property
    def begun(self) -> float:
        """How far it has come, at most."""
        return self._words[_BEGUN]


class FileClock(FakeClock):
    """The server's side. Its monotonic time begins anywhere, as a machine's does."""

    def __init__(self, path: Path) -> None:
        super().__init__(random.Random().uniform(1, 1e6))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 3 * 8)
        self._words = memoryview(self._page).cast("d")
        self._mover: asyncio.Task[None] | None = None

    async def sleep_until(self, deadline: float) -> None:
        if self._mover is None:
            self._mover = asyncio.get_running_loop().create_task(self._move())
        await super().sleep_until(deadline)

    async def _move(self) -> None:
        words = self._words
        while True:
            while words[_DONE] < words[_ASKED]:
                next_s = min(words[_DONE] + STEP_S, words[_ASKED])
                words[_BEGUN] = next_s
                await self.advance(next_s - words[_DONE])
                words[_DONE] = next_s
            await asyncio.sleep(LOOK_S)


def main(arguments: Sequence[str]) -> int:
    """Run the server with what is left of `arguments` without those of the test."""
    own = dict(each.split("=", 1) for each in arguments if each.startswith("--test-"))
    rest = [each for each in arguments if not each.startswith("--test-")]
    run = partial(
        app.run,
        clock=FileClock(Path(own["--test-clock"])),
        boot_id_file=Path(own["--test-boot-id"]),
    )
    return cli.main(rest, run=run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
