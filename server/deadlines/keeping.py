"""The deadlines over one run of the process: from what the last one left to the end of this.

In this order, so that a kill at any point costs no lease any of its time: this run's file is begun
beside the old one; the store counts the start; the old file is read; the leases are promoted with
what they have left, which fills the new file; the new one takes the old one's place; and only then
is anybody served.
"""

from __future__ import annotations

import logging
from pathlib import Path

from lease.lessor import Lessor
from server.datadir import DataDir
from server.deadlines.previous import Previous, read_previous
from server.deadlines.table import DeadlineTable
from server.log import fields
from server.settings.config import StartError

logger = logging.getLogger(__name__)


class Keeping:
    def __init__(self, directory: DataDir, *, keeps: bool, boot_id_file: Path) -> None:
        """Begin this run's file. The directory is locked by now, and stays so."""
        self._directory = directory
        self._keeps = keeps
        self._boot_id_file = boot_id_file
        self.table: DeadlineTable | None = None
        if not keeps:
            return
        try:
            self.table = DeadlineTable.create(directory.deadlines)
        except OSError as error:
            logger.warning(
                "leases' deadlines cannot be kept; each gets its full TTL after the next start",
                extra=fields(path=str(directory.deadlines), error=str(error)),
            )

    def promote(self, lessor: Lessor, *, start: int, now: float) -> None:
        """Let leases go on with what they had left, and put this run's file in force.

        `start` is this start's number, by the count of the store.

        Raises:
            StartError: the old file can neither be read nor replaced.
        """
        directory, table = self._directory, self.table
        try:
            previous = self._previous(lessor, start) if self._keeps else Previous()
            lessor.promote(0, now=now, spent=previous.spent)
            lessor.keep_time(now)
            if table is not None:
                table.commit(start, directory.home, directory.lock_file, self._boot_id_file)
            else:
                # It must never come into force again: these leases will be renewed.
                directory.deadlines.unlink(missing_ok=True)
        except OSError as error:
            raise StartError(f"cannot take over leases' deadlines: {error}") from error

    def _previous(self, lessor: Lessor, start: int) -> Previous:
        directory = self._directory
        previous = read_previous(
            directory.deadlines,
            directory.home,
            directory.lock_file,
            self._boot_id_file,
            last_start=start - 1,
        )
        if previous.damaged:
            logger.warning(
                "some leases' deadlines are damaged; those get their full TTL",
                extra=fields(path=str(directory.deadlines), damaged=previous.damaged),
            )
        if not len(lessor):
            return previous
        if previous.reason:
            logger.info(
                "every lease gets its full TTL",
                extra=fields(leases=len(lessor), reason=previous.reason),
            )
        else:
            logger.info(
                "leases go on with the time they had left",
                extra=fields(leases=len(lessor), known=len(previous.spent)),
            )
        return previous

    def invalidate(self) -> None:
        """Nobody may believe this run's file: memory and disk disagree, or may."""
        if self.table is not None:
            self.table.invalidate()

    def close(self) -> None:
        """Let go of the file. It stays in force for the next start."""
        if self.table is not None:
            self.table.close()
