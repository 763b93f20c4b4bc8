"""What can be read of a damaged journal, and what is said to be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvcc.backend.errors import BackendCorruptError, BackendIOError
from mvcc.backend.journal import FILE_NAMES, RECORDS_AT, Journal, find
from mvcc.backend.remains import Remains, put_empty_journal, read_remains
from tests.mvcc.backend.support import flip_a_bit

FIRST = 100  # The sequence that the journal counts on from.

pytestmark = pytest.mark.usefixtures("small_steps")


def written(path: Path, *payloads: bytes) -> Journal:
    """A journal with these records, of one row each."""
    made = Journal(path, None, sequence=FIRST)
    made.begin(rocks_sequence=7)
    append(made, *payloads)
    return made


def append(to: Journal, *payloads: bytes) -> None:
    for payload in payloads:
        to.append(payload, 1)
        to.sync()


def turn(made: Journal, *payloads: bytes, rocks_sequence: int = 8) -> None:
    made.append(b"", 0)
    made.sync()
    made.begin(rocks_sequence=rocks_sequence)
    append(made, *payloads)


def spoil(path: Path, payload: bytes) -> None:
    for name in FILE_NAMES:
        file = path / name
        if file.exists() and payload in file.read_bytes():
            flip_a_bit(file, file.read_bytes().index(payload))


def payloads(remains: Remains) -> list[bytes]:
    return [record.payload for record in remains.records]


def missing(first: int, last: int) -> list[str]:
    rows = "1 row" if first == last else f"{last - first + 1} rows"
    return [f"the journal cannot be read from sequence {first} to {last}: {rows}"]


def test_without_a_journal_nothing_remains(tmp_path: Path) -> None:
    assert read_remains(tmp_path) == Remains(False, [], 0, 0, [])
    (tmp_path / FILE_NAMES[0]).write_bytes(bytes(5000))
    assert not read_remains(tmp_path).is_there


def test_of_a_sound_journal_all_remains_below_the_floor_too(tmp_path: Path) -> None:
    made = written(tmp_path, b"one")
    made.floor = FIRST + 1
    turn(made, b"two")
    assert read_remains(tmp_path).rocks_sequence == 8
    remains = read_remains(tmp_path)
    assert payloads(remains) == [b"one", b"two"]
    assert (remains.is_there, remains.last, remains.lost) == (True, FIRST + 2, [])
    made.close()


@pytest.mark.parametrize(
    ("spoilt", "left", "last", "lost"),
    [
        ([b"one"], [b"two", b"three", b"four"], 4, (1, 1)),
        ([b"two"], [b"one", b"three", b"four"], 4, (2, 2)),
        ([b"two", b"three"], [b"one", b"four"], 4, (2, 3)),
        ([b"four"], [b"one", b"two", b"three"], 3, None),
    ],
)
def test_what_is_behind_a_gap_counts_and_the_gap_is_named(
    tmp_path: Path, spoilt: list[bytes], left: list[bytes], last: int, lost: tuple[int, int] | None
) -> None:
    """At the very end nobody can tell that there was more; the mark does."""
    written(tmp_path, b"one", b"two", b"three", b"four").close()
    for payload in spoilt:
        spoil(tmp_path, payload)
    remains = read_remains(tmp_path)
    assert payloads(remains) == left
    assert remains.last == FIRST + last
    assert remains.lost == (missing(FIRST + lost[0], FIRST + lost[1]) if lost else [])


def test_a_gap_between_the_files_is_one(tmp_path: Path) -> None:
    made = written(tmp_path, b"one", b"two")
    turn(made, b"three")
    made.close()
    spoil(tmp_path, b"two")
    assert payloads(read_remains(tmp_path)) == [b"one", b"three"]
    assert read_remains(tmp_path).lost == missing(FIRST + 2, FIRST + 2)
    (tmp_path / FILE_NAMES[0]).unlink()
    assert payloads(read_remains(tmp_path)) == [b"three"]
    assert read_remains(tmp_path).lost == missing(FIRST + 1, FIRST + 2)


def test_a_turn_without_records_says_how_many_there_were_before_it(tmp_path: Path) -> None:
    made = written(tmp_path, b"one", b"two")
    turn(made, b"three")
    made.close()
    for payload in (b"two", b"three"):
        spoil(tmp_path, payload)
    remains = read_remains(tmp_path)
    assert (payloads(remains), remains.last) == ([b"one"], FIRST + 2)
    assert remains.lost == missing(FIRST + 2, FIRST + 2)


def test_a_gap_below_the_floor_is_no_loss_and_what_is_before_it_is_left_out(
    tmp_path: Path,
) -> None:
    """RocksDB has all of it; what was before could set back what the gap has changed."""
    made = written(tmp_path, b"one", b"two", b"three")
    made.floor = FIRST + 2
    append(made, b"four")
    made.close()
    spoil(tmp_path, b"two")
    remains = read_remains(tmp_path)
    assert (payloads(remains), remains.lost) == ([b"three", b"four"], [])
    spoil(tmp_path, b"three")
    remains = read_remains(tmp_path)
    assert (payloads(remains), remains.lost) == ([b"four"], missing(FIRST + 3, FIRST + 3))


def test_a_turn_that_a_power_cut_has_torn_leaves_the_other_file(tmp_path: Path) -> None:
    made = written(tmp_path, b"one")
    made.floor = FIRST + 1
    turn(made, b"two")
    made.floor = FIRST + 2
    turn(made, b"torn")
    made.close()
    spoil(tmp_path, b"torn")
    remains = read_remains(tmp_path)
    assert (payloads(remains), remains.last, remains.lost) == ([b"two"], FIRST + 2, [])


def test_what_looks_like_a_record_is_none_without_the_salt(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    made = written(tmp_path / "other", b"foreign")
    made.close()
    foreign = (tmp_path / "other" / FILE_NAMES[0]).read_bytes()[RECORDS_AT:][:100]
    written(tmp_path, b"one", foreign, b"three").close()
    spoil(tmp_path, foreign)
    assert payloads(read_remains(tmp_path)) == [b"one", b"three"]


def test_an_empty_one_in_its_place_counts_on(tmp_path: Path) -> None:
    written(tmp_path, b"one", b"two", b"three").close()
    spoil(tmp_path, b"two")
    with pytest.raises(BackendCorruptError):
        find(tmp_path)
    put_empty_journal(tmp_path, read_remains(tmp_path), rocks_sequence=7)
    found = find(tmp_path)
    assert found is not None
    assert (found.last, found.records, found.rocks_sequence) == (FIRST + 3, [], 7)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAMES[0]).mkdir()
    with pytest.raises(BackendIOError, match="Is a directory") as failure:
        read_remains(tmp_path)
    assert failure.value.path == tmp_path / FILE_NAMES[0]
