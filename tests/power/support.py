"""A recorded run, for tests: where its images go, and how a recorder is started."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.power import ptrace
from tests.support.quick import MEMORY

NEEDS_PTRACE: Final = pytest.mark.skipif(
    not ptrace.is_possible(), reason="this machine does not let a process trace its child"
)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards, with `top` for a program and `out` for its cuts."""
    path = Path(tempfile.mkdtemp(prefix="tenure-power-", dir=MEMORY)).resolve()
    try:
        (path / "top").mkdir()
        (path / "out").mkdir()
        yield path
    finally:
        shutil.rmtree(path)


def record(path: Path, *command: str, lives: int, cuts: int, seed: int) -> None:
    """Run `python -m COMMAND...` that often under trace; it must end well every time."""
    options = ("--lives", str(lives), "--cuts", str(cuts), "--seed", str(seed), "--")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.power.record", str(path / "top"), str(path / "out")),
            *options,
            *(sys.executable, "-m", *command),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
