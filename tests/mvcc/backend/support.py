"""A store that dies, a bit that flips, a disk that is full: by hand, on real files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvcc.backend.base import Column
from mvcc.backend.journal import find
from mvcc.backend.rocks import RocksBackend

VALUE = b"v" * 100

# Writes one-row batches, syncs and marks each, reports, and dies without closing anything.
WRITE_AND_DIE = """
import os, pathlib, signal, sys
from mvcc.backend.base import Column
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
path, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
backend = RocksBackend.open(path / "db")
mark = Mark.open(path / "mark")
for number in range(1, rows + 1):
    batch = backend.batch()
    batch.put(Column.KEY, number.to_bytes(8, "big"), b"v" * 100)
    backend.write(batch)
    backend.sync()
    mark.set(number, backend.sequence())
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_die(path: Path, rows: int) -> None:
    command = [sys.executable, "-c", WRITE_AND_DIE, os.fspath(path), str(rows)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def put(backend: RocksBackend, column: Column, number: int, value: bytes = VALUE) -> None:
    batch = backend.batch()
    batch.put(column, number.to_bytes(8, "big"), value)
    backend.write(batch)


def numbers(backend: RocksBackend) -> list[int]:
    return [int.from_bytes(key, "big") for key, _ in backend.scan(Column.KEY)]


def the_journal(path: Path) -> tuple[Path, int]:
    """The journal's file that was written last, and where its records end."""
    found = find(path)
    assert found is not None
    return found.newest.path, found.newest.end


def flip_a_bit(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 0x10
    file.write_bytes(content)


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond that. To a program it is as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
