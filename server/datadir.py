"""The data directory: what is in it, and that one process at a time uses it.

    <data-dir>/tenure/store      the RocksDB database
    <data-dir>/tenure/mark       the newest revision ever acknowledged
    <data-dir>/tenure/deadlines  how much of its TTL each lease has left, within one boot
    <data-dir>/tenure/lock       held from before the store is opened until after it is closed

A directory that holds the data of a real etcd is refused: an empty store beside it would answer
as if the keys were gone. So is one that a restore of a snapshot has not finished. Everything made
here is on the disk, names included, before `prepare` returns, so a power cut cannot leave a store
without the directory that leads to it.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final, Self

from mvcc.backend.names import sync_directory
from server.clock import Clock
from server.log import fields
from server.settings.config import StartError

logger = logging.getLogger(__name__)

MODE: Final = 0o700  # The owner's alone, as etcd makes it.
LOCK_POLL_S: Final = 0.1  # A holder that ends is noticed this late at most.
LOCK_REMARK_S: Final = 10.0  # How often a start that waits for the lock says so.
LOCK_REMARK: Final = "db file is flocked by another process, or taking too long"

# Where an etcd keeps its data (server/storage/datadir); one of them is enough to know it.
_ETCD_DB: Final = Path("member/snap/db")
_ETCD_MARKS: Final = (_ETCD_DB, Path("member/wal"))
REPAIRED: Final = ".repaired"  # Behind `store` while a repaired one takes its place (see `Place`).
UNFINISHED: Final = ".restoring"  # Behind the name of what a restore is making (see `Stage`).


class DataDirError(StartError):
    """The data directory cannot be used. The text names the path and the reason."""


class Lock:
    """The lock on a data directory. Held while this object is not released, and by no copy."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let another process have the directory. Again is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # Closing drops the lock; the file stays.
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class DataDir:
    """The paths within one data directory. Made by `prepare`, which checks them."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "tenure"

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def mark(self) -> Path:
        return self.home / "mark"

    @property
    def deadlines(self) -> Path:
        return self.home / "deadlines"

    @property
    def lock_file(self) -> Path:
        return self.home / "lock"

    @property
    def is_new(self) -> bool:
        """Whether no server ever got as far as making a store here."""
        return not self.store.exists() and not self.mark.exists()

    @classmethod
    def prepare(cls, root: Path) -> Self:
        """Make the directory if it is missing, and see that it is one to use.

        Raises:
            DataDirError: it is another program's, or it cannot be made or written.
        """
        self = cls(root)
        try:
            self._refuse_etcd()
            self._refuse_unfinished()
            self.refuse_half_repaired()
            self._make()
        except OSError as error:
            raise DataDirError(f"cannot use data directory {root}: {_reason(error)}") from error
        return self

    def _refuse_etcd(self) -> None:
        for mark in _ETCD_MARKS:
            if (self.root / mark).exists():
                imported = self.root.with_name(f"{self.root.name}.tenure")
                source, target = (quote(str(each)) for each in (self.root / _ETCD_DB, imported))
                raise DataDirError(
                    f"{self.root} is the data directory of an etcd ({mark} is there). Nothing in it"
                    " was changed. To serve what it holds, stop that etcd, run `tenure snapshot"
                    f" restore {source} --skip-hash-check --data-dir {target}` and start with"
                    f" --data-dir {target}"
                )

    def _refuse_unfinished(self) -> None:
        beside, within = unfinished_beside(self.root), unfinished_within(self.root)
        for remains in (within, *(() if self.root.exists() else (beside,))):
            if remains.exists():
                raise DataDirError(
                    f"a restore into {self.root} has not finished ({remains} is there). Run"
                    " `tenure snapshot restore` again; or remove that directory to start without"
                    " data."
                )

    def _make(self) -> None:
        missing = [each for each in (self.root, *self.root.parents) if not each.exists()]
        self.root.mkdir(mode=MODE, parents=True, exist_ok=True)
        mode = self.root.stat().st_mode & 0o777
        if mode != MODE:
            logger.warning(
                "data directory can be read by other users of this machine",
                extra=fields(path=str(self.root), mode=f"{mode:03o}", recommended=f"{MODE:03o}"),
            )
        self.home.mkdir(mode=MODE, exist_ok=True)
        os.close(self._open_lock_file())
        for changed in (self.home, self.root, *(each.parent for each in missing)):
            sync_directory(changed)

    def try_lock(self) -> Lock:
        """Lock the directory at once.

        Raises:
            DataDirError: another process uses it, or the lock file cannot be opened.
        """
        try:
            descriptor = self._open_lock_file()
        except OSError as error:
            reason = _reason(error)
            raise DataDirError(f"cannot lock data directory {self.root}: {reason}") from error
        if not _try_lock(descriptor):
            os.close(descriptor)
            raise DataDirError(f"{self.root} is in use by another process; end that server first")
        return Lock(descriptor)

    def refuse_half_repaired(self) -> None:
        """Asked again under the lock: a repair may have begun meanwhile.

        Raises:
            DataDirError: a repair was interrupted while it put the new store in place.
        """
        if (remains := self.store.with_name(self.store.name + REPAIRED)).exists():
            raise DataDirError(
                f"a repair of {self.root} has not finished ({remains} is there)."
                f" Run `{self.repair}` again"
            )

    @property
    def repair(self) -> str:
        return f"tenure repair --data-dir {quote(str(self.root))}"

    @property
    def way_on(self) -> str:
        """Behind a refusal of a damaged store."""
        return f"`{self.repair}` saves what can be saved; with --dry-run it only says what is lost"

    async def lock(self, clock: Clock, waiting: Callable[[float], None]) -> Lock:
        """Wait until no other process uses the directory; then none can until the release.

        The wait is without end, as etcd's is, but it is made of short sleeps: a signal or a
        cancellation ends it.

        Args:
            clock: measures the wait.
            waiting: told every 10 s for how many seconds this has waited.

        Raises:
            DataDirError: the lock file cannot be opened.
        """
        try:
            descriptor = self._open_lock_file()
        except OSError as error:
            reason = _reason(error)
            raise DataDirError(f"cannot lock data directory {self.root}: {reason}") from error
        began = clock.now()
        remark_at = began + LOCK_REMARK_S
        try:
            while not _try_lock(descriptor):
                await clock.sleep_until(clock.now() + LOCK_POLL_S)
                if clock.now() >= remark_at:
                    waiting(clock.now() - began)
                    remark_at += LOCK_REMARK_S
        except BaseException:
            os.close(descriptor)
            raise
        return Lock(descriptor)

    def remark_on_wait(self, waited_s: float) -> None:
        """Log that the lock is still held by another; etcd's words, which tests wait for."""
        logger.info(LOCK_REMARK, extra=fields(path=str(self.lock_file), took=f"{waited_s:.1f}s"))

    def _open_lock_file(self) -> int:
        return os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unfinished_beside(root: Path) -> Path:
    """What a restore makes before it becomes the data directory `root`, which is not there yet."""
    return root.with_name(root.name + UNFINISHED)


def unfinished_within(root: Path) -> Path:
    """The same where `root` is there and empty, and may be a mount point: `root`'s content."""
    home = DataDir(root).home
    return home.with_name(home.name + UNFINISHED)


def _reason(error: OSError) -> str:
    """What the system said, and about which path if that is another one."""
    return f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
