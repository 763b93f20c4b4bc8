"""Whether the file of the process before counts. If anything is in doubt, it does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lease.deadlines import encode
from lease.lessor import LeaseID
from server.datadir import DataDir
from server.deadlines.layout import (
    BYTES_MIN,
    PAGE_BYTES,
    SLOT_BYTES,
    SLOTS_WORD,
    WORD_BYTES,
    check_of,
    unsigned,
)
from tests.server.deadlines.support import START, Run

SPENT = {7: 3.0, -2: 1.0}
MOVED = "the data directory is a copy, or was restored, or its files changed hands"
OTHERS = "a process that kept no deadlines has served these leases since"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.grant(7, 10, now=101)
    run.grant(-2, 10, now=103)
    run.lessor.keep_time(104)
    return run


def test_a_file_beyond_doubt_counts(run: Run) -> None:
    found = run.next()
    assert (found.reason, found.spent, found.damaged) == ("", SPENT, 0)


def test_after_a_reboot_it_does_not_count(run: Run) -> None:
    run.boot_id.write_text("another\n")
    assert run.next().reason == "the machine was started anew since"


def test_where_no_boot_can_be_told_from_another_it_does_not_count(run: Run) -> None:
    run.boot_id.unlink()
    assert run.next().reason == "this machine does not tell one boot from another"
    run = Run(run.directory.root.parent, boot="")
    assert run.next().reason == "this machine does not tell one boot from another"


def test_a_copy_of_the_directory_does_not_count_and_a_renamed_one_does(
    run: Run, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.directory.root, copy)
    assert run.next(directory=DataDir(copy)).reason == MOVED
    moved = tmp_path / "moved"
    run.directory.root.rename(moved)
    assert run.next(directory=DataDir(moved)).spent == SPENT


def test_a_copy_put_back_over_the_files_themselves_does_not_count(run: Run, tmp_path: Path) -> None:
    """`cp -a` into the directory leaves it all its numbers, and takes its time back."""
    backup = tmp_path / "backup"
    shutil.copytree(run.directory.home, backup)
    run.lessor.renew(LeaseID(7), now=104)
    for each in ("lock", "deadlines"):
        number = (run.directory.home / each).stat().st_ino
        shutil.copy2(backup / each, run.directory.home / each)
        assert (run.directory.home / each).stat().st_ino == number
    assert run.next().reason == MOVED


def test_a_file_put_in_its_place_does_not_count(run: Run) -> None:
    content = run.path.read_bytes()
    other = run.path.with_name("other")
    other.write_bytes(content)
    other.replace(run.path)
    assert run.next().reason == MOVED


def test_if_another_start_has_served_the_store_since_it_does_not_count(run: Run) -> None:
    """A version that keeps no deadlines, or one that was told not to."""
    assert run.next(last_start=START + 1).spent == {}
    assert run.next(last_start=START + 1).reason == OTHERS
    assert run.next(last_start=START - 1).reason == OTHERS


def test_starts_that_are_killed_before_they_have_a_file_hand_it_on(run: Run) -> None:
    """Three in a row. Each has been counted by the store, and has said that it read the file."""
    for start in (START, START + 1, START + 2, START + 3):
        assert run.next(last_start=start).spent == SPENT
    assert run.next(last_start=START + 5).reason == OTHERS


def test_after_an_error_that_ended_the_process_it_does_not_count(run: Run) -> None:
    run.table.invalidate()
    assert run.next().reason == "the last process met an error that ended it"


def test_there_is_none(run: Run) -> None:
    run.path.unlink()
    assert run.next().reason == "there is no file of deadlines"


@pytest.mark.parametrize("size", [0, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + SLOT_BYTES - 1])
def test_a_file_too_short_to_hold_anything_does_not_count(run: Run, size: int) -> None:
    os.truncate(run.path, size)
    assert run.next().reason == f"the file of deadlines has {size} bytes"


def test_a_file_longer_than_any_does_not_count(run: Run) -> None:
    os.truncate(run.path, 1 << 40)
    assert run.next().reason == f"the file of deadlines has {1 << 40} bytes"


@pytest.mark.parametrize(
    ("size", "known"),
    [
        (PAGE_BYTES + 2 * SLOT_BYTES - 1, []),
        (PAGE_BYTES + 2 * SLOT_BYTES, [7]),
        (PAGE_BYTES + 3 * SLOT_BYTES - 1, [7]),
        (PAGE_BYTES + 3 * SLOT_BYTES, [7, -2]),
    ],
)
def test_of_a_file_cut_short_the_slots_that_are_whole_count(
    run: Run, size: int, known: list[int]
) -> None:
    os.truncate(run.path, size)
    assert list(run.next().spent) == known


def test_a_foreign_file_does_not_count(run: Run) -> None:
    run.path.write_bytes(b"\x7fELF".ljust(BYTES_MIN, b"\1"))
    assert run.next().reason == "the file does not begin as one of deadlines does"


def test_a_file_that_cannot_be_read_is_an_error_and_not_a_full_ttl(run: Run) -> None:
    """It could come into force at some later start."""
    run.path.unlink()
    run.path.mkdir()
    with pytest.raises(OSError, match="directory"):
        run.next()


def overwrite(run: Run, offset: int, data: bytes) -> None:
    with run.path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def assert_nobody_is_early(run: Run) -> None:
    """Each lease has what it had, or its full TTL; and no other lease has anything."""
    for lease_id, seconds in run.next().spent.items():
        assert SPENT[lease_id] == seconds


def test_damage_to_any_byte_costs_no_lease_any_of_its_time(run: Run) -> None:
    whole = run.path.read_bytes()
    used = [*range(5 * WORD_BYTES), *range(512, PAGE_BYTES + 4 * SLOT_BYTES)]
    for offset in used:
        for damage in (0x01, 0x80, 0xFF, whole[offset]):  # The last of them makes it 0.
            overwrite(run, offset, bytes([whole[offset] ^ damage]))
            assert_nobody_is_early(run)
            overwrite(run, 0, whole[: PAGE_BYTES + 4 * SLOT_BYTES])
    assert run.next().spent == SPENT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offset=st.integers(0, PAGE_BYTES + 4 * SLOT_BYTES),
    garbage=st.binary(min_size=1, max_size=64),
)
def test_nonsense_anywhere_costs_no_lease_any_of_its_time(
    run: Run, offset: int, garbage: bytes
) -> None:
    whole = run.path.read_bytes()
    overwrite(run, offset, garbage)
    assert_nobody_is_early(run)
    overwrite(run, 0, whole)


def slot_offset(slot: int) -> int:
    return (SLOTS_WORD + 3 * slot) * WORD_BYTES


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


@pytest.mark.parametrize(
    ("write", "damaged"),
    [
        (lambda run: overwrite(run, slot_offset(1) + 16, words(12345)), 1),
        (lambda run: overwrite(run, slot_offset(1), words(8)), 1),
        (lambda run: overwrite(run, slot_offset(3), words(7, check_of(7), encode(2000))), 1),
        (lambda run: overwrite(run, slot_offset(1) + 8, words(0)), 0),
        (lambda run: overwrite(run, slot_offset(1) + 16, words(0)), 0),
    ],
    ids=["begin", "id", "an id in two slots", "made by half", "not begun"],
)
def test_a_lease_whose_slot_is_in_doubt_has_its_full_ttl(
    run: Run, write: Callable[[Run], None], damaged: int
) -> None:
    write(run)
    found = run.next()
    assert (found.spent, found.damaged) == ({-2: 1.0}, damaged)


def test_a_damaged_clock_is_nobodys(run: Run) -> None:
    overwrite(run, 16, words(12345))
    assert run.next().reason == "its clock is damaged"


@given(st.integers(-(2**63), 2**63 - 1).filter(bool))
def test_only_an_empty_slot_has_the_check_of_an_empty_slot(lease_id: int) -> None:
    assert check_of(unsigned(lease_id)) != 0 == check_of(0)
