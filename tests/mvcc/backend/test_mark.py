"""The mark survives being torn, and tells a short store from a long one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.backend.errors import CorruptMarkError, StoreShortError
from mvcc.backend.mark import FILE_BYTES, MAGIC, SLOT_OFFSETS, Mark

SLOT_BYTES = 20  # Two u64 and a u32.
U64_MAX = 2**64 - 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def set_and_close(path: Path, *marks: tuple[int, int]) -> None:
    mark = Mark.open(path)
    for revision, sequence in marks:
        mark.set(revision, sequence)
    mark.close()


def read(path: Path) -> tuple[int, int]:
    mark = Mark.open(path)
    found = (mark.revision, mark.sequence)
    mark.close()
    return found


def damage(path: Path, offset: int, replacement: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(replacement)] = replacement
    path.write_bytes(content)


def test_a_new_mark_says_zero_and_leaves_nothing_beside_it(path: Path) -> None:
    assert read(path) == (0, 0)
    assert [entry.name for entry in path.parent.iterdir()] == ["mark"]
    assert path.stat().st_size == FILE_BYTES


def test_a_mark_that_was_being_made_when_the_power_went_is_made_again(path: Path) -> None:
    path.with_name("mark.new").write_bytes(MAGIC)
    assert read(path) == (0, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_last_of_several_updates_is_read_back(path: Path, count: int) -> None:
    marks = [(10 + number, 100 + 3 * number) for number in range(count)]
    set_and_close(path, *marks)
    assert read(path) == marks[-1]


def test_updates_go_on_alternating_after_a_restart(path: Path) -> None:
    for number in range(1, 6):
        set_and_close(path, (number, number))
        before = path.read_bytes()
        set_and_close(path, (number, number + 1))
        after = path.read_bytes()
        changed = {index for index in range(FILE_BYTES) if before[index] != after[index]}
        # The slot that held the newest was not touched: a torn update would have left it.
        slots = {
            start for start in SLOT_OFFSETS for index in changed if start <= index < start + 20
        }
        assert len(slots) == 1
        assert read(path) == (number, number + 1)


def test_the_sequence_may_grow_without_the_revision(path: Path) -> None:
    set_and_close(path, (7, 10), (7, 11), (7, 12))
    assert read(path) == (7, 12)


def test_the_numbers_may_be_as_large_as_they_come(path: Path) -> None:
    set_and_close(path, (U64_MAX, U64_MAX))
    assert read(path) == (U64_MAX, U64_MAX)


@pytest.mark.parametrize("torn_bytes", range(1, SLOT_BYTES))
def test_a_torn_update_leaves_the_one_before(path: Path, torn_bytes: int) -> None:
    set_and_close(path, (0x1111, 0x2222))
    before = path.read_bytes()
    set_and_close(path, (0x33333333_44444444, 0x55555555_66666666))
    after = path.read_bytes()
    start = next(offset for offset in SLOT_OFFSETS if before[offset:][:20] != after[offset:][:20])
    path.write_bytes(before)
    damage(path, start, after[start : start + torn_bytes])
    assert read(path) == (0x1111, 0x2222)
    # And the torn slot is the one to be written next.
    set_and_close(path, (0x1112, 0x2223))
    damage(path, start, b"\xff" * SLOT_BYTES)
    assert read(path) == (0x1111, 0x2222)


@given(st.sampled_from(SLOT_OFFSETS), st.integers(0, SLOT_BYTES * 8 - 1))
def test_a_flipped_bit_in_one_slot_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, offset: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "mark"
    set_and_close(path, (4, 40), (5, 50))
    flipped = path.read_bytes()[offset + bit // 8] ^ (1 << bit % 8)
    damage(path, offset + bit // 8, bytes([flipped]))
    assert read(path) in {(4, 40), (5, 50)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes long instead of 4096"),
        (MAGIC, "8 bytes long instead of 4096"),
        (bytes(FILE_BYTES + 1), "4097 bytes long instead of 4096"),
        (bytes(FILE_BYTES), "it does not begin as a mark does"),
        (b"tnrmark\x02" + bytes(FILE_BYTES - 8), "it does not begin as a mark does"),
        (MAGIC + bytes(FILE_BYTES - 8), "the checksums of both slots are wrong"),
        (MAGIC + b"\xff" * (FILE_BYTES - 8), "the checksums of both slots are wrong"),
    ],
    ids=["empty", "cut", "longer", "zeros", "another format", "zeroed slots", "garbage"],
)
def test_a_file_that_is_no_mark_is_refused_by_name(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(CorruptMarkError) as refusal:
        Mark.open(path)
    assert str(refusal.value) == f"{path} is not a valid mark: {reason}"
    assert (refusal.value.path, refusal.value.reason) == (path, reason)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("revision", "sequence"), [(5, 50), (6, 50), (5, 51), (6, 60)])
def test_a_mark_older_than_the_store_is_harmless(path: Path, revision: int, sequence: int) -> None:
    set_and_close(path, (5, 50))
    mark = Mark.open(path)
    mark.check(recovered_revision=revision, recovered_sequence=sequence)
    mark.close()


@pytest.mark.parametrize(("revision", "sequence"), [(4, 50), (5, 49), (4, 60), (6, 49), (0, 0)])
def test_a_store_that_ends_before_the_mark_is_short(
    path: Path, revision: int, sequence: int
) -> None:
    set_and_close(path, (5, 50))
    mark = Mark.open(path)
    with pytest.raises(StoreShortError) as refusal:
        mark.check(recovered_revision=revision, recovered_sequence=sequence)
    mark.close()
    error = refusal.value
    assert error.path == path
    assert (error.recovered_revision, error.recovered_sequence) == (revision, sequence)
    assert (error.acknowledged_revision, error.acknowledged_sequence) == (5, 50)
    assert str(error) == (
        f"the store ends at revision {revision} (sequence {sequence}), but {path} says that "
        "revision 5 (sequence 50) was acknowledged: data has been lost"
    )


def test_a_sequence_that_falls_is_a_bug_of_the_caller(path: Path) -> None:
    mark = Mark.open(path)
    mark.set(5, 50)
    with pytest.raises(AssertionError):
        mark.set(5, 49)
    mark.close()


@pytest.mark.power
def test_an_update_survives_kill_9_without_a_call_to_the_system(path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from mvcc.backend.mark import Mark\n"
        "mark = Mark.open(pathlib.Path(sys.argv[1]))\n"
        "for number in range(1, 1001):\n"
        "    mark.set(number, 2 * number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, os.fspath(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read(path) == (1000, 2000)
