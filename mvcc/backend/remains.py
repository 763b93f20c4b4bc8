"""What can still be read of a damaged journal.

Behind a record that cannot be read the next one is looked for: it has a magic, a checksum with the
turn's salt in it, and a higher sequence, so nothing else is taken for one. What is behind a gap was
acknowledged as well, and most of it stands by itself, so it counts. Only then a row that the gap
has changed may be as it was before, or there though the gap has deleted it.

RocksDB has all up to the floor without the journal. Records below it are of use all the same, where
a table is damaged: given again in order and up to the end, they leave the same rows. Not those with
a gap behind them: they could set back what RocksDB has of the gap.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mvcc.backend.journal import (
    FILE_NAMES,
    RECORD_HEAD_BYTES,
    RECORD_MAGIC,
    RECORDS_AT,
    Head,
    Journal,
    Record,
    read_headed,
    record_at,
)


class Remains(NamedTuple):
    is_there: bool  # A turn was begun, of which at least the head can be read.
    records: list[Record]  # With rows, in order.
    last: int  # The sequence of the newest record; 0 if nothing is known.
    rocks_sequence: int  # What RocksDB must have on disk by itself, counted as it counts.
    lost: list[str]  # In words, what is missing above the floor.


class _Turn(NamedTuple):
    head: Head
    records: list[Record]  # All that can be read, whatever is between them.

    @property
    def last(self) -> int:
        return self.records[-1].sequence if self.records else self.head.before

    @property
    def floor(self) -> int:
        return max(self.head.floor, *(record.floor for record in self.records), 0)


def read_remains(directory: Path) -> Remains:
    """Read both files as far as they can be read. Changes nothing.

    Raises:
        BackendIOError
    """
    turns = [turn for name in FILE_NAMES if (turn := _scan(directory / name)) is not None]
    turns.sort(key=lambda turn: (turn.head.before, turn.last))
    records = [record for turn in turns for record in turn.records]
    floor = max((turn.floor for turn in turns), default=0)
    begun = max((turn.head.before for turn in turns), default=0)
    at = min(floor, _before(records[0])) if records else floor
    kept: list[Record] = []
    lost: list[str] = []
    for before, record in [*((_before(each), each) for each in records), (begun, None)]:
        if before > at:
            kept = [each for each in kept if each.sequence > floor]
            lost += _missing(max(at, floor), before)
        if record is not None:
            kept.append(record)
            at = record.sequence
    return Remains(
        bool(turns),
        [record for record in kept if record.rows],
        at,
        max((turn.head.rocks_sequence for turn in turns if turn.head.before <= floor), default=0),
        lost,
    )


def put_empty_journal(directory: Path, remains: Remains, *, rocks_sequence: int) -> None:
    """In place of a damaged one: it counts on from what remains of that, and has no rows.

    Raises:
        BackendIOError
    """
    for name in FILE_NAMES:
        (directory / name).unlink(missing_ok=True)
    journal = Journal(directory, None, sequence=remains.last)
    journal.begin(rocks_sequence=rocks_sequence)
    journal.sync()
    journal.close()


def _missing(after: int, last: int) -> list[str]:
    if last <= after:
        return []
    rows = f"{last - after} row{'' if last - after == 1 else 's'}"
    return [f"the journal cannot be read from sequence {after + 1} to {last}: {rows}"]


def _before(record: Record) -> int:
    return record.sequence - record.rows


def _scan(path: Path) -> _Turn | None:
    if (headed := read_headed(path)) is None:
        return None
    data, head = headed
    records: list[Record] = []
    at = RECORDS_AT
    while at >= 0:
        record = record_at(data, at, head.salt)
        if record is None:
            at = data.find(RECORD_MAGIC, at + 1)
        else:
            records.append(record)
            at += RECORD_HEAD_BYTES + len(record.payload)
    return _Turn(head, records)
