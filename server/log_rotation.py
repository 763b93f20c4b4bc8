"""A log file that begins anew when it is full, by the rules of etcd's (the package lumberjack).

The full one is renamed to `name-<time>.ext`, the time in UTC to the millisecond. What is older
than so many days or beyond so many files is deleted, and what stays is packed if that is asked
for; a thread of its own does it, since packing takes seconds. A line is never split, and one that
is longer than a file may be has a file to itself.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NamedTuple

MEGABYTE: Final = 1024 * 1024
DEFAULT_MB: Final = 100  # What a size of 0 means.
DEFAULT_TEXT: Final = (
    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}'
)
_STAMP: Final = "%Y-%m-%dT%H-%M-%S.%f"
_PACKED: Final = ".gz"
_MILLISECONDS: Final = -3  # Digits too many in what %f writes.


class Rotation(NamedTuple):
    maxsize: int = DEFAULT_MB  # Megabytes of a file.
    maxage: int = 0  # Days that an old file is kept; 0 for ever.
    maxbackups: int = 0  # How many old files are kept; 0 for all.
    localtime: bool = False  # Whether their names have local time.
    compress: bool = False


def parse_rotation(text: str) -> Rotation:
    """Read --log-rotation-config-json; fields that nobody knows are ignored.

    Raises:
        ValueError: with etcd's words for what is wrong (server/embed/config_logging.go).
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"improperly formatted log rotation config: {error}") from error
    if not isinstance(given, dict):
        raise ValueError("invalid log rotation config: it is no object")  # noqa: TRY004  # as above
    known = {}
    for name, value in given.items():
        default = Rotation._field_defaults.get(name.lower())
        if default is None or value is None:
            continue
        if type(value) is not type(default) or value < 0:
            raise ValueError(f"invalid log rotation config: {name}: {value!r}")
        known[name.lower()] = value
    rotation = Rotation(**known)
    return rotation if rotation.maxsize else rotation._replace(maxsize=DEFAULT_MB)


class RotatingHandler(logging.FileHandler):
    def __init__(self, path: str, rotation: Rotation) -> None:
        """
        Raises:
            OSError: the file cannot be opened.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # A key of a client may be in a line, so not every text is valid UTF-8 when encoded.
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._path = Path(self.baseFilename)
        self._rotation = rotation
        self._tidying: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.stream is not None and self._is_full(self.stream, record):
                self._rotate(self.stream, record.created)
        except OSError:
            self.handleError(record)
        super().emit(record)

    def _is_full(self, stream: TextIOWrapper, record: logging.LogRecord) -> bool:
        line = self.format(record) + self.terminator
        size = os.fstat(stream.fileno()).st_size
        added = len(line.encode(errors="backslashreplace"))
        return size > 0 and size + added > self._rotation.maxsize * MEGABYTE

    def _rotate(self, stream: TextIOWrapper, now: float) -> None:
        zone = None if self._rotation.localtime else UTC
        moment = datetime.fromtimestamp(now, zone)
        stamp = moment.strftime(_STAMP)[:_MILLISECONDS]
        stream.close()
        try:
            self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        finally:
            self.stream = self._open()
        self._wait()
        self._tidying = threading.Thread(
            target=self._tidy, args=(moment.replace(tzinfo=None),), name="log files", daemon=True
        )
        self._tidying.start()

    def _wait(self) -> None:
        if self._tidying is not None:
            self._tidying.join()

    def close(self) -> None:
        self._wait()
        super().close()

    def _tidy(self, now: datetime) -> None:
        rotation = self._rotation
        kept = 0
        for moment, paths in sorted(self._old().items(), reverse=True):
            is_old = rotation.maxage and moment < now - timedelta(days=rotation.maxage)
            if is_old or (rotation.maxbackups and kept >= rotation.maxbackups):
                for path in paths:
                    path.unlink(missing_ok=True)
                continue
            kept += 1
            for path in paths:
                if rotation.compress and path.suffix != _PACKED:
                    _pack(path)

    def _old(self) -> dict[datetime, list[Path]]:
        """The files that were full, by when."""
        found: dict[datetime, list[Path]] = {}
        begin, end = f"{self._path.stem}-", self._path.suffix
        for path in self._path.parent.iterdir():
            name = path.name.removesuffix(_PACKED)
            if not (name.startswith(begin) and name.endswith(end)):
                continue
            try:
                moment = datetime.strptime(name[len(begin) : len(name) - len(end)], _STAMP)  # noqa: DTZ007  # of no zone, as those it is compared with
            except ValueError:
                continue  # Somebody else's.
            found.setdefault(moment, []).append(path)
        return found


def _pack(path: Path) -> None:
    packed = path.with_name(path.name + _PACKED)
    unfinished = packed.with_name(packed.name + ".tmp")
    with path.open("rb") as plain, gzip.open(unfinished, "wb") as into:
        shutil.copyfileobj(plain, into)
    unfinished.replace(packed)
    path.unlink()
