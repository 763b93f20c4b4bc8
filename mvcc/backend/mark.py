"""The mark: how much was acknowledged, kept beside the store and apart from it.

RocksDB's recovery drops everything after one flipped bit of its log and says nothing. What was
acknowledged must therefore be known from elsewhere. The mark holds the last acknowledged revision
and sequence number, set after the sync and before the answers leave. It may be older than the store
and never newer, so:

  - recovering less than the mark says is corruption, always;
  - recovering more is what a crash leaves, always harmless.

The file is mapped into memory, so setting it is a few stores and no system call. The page cache
survives `kill -9`; a power cut may bring back an older page, which is harmless as said.

Layout, little-endian: a page of 4096 bytes, each part in a sector of its own, so that a device
which writes whole sectors cannot tear two of them at once:

    0     8 bytes of magic, which hold the format number too
    512   slot 0: revision u64, sequence u64, crc32 of these 16 bytes u32
    1024  slot 1: the same

Updates alternate between the slots. One cut short, by a kill between two stores or by a power cut,
spoils the slot it was writing, and the other one holds the update before. The slot with the
higher sequence counts.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Final
from zlib import crc32

from mvcc.backend.errors import CorruptMarkError, StoreShortError
from mvcc.backend.names import sync_directory

MAGIC: Final = b"tnrmark\x01"
FILE_BYTES: Final = 4096
SLOT_OFFSETS: Final = (512, 1024)

_NUMBERS: Final = struct.Struct("<QQ")
_SLOT: Final = struct.Struct("<16sI")


class Mark:
    """The mark of one store. Made by `open`, after the store's own lock has been taken."""

    __slots__ = ("_page", "_path", "_slot", "revision", "sequence")

    def __init__(self, path: Path, page: mmap.mmap) -> None:
        self._path = path
        self._page = page
        if page[: len(MAGIC)] != MAGIC:
            raise CorruptMarkError(path, "it does not begin as a mark does")
        slots = [_read_slot(page, offset) for offset in SLOT_OFFSETS]
        valid = [slot for slot in slots if slot is not None]
        if not valid:
            raise CorruptMarkError(path, "the checksums of both slots are wrong")
        self.sequence, self.revision = max(valid)  # Read-only for others.
        self._slot = 1 - slots.index((self.sequence, self.revision))  # Where the next update goes.

    @classmethod
    def open(cls, path: Path) -> Mark:
        """Open the mark at `path`; if there is none, make one that says zero.

        Raises:
            CorruptMarkError: the file is no mark, or both slots are spoilt.
            OSError: the file cannot be made, opened or mapped.
        """
        if not path.exists():
            _create(path)
        with path.open("r+b") as file:
            found_bytes = os.fstat(file.fileno()).st_size
            if found_bytes != FILE_BYTES:
                raise CorruptMarkError(path, f"{found_bytes} bytes long instead of {FILE_BYTES}")
            page = mmap.mmap(file.fileno(), FILE_BYTES)
        try:
            return cls(path, page)
        except CorruptMarkError:
            page.close()
            raise

    def set(self, revision: int, sequence: int) -> None:
        """Remember that everything up to here is durable and about to be acknowledged.

        `sequence` must not fall: the higher one counts when the mark is read back.
        """
        assert sequence >= self.sequence, (sequence, self.sequence)
        slot = self._slot
        numbers = _NUMBERS.pack(revision, sequence)
        _SLOT.pack_into(self._page, SLOT_OFFSETS[slot], numbers, crc32(numbers))
        self._slot = 1 - slot
        self.revision = revision
        self.sequence = sequence

    def check(self, *, recovered_revision: int, recovered_sequence: int) -> None:
        """Compare what recovery found with what was acknowledged.

        Raises:
            StoreShortError: it found less of either. Do not serve this store.
        """
        if recovered_revision < self.revision or recovered_sequence < self.sequence:
            raise StoreShortError(
                self._path,
                recovered_revision=recovered_revision,
                recovered_sequence=recovered_sequence,
                acknowledged_revision=self.revision,
                acknowledged_sequence=self.sequence,
            )

    def check_sequence(self, stored_sequence: int) -> None:
        """The same before the store is opened, when its revision is not known yet.

        Raises:
            StoreShortError: it holds less than was acknowledged. Do not open this store.
        """
        if stored_sequence < self.sequence:
            raise StoreShortError(
                self._path,
                recovered_revision=None,
                recovered_sequence=stored_sequence,
                acknowledged_revision=self.revision,
                acknowledged_sequence=self.sequence,
            )

    def close(self) -> None:
        """Write the page to disk and unmap it."""
        self._page.flush()
        self._page.close()


def _read_slot(page: mmap.mmap, offset: int) -> tuple[int, int] | None:
    """Sequence and revision, in this order so that they compare; None if spoilt."""
    numbers, checksum = _SLOT.unpack_from(page, offset)
    if crc32(numbers) != checksum:
        return None
    revision, sequence = _NUMBERS.unpack(numbers)
    return sequence, revision


def _create(path: Path) -> None:
    """Make the file whole or not at all: a half-made one would keep the server from starting."""
    page = bytearray(FILE_BYTES)
    page[: len(MAGIC)] = MAGIC
    zero = _NUMBERS.pack(0, 0)
    for offset in SLOT_OFFSETS:
        _SLOT.pack_into(page, offset, zero, crc32(zero))
    unfinished = path.with_name(path.name + ".new")
    with unfinished.open("wb") as file:
        file.write(page)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(path.parent)
