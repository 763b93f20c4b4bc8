"""The deadlines that a running server keeps: `lease.deadlines.Deadlines` in a mapped file.

It is made under another name, complete before it takes its own: a start that is killed leaves the
file of the process before it in force. Its blocks are really allocated before they are mapped, so
that a full disk is an error here, when it grows, and no SIGBUS at a renewal. (A file system that
copies on write may have neither room nor that promise; then the process ends, as a full disk makes
it end anyway.) What cannot be kept is never a reason to refuse a lease: it has its full TTL after
a restart, and the log says so.
"""

from __future__ import annotations

import logging
import mmap
import os
from array import array
from collections.abc import MutableSequence, Sequence
from pathlib import Path
from typing import Final

from lease.deadlines import NO_WORD, SCRAP, encode
from lease.lease import LeaseID
from server.deadlines.layout import (
    BYTES_MAX,
    BYTES_MIN,
    CLOCK_WORD,
    FACTS_OFFSET,
    GROWTH_BYTES_MAX,
    MAGIC,
    MAGIC_WORD,
    PAGE_BYTES,
    SLOT_BYTES,
    SLOT_WORDS,
    SLOTS_WORD,
    START_WORD,
    VALID,
    VALID_WORD,
    Place,
    check_of,
    unsigned,
)
from server.log import fields

logger = logging.getLogger(__name__)

_NEW: Final = ".new"  # Behind the name of a file that is not complete.


class DeadlineTable:
    """One file, made by `create`. Not in force before `commit`."""

    def __init__(self, path: Path, file: int, bytes_max: int) -> None:
        self._path = path
        self._file = file
        self._bytes_max = bytes_max
        self._bytes = 0
        self._is_full = False
        self._free: list[int] = []  # Slots that were released.
        self._next = SCRAP + 1  # The first that never was assigned.
        self._capacity = 0
        self._grow()
        self._words[MAGIC_WORD] = MAGIC

    @classmethod
    def create(cls, path: Path, *, bytes_max: int = BYTES_MAX) -> DeadlineTable:
        """Begin the file that will be `path`, under another name.

        Raises:
            OSError: it cannot be made, or its first page cannot be had.
        """
        unfinished = path.with_name(path.name + _NEW)
        unfinished.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(unfinished, flags, 0o600)
        try:
            return cls(path, file, bytes_max)
        except BaseException:
            os.close(file)
            unfinished.unlink(missing_ok=True)
            raise

    @property
    def slots(self) -> MutableSequence[int]:
        """The words of begins, by slot."""
        return self._slots  # type: ignore[return-value]  # All of one that is ever used.

    def assign(self, lease_id: LeaseID) -> int:
        """See `Deadlines`."""
        if self._free:
            slot = self._free.pop()
        elif self._next < self._capacity or self._grow_or_tell():
            slot = self._next
            self._next += 1
        else:
            return SCRAP
        stored_id = unsigned(lease_id)
        self._ids[slot] = stored_id
        self._checks[slot] = check_of(stored_id)
        return slot

    def assign_all(self, lease_ids: Sequence[LeaseID]) -> Sequence[int]:
        """See `Deadlines`. Slots that never were assigned are filled as one."""
        slots: list[int] = []
        while left := len(lease_ids) - len(slots):
            fresh = min(left, self._capacity - self._next)
            if self._free or not fresh:
                slots.append(self.assign(lease_ids[len(slots)]))
                continue
            begin, end = self._next, self._next + fresh
            ids = array("q", lease_ids[len(slots) : len(slots) + fresh])
            self._ids[begin:end] = memoryview(ids).cast("B").cast("Q")
            self._checks[begin:end] = array("Q", map(check_of, self._ids[begin:end]))
            slots += range(begin, end)
            self._next = end
        return slots

    def release(self, slot: int) -> None:
        """See `Deadlines`."""
        if slot != SCRAP:
            self._slots[slot] = NO_WORD
            self._checks[slot] = 0  # Without it the slot is empty, whatever its id.
            self._free.append(slot)

    def set_clock(self, word: int) -> None:
        """See `Deadlines`."""
        self._words[CLOCK_WORD] = word

    def commit(self, start: int, home: Path, lock: Path, boot_id_file: Path) -> None:
        """Put it in force, in place of the one before. The clock has been set by now.

        `start` is this start's number, by the count of the store.

        Raises:
            OSError: it could not take its name; the one before is still there.
        """
        place = Place.of(self._file, home, lock, boot_id_file)
        self._page[FACTS_OFFSET:PAGE_BYTES] = place.to_bytes()
        self._words[START_WORD] = encode(start)
        self._words[VALID_WORD] = VALID
        self._path.with_name(self._path.name + _NEW).replace(self._path)

    def invalidate(self) -> None:
        """Let nobody believe it any more: what is on disk may not be what was acknowledged."""
        self._words[VALID_WORD] = 0

    def close(self) -> None:
        """Let go of the file. It stays in force; what is written now is still in it."""
        os.close(self._file)

    def _grow_or_tell(self) -> bool:
        if self._is_full:
            return False
        try:
            self._grow()
        except OSError as error:
            self._is_full = True
            logger.warning(
                "no more leases' deadlines can be kept; others get their full TTL after a restart",
                extra=fields(path=str(self._path), kept=self._capacity - 1, error=str(error)),
            )
            return False
        return True

    def _grow(self) -> None:
        """Double it, allocate it and map it anew; views of before go on to show the same file.

        Raises:
            OSError: there is no room, or no more is allowed.
        """
        before = self._bytes
        after = min(max(2 * before, BYTES_MIN), before + GROWTH_BYTES_MAX, self._bytes_max)
        if after == before:
            raise OSError(f"the file has {before} bytes, which is its bound")
        os.posix_fallocate(self._file, before, after - before)
        # A view of an mmap forbids to resize it. The old one goes when the last view of it goes.
        self._page = mmap.mmap(self._file, after)
        self._words = memoryview(self._page).cast("Q")
        slots = self._words[SLOTS_WORD:]
        self._ids, self._checks, self._slots = (slots[each::SLOT_WORDS] for each in range(3))
        self._capacity = (after - PAGE_BYTES) // SLOT_BYTES
        self._bytes = after
