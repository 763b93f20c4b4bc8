"""The file of deadlines: how it is laid out, and which file may be believed.

The file is mapped into memory. What is stored in it is in the page cache at once and survives
`kill -9` without a system call, let alone an fsync. It does not survive a power cut in any known
state, and need not: the promise holds within one boot of the machine. So a file counts only

  - on the same boot, which rules out every page that came back older from a disk;
  - in the same place: the same home directory, the same file and the same lock file beside it, by
    device and inode; and the lock file unchanged since (its ctime, which no program can set), so
    that a copy is known for one even where it was given the numbers of what it replaced;
  - if the last start on this store is the one that wrote it, by the store's own count of starts:
    a server that keeps no deadlines may have served the leases since.

Words are 8 bytes, aligned, in the machine's own order: each store is one instruction, so a kill
leaves the old word or the new one. The first page:

    word 0    magic, which holds the format number too
    word 1    VALID, written when all else is there; anything else after an error
    word 2    the clock: until when leases were served      } as `lease.deadlines.encode`
    word 3    the start that writes this file               } makes them
    word 4    a later start that read it and may not have written its own; or 0
    512..     the facts that make it believed, one a line

Behind it slots of three words: the lease's id, the id once more as a check, and the word of its
begin. Slot 0 belongs to nobody. A slot is made by writing id, check and, later, the begin; it is
unmade in the opposite order. So a half-made one has no check, and is no lease's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MAGIC: Final = int.from_bytes(b"tnrdead\x01", "little")
VALID: Final = int.from_bytes(b"in force", "little")
PAGE_BYTES: Final = 4096
WORD_BYTES: Final = 8
MAGIC_WORD, VALID_WORD, CLOCK_WORD, START_WORD, SUCCESSOR_WORD = range(5)
FACTS_OFFSET: Final = 512
FACTS_BYTES_MAX: Final = PAGE_BYTES - FACTS_OFFSET

SLOT_WORDS: Final = 3
SLOT_BYTES: Final = SLOT_WORDS * WORD_BYTES
SLOTS_WORD: Final = PAGE_BYTES // WORD_BYTES  # Where they begin.
BYTES_MIN: Final = 8 * PAGE_BYTES  # 1,194 slots.
BYTES_MAX: Final = 128 << 20  # 5.6 million of them. Leases beyond get the full TTL.
GROWTH_BYTES_MAX: Final = 4 << 20  # Allocated at once: it happens on the loop, in a grant.

BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
_CHECK: Final = 0x9E37_79B9_7F4A_7C15  # Any odd number: then 0 is the check of 0 alone.
_WORD_VALUES: Final = 1 << 64


def unsigned(lease_id: int) -> int:
    """An id as it stands in the file."""
    return lease_id % _WORD_VALUES


def check_of(stored_id: int) -> int:
    """What stands behind an id that was written whole; 0 behind no lease's."""
    return stored_id * _CHECK % _WORD_VALUES


@dataclass(frozen=True, slots=True)
class Place:
    """What must be the same for the deadlines of one process to be those of the next."""

    boot: str  # Empty if the machine does not say: then nothing can be believed.
    home: str
    file: str

    @classmethod
    def of(cls, file: int, home: Path, lock: Path, boot_id_file: Path) -> Self:
        """The place of an open file of deadlines in `home`.

        Raises:
            OSError: the directory or its lock file cannot be looked at.
        """
        try:
            boot = boot_id_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            boot = ""
        found = [os.stat(home), os.stat(lock), os.fstat(file)]
        numbers = [f"{each.st_dev}:{each.st_ino}" for each in found]
        return cls(boot, f"{numbers[0]} {numbers[1]} {found[1].st_ctime_ns}", numbers[2])

    def to_bytes(self) -> bytes:
        """As it stands in the file, padded."""
        text = f"boot {self.boot}\nhome {self.home}\nfile {self.file}\n"
        encoded = text.encode()
        assert len(encoded) <= FACTS_BYTES_MAX, "numbers and a UUID"
        return encoded.ljust(FACTS_BYTES_MAX, b"\0")
