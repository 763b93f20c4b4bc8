"""What a program under test wrote and what it acknowledged, in the order in which it did.

The story stands in a file beside the data, which no power cut of ours touches. Each entry is
appended by one system call, so that at any moment a tracer may take the file's length for what
has happened so far.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mvcc.backend.base import Backend, Column

Row = tuple[int, bytes, bytes | None]  # Column, key, value; None deletes.
Rows = dict[tuple[int, bytes], bytes]

_LENGTH: Final = struct.Struct("<I")


def rows_of(backend: Backend) -> Rows:
    """All that a store holds."""
    return {(int(column), key): value for column in Column for key, value in backend.scan(column)}


class Storyteller:
    """The program's end of it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._batches = 0

    def opened(self, backend: Backend) -> None:
        """A life begins, on a store that holds this."""
        self._tell(("opened", rows_of(backend)))

    def will_write(self, batch: list[Row]) -> None:
        """From now on the batch may be on the disk."""
        self._batches += 1
        self._tell(("batch", batch))

    def acknowledged(self) -> None:
        """All batches so far must be on the disk."""
        self._tell(("acknowledged", self._batches))

    def _tell(self, entry: object) -> None:
        packed = pickle.dumps(entry)
        data = _LENGTH.pack(len(packed)) + packed
        assert os.write(self._file, data) == len(data)


@dataclass(slots=True)
class Life:
    """What is known of one life of the program at one moment."""

    opened: Rows | None = None
    batches: list[list[Row]] = field(default_factory=list)
    acknowledged: int = 0  # Batches.

    def states(self) -> Iterator[Rows]:
        """What the store may hold: all that was acknowledged, and any more, in order, whole."""
        if self.opened is None:
            return
        rows = dict(self.opened)
        for number, batch in enumerate(self.batches, 1):
            if number > self.acknowledged:
                yield dict(rows)
            for column, key, value in batch:
                if value is None:
                    rows.pop((column, key), None)
                else:
                    rows[column, key] = value
        yield rows


def read(path: Path, acknowledged_bytes: int, begun_bytes: int) -> Life:
    """A life's story, up to two lengths of its file: what was done, what may have been begun."""
    life = Life()
    at = 0
    data = path.read_bytes()[:begun_bytes] if path.exists() else b""
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        if at > len(data):
            break
        name, what = pickle.loads(data[at - length : at])  # our own
        if name == "opened":
            life.opened = what
        elif name == "batch":
            life.batches.append(what)
        elif at <= acknowledged_bytes:
            life.acknowledged = what
    return life
