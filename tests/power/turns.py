"""Journals, made and filled one after the other, without RocksDB.

    python -m tests.power.turns TOP STORY

RocksDB syncs the directory that the journal's files are in, now and then and for reasons of its
own. Here nobody does but the journal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from mvcc.backend import journal
from mvcc.backend.journal import Journal
from mvcc.backend.names import make_directory
from tests.power.story import Storyteller

JOURNALS: Final = 6
RECORDS: Final = 6  # Of each; the third and the fifth begin a turn.


def main() -> None:
    top, teller = Path(sys.argv[1]), Storyteller(Path(sys.argv[2]))
    journal.STEP_BYTES = 8 << 10  # type: ignore[misc]  # small, for the images
    for number in range(JOURNALS):
        path = top / f"{number}"
        make_directory(path)
        written = Journal(path, None, sequence=0)
        written.begin(rocks_sequence=0)
        for record in range(RECORDS):
            if record in (2, 4):
                written.append(b"", 0)
                written.sync()
                written.begin(rocks_sequence=0)
                written.floor = written._before
            key, value = b"%d" % record, bytes([record]) * 700
            teller.will_write([(number, key, value)])
            written.append(key + value, 1)
            written.sync()
            teller.acknowledged()
        written.close()


if __name__ == "__main__":
    main()
