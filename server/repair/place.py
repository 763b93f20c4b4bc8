"""Where a repair works, and how what it has made takes the place of what was there.

    <data-dir>/tenure/repairing          the copy it reads and the new store, while it is at work
    <data-dir>/tenure/store.repaired     the new store, whole, while all takes its place
    <data-dir>/tenure/store.damaged-1    what was there, as it was; the next repair counts on
    <data-dir>/tenure/mark.damaged-1

`repairing` means nothing and may be removed. While there is a `store.repaired`, no server starts,
and the next repair goes on where this one stopped. Its rename to `store` is the last one, and all
that matter are renames within one directory; so whatever interrupts a repair, a power cut
included, there is never a store of which half is old, and never none.

Tables are never changed once they are written, so the copy shares them with the store by links.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final, Self

from mvcc.backend.names import sync_directory
from server.datadir import MODE, REPAIRED, DataDir, DataDirError, Lock

REPAIRING: Final = "repairing"
_AWAY: Final = re.compile(
    rf"\.damaged-(\d+)$|{re.escape(REPAIRED)}$"
)  # Names of what is not in use.
ROOM_SPARE_BYTES: Final = 64 << 20  # Beyond what is written: logs and diaries of the new store.


class Place:
    """A data directory under repair. A context: its lock is held, and no working copy remains."""

    def __init__(self, data_dir: Path) -> None:
        """Take the directory.

        Raises:
            DataDirError: it is none, or another process uses it.
        """
        self.directory = DataDir(data_dir)
        if not self.directory.home.is_dir():
            raise DataDirError(f"{data_dir} is no data directory of Tenure: it has no `tenure`")
        self._lock: Lock = self.directory.try_lock()
        self._work = self.directory.home / REPAIRING
        self.copy = self._work / "copy"
        self.mark_copy = self._work / "mark-copy"
        self._new = self._work / "new"
        self.store = self._new / self.directory.store.name
        self.mark = self._new / self.directory.mark.name

    @property
    def is_half_done(self) -> bool:
        """An earlier repair was interrupted while it put the new store in place."""
        return _repaired(self.directory.store).exists()

    def prepare(self) -> None:
        """Make the working directories.

        Raises:
            DataDirError: there is no room for it, or nothing to copy.
        """
        store = self.directory.store
        if not store.is_dir():
            raise DataDirError(
                f"there is no store in {self.directory.home}, so nothing can be repaired; "
                "restore a snapshot into another data directory"
            )
        if self._work.exists():
            shutil.rmtree(self._work)
        self._refuse_want_of_room(store)
        self._new.mkdir(mode=MODE, parents=True)
        if self.directory.mark.exists():
            shutil.copyfile(self.directory.mark, self.mark_copy)

    def fresh_copy(self) -> Path:
        """The store as it is, to be spoilt; the copy before is gone."""
        shutil.rmtree(self.copy, ignore_errors=True)
        self.copy.mkdir(mode=MODE)
        for file in self.directory.store.iterdir():
            if not file.is_file() or file.name == "LOCK":
                continue
            if file.suffix == ".sst":
                _link(file, self.copy / file.name)
            else:
                shutil.copyfile(file, self.copy / file.name)
        return self.copy

    def _refuse_want_of_room(self, store: Path) -> None:
        sizes = [file.stat().st_size for file in store.iterdir() if file.is_file()]
        needed = 2 * sum(sizes) + ROOM_SPARE_BYTES  # Rows are not compressed at first.
        free = shutil.disk_usage(store).free
        if free < needed:
            raise DataDirError(
                f"a repair needs up to {needed >> 20} MiB beside {store}, and {free >> 20} MiB are"
                " free. Make room, or copy the data directory to a larger disk and repair it there"
            )

    def commit(self) -> Path:
        """Put the new store in place; returns where the damaged one is kept."""
        home = self.directory.home
        for path in self.store.iterdir():
            _sync_file(path)
        for directory in (self.store, self._new, self._work, home):
            sync_directory(directory)
        self.mark.rename(_repaired(self.directory.mark))
        sync_directory(home)
        self.store.rename(_repaired(self.directory.store))
        sync_directory(home)
        return self.finish()

    def finish(self) -> Path:
        """The second half: nothing is undone by doing it again."""
        home, store, mark = self.directory.home, self.directory.store, self.directory.mark
        number = max(_kept(store), default=0)
        if store.exists():
            number += 1
            store.rename(_damaged(store, number))
        for old in sorted(home.iterdir()):
            if old in (self._work, self.directory.lock_file) or _AWAY.search(old.name):
                continue
            if old == mark and not _repaired(mark).exists():
                continue  # It is the new one.
            old.rename(_damaged(old, number))
        sync_directory(home)
        if _repaired(mark).exists():
            _repaired(mark).rename(mark)
        sync_directory(home)
        _repaired(store).rename(store)
        sync_directory(home)
        return _damaged(store, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._work, ignore_errors=True)  # What stays means nothing.
        self._lock.release()


def _repaired(path: Path) -> Path:
    return path.with_name(path.name + REPAIRED)


def _damaged(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


def _kept(store: Path) -> list[int]:
    """The numbers of the stores that earlier repairs have kept."""
    names = [each.name for each in store.parent.glob(f"{store.name}.damaged-*")]
    return [int(found[1]) for name in names if (found := _AWAY.search(name))]


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # A file system without links.
        shutil.copyfile(file, target)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
