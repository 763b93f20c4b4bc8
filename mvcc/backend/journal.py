"""The journal: every batch, durable here before RocksDB is given it.

RocksDB's own log is switched off. Its file grows with each write, so each fsync commits the new
size through the file system's journal, behind whatever else waits for that; and its recovery takes
one flipped bit for the end of the log. This one is written over blocks that are there already, and
knows damage from a tail that a power cut has torn.

Two files take turns, `journal.0` and `journal.1`, beside RocksDB's own:

    0, 512   the head, twice: magic, salt, sequence before the first record, RocksDB's sequence
             at that time, floor, crc32. Two copies, so that no sector holds both.
    1024 ..  records: magic, crc32, sequence, rows, floor, length; then `length` bytes

`sequence` counts rows: that of a record is the one before it plus its own rows. Records of an older
turn of the file are behind those of this one; the salt is part of each checksum, so they are never
taken for records. `floor` is the newest sequence up to which RocksDB is known to have all on disk,
without the journal.

What is always true:
  1. RocksDB holds nothing that is not durable here. So replaying records it has already, from any
     floor on to the end, leaves the same rows.
  2. A file is written over only when all its records are at or below a floor that is durable in
     the other file.
  3. At most the newest record is not synced, if the caller syncs each; so only that can be torn.
     A record that can be read behind one that cannot is damage, and so is a gap between the files.

Everything here is files and bytes: what a payload means is the caller's matter.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, NoReturn
from zlib import crc32

from mvcc.backend.errors import BackendClosedError, BackendCorruptError, BackendIOError
from mvcc.backend.names import sync_directory

FILE_NAMES: Final = ("journal.0", "journal.1")
FILE_BYTES: Final = 8 << 20  # A turn. A record that is larger gets a file for itself that grows.
STEP_BYTES: Final = 1 << 20  # Zeros written ahead, so that fsyncs seldom meet a file that grows.
SECTOR_BYTES: Final = 512
RECORDS_AT: Final = 2 * SECTOR_BYTES

_FILE_MAGIC: Final = b"tnrjrnl\x01"
_SALT_BYTES: Final = 16
_HEAD: Final = Struct("<8s16sQQQ")
_CRC: Final = Struct("<I")
RECORD_MAGIC: Final = b"\xf1TNR"
_RECORD: Final = Struct("<4sIQIQI")
RECORD_HEAD_BYTES: Final = _RECORD.size
_COVERED_AT: Final = 8  # Where the part of a record's head begins that its checksum covers.


class Head(NamedTuple):
    salt: bytes
    before: int  # The sequence before the first record.
    rocks_sequence: int  # Of RocksDB when the turn began; it has had all that was before.
    floor: int


class Record(NamedTuple):
    sequence: int
    rows: int
    floor: int
    payload: bytes


class Turn(NamedTuple):
    """One file as it was found: its head, and its records from the first to one not readable."""

    path: Path
    head: Head
    records: list[Record]
    end: int  # Where in the file the next record goes.
    damage: BackendCorruptError | None  # Of a file that is done with it may be an unfinished turn.

    @property
    def last(self) -> int:
        return self.records[-1].sequence if self.records else self.head.before

    @property
    def floor(self) -> int:
        return max(self.head.floor, *(record.floor for record in self.records), 0)


class Found(NamedTuple):
    """What both files say together."""

    newest: Turn
    floor: int
    records: list[Record]  # Above the floor, oldest first, without a gap.
    rocks_sequence: int  # What RocksDB must have on disk by itself, counted as it counts.

    @property
    def last(self) -> int:
        return self.newest.last


def find(directory: Path) -> Found | None:
    """Read what is there, changing nothing; None if no turn was ever begun.

    Raises:
        BackendCorruptError: records are damaged, or missing.
        BackendIOError
    """
    turns = sorted(
        (turn for name in FILE_NAMES if (turn := _read(directory / name)) is not None),
        key=lambda turn: (turn.head.before, turn.last),
    )
    if not turns:
        return None
    newest = turns[-1]
    if newest.damage is not None:
        raise newest.damage
    floor = max(turn.floor for turn in turns)
    if newest.head.before <= floor:
        records, begun = newest.records, newest
    else:
        begun = turns[0]
        if begun.damage is not None:
            raise begun.damage
        if begun.last != newest.head.before or begun.head.before > floor:
            reason = f"the records from {floor + 1} to {newest.head.before} are not all there"
            raise BackendCorruptError(newest.path, reason)
        records = [*begun.records, *newest.records]
    records = [record for record in records if record.sequence > floor]
    return Found(newest, floor, records, begun.head.rocks_sequence)


def read_headed(path: Path) -> tuple[bytes, Head] | None:
    """What a file holds, and its head; None without either.

    Raises:
        BackendIOError
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackendIOError(path, str(error)) from error
    head = newest_head(data)
    return None if head is None else (data, head)


def _read(path: Path) -> Turn | None:
    if (headed := read_headed(path)) is None:
        return None
    data, head = headed
    records: list[Record] = []
    at, last = RECORDS_AT, head.before
    while (record := record_at(data, at, head.salt)) is not None:
        if record.sequence != last + record.rows:
            break
        records.append(record)
        last = record.sequence
        at += RECORD_HEAD_BYTES + len(record.payload)
    return Turn(path, head, records, at, _damage(path, data, at, head.salt))


def _damage(path: Path, data: bytes, at: int, salt: bytes) -> BackendCorruptError | None:
    """Nothing behind an unreadable record may be readable: it was written after that one."""
    later = data.find(RECORD_MAGIC, at)
    while later >= 0:
        record = record_at(data, later, salt)
        if record is not None:
            reason = f"damaged at byte {at}: record {record.sequence} is behind it"
            return BackendCorruptError(path, reason)
        later = data.find(RECORD_MAGIC, later + 1)
    return None


def newest_head(data: bytes) -> Head | None:
    """The head of a file, from either of its copies; a torn turn may leave an old and a new one."""
    heads = [head for at in (0, SECTOR_BYTES) if (head := _head_at(data, at)) is not None]
    return max(heads, key=lambda each: each.before, default=None)


def _head_at(data: bytes, at: int) -> Head | None:
    end = at + _HEAD.size
    if len(data) < end + _CRC.size or crc32(data[at:end]) != _CRC.unpack_from(data, end)[0]:
        return None
    magic, *fields = _HEAD.unpack_from(data, at)
    return Head(*fields) if magic == _FILE_MAGIC else None


def record_at(data: bytes, at: int, salt: bytes) -> Record | None:
    """The record that begins there, if a whole one of the turn with this salt does."""
    if len(data) < at + RECORD_HEAD_BYTES:
        return None
    magic, checksum, sequence, rows, floor, length = _RECORD.unpack_from(data, at)
    start = at + RECORD_HEAD_BYTES
    if magic != RECORD_MAGIC or len(data) < start + length:
        return None
    covered = memoryview(data)[at + _COVERED_AT : start + length]
    if crc32(covered, crc32(salt)) != checksum:
        return None
    return Record(sequence, rows, floor, data[start : start + length])


class Journal:
    """The end of the journal, where it is written. Whatever waits to be synced is in memory.

    One thread appends; any may sync, if nothing is appended meanwhile. After a failed sync nothing
    more is written: what the file holds is not known.
    """

    def __init__(
        self, directory: Path, found: Found | None, *, sequence: int, fsync: bool = True
    ) -> None:
        """Go on behind what was found; without anything, `begin` counts on from `sequence`.

        `fsync` False: `sync` leaves it to the system when to write. A power cut may lose anything.

        Raises:
            BackendIOError
        """
        self._directory = directory
        self._fsync = fsync
        self._file = -1
        self._index = 1
        self._at = self._end = self._size = 0  # Of what is written, of all, and of the file.
        self._salted = 0
        self._unwritten: list[bytes] = []
        self._before = sequence  # The sequence when this turn began.
        self._is_broken = False
        self.sequence = sequence
        self.floor = sequence  # Told to each record; the caller raises it.
        if found is not None:
            newest = found.newest
            self._index = FILE_NAMES.index(newest.path.name)
            self._before, self.sequence, self.floor = newest.head.before, newest.last, found.floor
            self._open(newest.head.salt, newest.end)

    def begin(self, *, rocks_sequence: int) -> None:
        """Begin a turn in the other file. Its head leaves with the first record's sync.

        Raises:
            BackendIOError
        """
        assert self.is_synced, "a turn begins when the one before it is durable"
        assert self.floor >= self._before, "what the other file holds is still needed"
        self._index = 1 - self._index
        self._before = self.sequence
        salt = os.urandom(_SALT_BYTES)
        head = _HEAD.pack(_FILE_MAGIC, salt, self.sequence, rocks_sequence, self.floor)
        sector = (head + _CRC.pack(crc32(head))).ljust(SECTOR_BYTES, b"\0")
        self._open(salt, 0)
        self._stage(sector * 2)

    def _open(self, salt: bytes, at: int) -> None:
        """Raises BackendIOError. A file has a name on the disk before it has a byte."""
        self.close()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._file).st_size
            if self._fsync and not self._size:
                sync_directory(self._directory)
        except OSError as error:
            self._break(error)
        self._salted = crc32(salt)
        self._at = self._end = at

    @property
    def is_synced(self) -> bool:
        return not self._unwritten

    @property
    def _path(self) -> Path:
        return self._directory / FILE_NAMES[self._index]

    def has_room(self, size: int) -> bool:
        """Whether a payload of `size` bytes still belongs to this turn."""
        return self._end + RECORD_HEAD_BYTES + size <= FILE_BYTES or self._end <= RECORDS_AT

    def append(self, payload: bytes, rows: int) -> None:
        """Stage a record, which need not have rows; on the disk after `sync`."""
        self._check()
        self.sequence += rows
        head = _RECORD.pack(RECORD_MAGIC, 0, self.sequence, rows, self.floor, len(payload))
        covered = head[_COVERED_AT:] + payload
        self._stage(RECORD_MAGIC + _CRC.pack(crc32(covered, self._salted)) + covered)

    def _stage(self, data: bytes) -> None:
        self._unwritten.append(data)
        self._end += len(data)

    def sync(self) -> None:
        """Make all that was appended survive a power cut. Releases the GIL.

        Raises:
            BackendIOError
        """
        self._check()
        data = b"".join(self._unwritten)
        try:
            while self._size < self._end:
                self._size += os.pwrite(self._file, bytes(STEP_BYTES), self._size)
            while data:  # A file system may take less than all, and say why the next time.
                written = os.pwrite(self._file, data, self._at)
                self._at += written
                data = data[written:]
            if self._fsync:
                os.fdatasync(self._file)
        except OSError as error:
            self._break(error)
        self._unwritten.clear()

    def close(self) -> None:
        """Let go of the file; what is not synced is lost."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _check(self) -> None:
        if self._is_broken:
            raise BackendIOError(self._path, "an earlier write has failed")
        if self._file < 0:
            raise BackendClosedError

    def _break(self, error: OSError) -> NoReturn:
        self._is_broken = True
        raise BackendIOError(self._path, str(error)) from error
