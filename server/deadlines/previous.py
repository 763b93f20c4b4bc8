"""What the process before this one kept of its leases' time, or why that does not count.

Whatever is in the file, a lease is never given less time than it has: what is not beyond doubt
counts for nothing, and the lease has its full TTL.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lease.deadlines import NO_WORD, decode, encode
from lease.lease import LeaseID
from lease.wheel import TICKS_PER_S
from server.deadlines.layout import (
    BYTES_MAX,
    CLOCK_WORD,
    FACTS_OFFSET,
    MAGIC,
    MAGIC_WORD,
    PAGE_BYTES,
    SLOT_BYTES,
    SLOT_WORDS,
    SLOTS_WORD,
    START_WORD,
    SUCCESSOR_WORD,
    VALID,
    VALID_WORD,
    Place,
    check_of,
)

_SIGN: Final = 1 << 63
_WORD_VALUES: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Previous:
    """What was found."""

    reason: str = ""  # Why it does not count; empty if it does.
    spent: Mapping[LeaseID, float] = field(default_factory=dict)  # Seconds of each lease's TTL.
    damaged: int = 0  # Slots that hold nonsense.


def read_previous(
    path: Path, home: Path, lock: Path, boot_id_file: Path, *, last_start: int
) -> Previous:
    """Read the file at `path`; `last_start` is the newest that the store knows of, before this one.

    If it counts, it goes on to count for a start after this one, should this one be killed
    before it has a file of its own.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Previous("there is no file of deadlines")
    try:
        size = os.fstat(file).st_size
        if not PAGE_BYTES + SLOT_BYTES <= size <= BYTES_MAX:
            return Previous(f"the file of deadlines has {size} bytes")
        place = Place.of(file, home, lock, boot_id_file)
        with mmap.mmap(file, size) as page:
            whole = (size - PAGE_BYTES) // SLOT_BYTES * SLOT_BYTES + PAGE_BYTES
            with memoryview(page) as every, every[:whole].cast("Q") as words:
                return _judge(page, words, place, last_start)
    finally:
        os.close(file)


def _judge(page: mmap.mmap, words: memoryview, place: Place, last_start: int) -> Previous:
    reason = _doubt(page, words, place, last_start)
    clock = decode(words[CLOCK_WORD])
    if reason or clock is None:
        return Previous(reason or "its clock is damaged")
    found = _read_slots(words, clock)
    # The store knows of this start already, and before there is a file of it this one must do.
    words[SUCCESSOR_WORD] = encode(last_start + 1)
    return found


def _doubt(page: mmap.mmap, words: memoryview, place: Place, last_start: int) -> str:
    """Why the file does not count; empty if it does."""
    if words[MAGIC_WORD] != MAGIC:
        return "the file does not begin as one of deadlines does"
    if words[VALID_WORD] != VALID:
        return "the last process met an error that ended it"
    stored = page[FACTS_OFFSET:PAGE_BYTES]
    if not place.boot:
        return "this machine does not tell one boot from another"
    if stored != place.to_bytes():
        lines = stored.split(b"\n")
        if lines[0] != f"boot {place.boot}".encode():
            return "the machine was started anew since"
        return "the data directory is a copy, or was restored, or its files changed hands"
    if last_start not in (decode(words[START_WORD]), decode(words[SUCCESSOR_WORD])):
        return "a process that kept no deadlines has served these leases since"
    return ""


def _read_slots(words: memoryview, clock: int) -> Previous:
    slots = words[SLOTS_WORD + SLOT_WORDS :]  # Without the first, which is scrap.
    stored_ids, checks, begins = (slots[each::SLOT_WORDS].tolist() for each in range(SLOT_WORDS))
    spent: dict[LeaseID, float] = {}
    twice: set[LeaseID] = set()
    damaged = 0
    # Very many began together.
    spent_since = {word: _seconds_since(word, clock) for word in set(begins)}
    for stored_id, check, word in zip(stored_ids, checks, begins, strict=True):
        if not check:
            continue  # Empty, or a kill came before it was made.
        seconds = spent_since[word]
        if check != check_of(stored_id) or (seconds is None and word != NO_WORD):
            damaged += 1
            continue
        lease_id = LeaseID(stored_id - _WORD_VALUES if stored_id & _SIGN else stored_id)
        if lease_id in spent or lease_id in twice:
            twice.add(lease_id)
            spent.pop(lease_id, None)
            damaged += 1
        elif seconds is not None:
            spent[lease_id] = seconds
    return Previous(spent=spent, damaged=damaged)


def _seconds_since(word: int, clock: int) -> float | None:
    """From the begin that `word` says to the clock's word; None if it is no word."""
    begin = decode(word)
    return None if begin is None else (clock - begin) / TICKS_PER_S
