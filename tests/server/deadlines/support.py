"""A data directory, a lessor whose time is kept in it, and what the next start makes of that."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lease.lessor import LeaseID, Lessor
from server.datadir import DataDir
from server.deadlines.layout import BYTES_MAX, BYTES_MIN, PAGE_BYTES, SLOT_BYTES
from server.deadlines.previous import Previous, read_previous
from server.deadlines.table import DeadlineTable
from tests.lease.support import Deleter, MemoryBucket

BOOT: Final = "0b0c70c6-5c9c-4a5e-8f2e-3c1f6a0f7d11\n"
START: Final = 5  # The number of the start that keeps the time.
FIRST_SLOTS: Final = (BYTES_MIN - PAGE_BYTES) // SLOT_BYTES - 1  # Without the scrap.


class Run:
    """One start on `root`, served from clock time 100 on."""

    def __init__(self, root: Path, *, bytes_max: int = BYTES_MAX, boot: str = BOOT) -> None:
        self.directory = DataDir.prepare(root / "data")
        self.boot_id = root / "boot_id"
        self.boot_id.write_text(boot)
        self.table = DeadlineTable.create(self.path, bytes_max=bytes_max)
        self.bucket = MemoryBucket()
        self.lessor = Lessor(self.bucket, Deleter(), ttl_min=2, deadlines=self.table)
        self.lessor.promote(0, now=100)
        self.lessor.keep_time(100)
        self.commit()

    @property
    def path(self) -> Path:
        return self.directory.deadlines

    def commit(self) -> None:
        self.table.commit(START, self.directory.home, self.directory.lock_file, self.boot_id)

    def grant(self, lease_id: int, ttl: int, *, now: float) -> None:
        """To the end: its client is told."""
        lease = self.lessor.grant(LeaseID(lease_id), ttl, now=now)
        self.lessor.restart(lease, now=now)

    def next(self, *, last_start: int | None = None, directory: DataDir | None = None) -> Previous:
        """What the next start finds."""
        found = directory or self.directory
        return read_previous(
            found.deadlines,
            found.home,
            found.lock_file,
            self.boot_id,
            last_start=START if last_start is None else last_start,
        )
