"""A data directory that is made whole or not at all.

It is filled under another name, synced, and takes its own name as the last step. Whatever
interrupts that leaves a directory under the other name, which the server refuses to start beside,
and which the next restore removes.

Where the data directory is not there yet, the other name stands beside it:

    <data-dir>.restoring/tenure  ->  <data-dir>/tenure

Where it is there and empty it may be a mount point, which nothing can be renamed to:

    <data-dir>/tenure.restoring  ->  <data-dir>/tenure
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Self

from mvcc.backend.names import sync_directory
from server.datadir import (
    MODE,
    DataDir,
    DataDirError,
    unfinished_beside,
    unfinished_within,
)


class Stage:
    """The unfinished directory. A context: what is not committed by its end is removed."""

    def __init__(self, data_dir: Path) -> None:
        """Make it.

        Raises:
            DataDirError: there is something in `data_dir`, or another restore is at work on it.
        """
        within = unfinished_within(data_dir)
        try:
            is_there = data_dir.exists()
            held = [each for each in data_dir.iterdir() if each != within] if is_there else []
        except OSError:
            held = [data_dir]
        if held:  # etcd's text.
            raise DataDirError(f'data-dir "{data_dir}" not empty or could not be read')
        self.root = within if is_there else unfinished_beside(data_dir)
        self._target = DataDir(data_dir).home if is_there else data_dir
        # The folders that are made on the way to it: their names, too, are to survive.
        self._made = [each for each in self.root.parents if not each.exists()]
        try:
            self._lock = self._take()
            home = self.root if is_there else self.root / self._target_home(data_dir)
            home.mkdir(mode=MODE, exist_ok=True)
        except OSError as error:
            reason = f"{error.strerror} ({error.filename})"
            raise DataDirError(f"cannot restore into {data_dir}: {reason}") from error
        self.store = home / DataDir(data_dir).store.name
        self.mark = home / DataDir(data_dir).mark.name
        self._is_committed = False

    @staticmethod
    def _target_home(data_dir: Path) -> Path:
        return DataDir(data_dir).home.relative_to(data_dir)

    def _take(self) -> int:
        """Make the directory anew and lock it; returns the descriptor that holds the lock."""
        self.root.mkdir(mode=MODE, parents=True, exist_ok=True)
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DataDirError(f"another restore is making {self.root}") from None
        for remains in self.root.iterdir():
            if remains.is_dir():
                shutil.rmtree(remains)
            else:
                remains.unlink()
        return descriptor

    def commit(self) -> None:
        """Give what was made its own name. It survives a power cut from here on.

        Raises:
            OSError
        """
        for directory in (self.store, self.store.parent, self.root):
            sync_directory(directory)
        self.root.rename(self._target)
        self._is_committed = True
        for directory in (self._target.parent, *(each.parent for each in self._made)):
            sync_directory(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_committed:
            shutil.rmtree(self.root, ignore_errors=True)  # What stays is refused by name.
        os.close(self._lock)
