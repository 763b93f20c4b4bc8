"""One start after the other on a directory: what each takes over, what it leaves, what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lease.lessor import LeaseID, Lessor
from server.datadir import DataDir
from server.deadlines.keeping import Keeping
from server.log import fields_of
from server.settings.config import StartError
from tests.lease.support import Deleter, MemoryBucket
from tests.server.deadlines.support import BOOT, FIRST_SLOTS, START, Run

L: LeaseID = LeaseID(7)
GOES_ON = "leases go on with the time they had left"
FULL_TTL = "every lease gets its full TTL"
CANNOT = "leases' deadlines cannot be kept; each gets its full TTL after the next start"


def start(run: Run, *, keeps: bool = True) -> tuple[Keeping, Lessor]:
    """A start, not promoted yet."""
    keeping = Keeping(run.directory, keeps=keeps, boot_id_file=run.boot_id)
    lessor = Lessor(run.bucket, Deleter(), ttl_min=2, deadlines=keeping.table)
    lessor.recover()
    return keeping, lessor


@pytest.fixture
def run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Run:
    """A process that granted a lease of 10 s and served it for 3."""
    caplog.set_level("INFO", "server.deadlines")
    run = Run(tmp_path)
    run.grant(L, 10, now=101)
    run.lessor.keep_time(104)
    return run


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.message for record in caplog.records]
    caplog.clear()
    return found


def test_three_starts_in_a_row_go_on_from_one_another(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    left = 7.0
    for number in (1, 2, 3):
        keeping, lessor = start(run)
        keeping.promote(lessor, start=START + number, now=500)
        assert lessor.lookup(L).remaining(500) == left
        assert said(caplog) == [GOES_ON]
        lessor.keep_time(502)
        left -= 2
        keeping.close()


def test_a_start_that_is_killed_before_it_is_promoted_costs_nothing(run: Run) -> None:
    for _ in range(2):
        start(run)[0].close()  # Only begun: the store has not counted it.
    keeping, lessor = start(run)
    keeping.promote(lessor, start=START + 1, now=500)
    assert lessor.lookup(L).remaining(500) == 7


def test_volatile_leaves_no_file_that_could_come_into_force_later(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    keeping, lessor = start(run, keeps=False)
    keeping.promote(lessor, start=START + 1, now=500)
    assert lessor.lookup(L).remaining(500) == 10
    assert not run.path.exists()
    keeping.invalidate()
    keeping.close()

    keeping, lessor = start(run)
    keeping.promote(lessor, start=START + 2, now=500)
    assert lessor.lookup(L).remaining(500) == 10
    assert said(caplog) == [FULL_TTL]


def test_a_file_that_cannot_be_made_is_no_reason_not_to_serve_but_the_old_one_goes(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = run.path.with_name("deadlines.new")
    in_the_way.mkdir()
    keeping, lessor = start(run)
    assert said(caplog) == [CANNOT]
    keeping.promote(lessor, start=START + 1, now=500)
    assert lessor.lookup(L).remaining(500) == 7, "the old one still says what was left"
    assert not run.path.exists()


def test_after_an_error_the_next_start_gives_the_full_ttl(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    keeping, lessor = start(run)
    keeping.promote(lessor, start=START + 1, now=500)
    keeping.invalidate()
    keeping.close()
    said(caplog)
    keeping, lessor = start(run)
    keeping.promote(lessor, start=START + 2, now=500)
    assert lessor.lookup(L).remaining(500) == 10
    (line,) = caplog.records
    assert fields_of(line)["reason"] == "the last process met an error that ended it"
    assert said(caplog) == [FULL_TTL]


def test_damage_is_told_and_those_leases_get_their_full_ttl(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.table.slots[run.lessor.lookup(L).slot] = 12345
    keeping, lessor = start(run)
    keeping.promote(lessor, start=START + 1, now=500)
    assert lessor.lookup(L).remaining(500) == 10
    assert said(caplog) == ["some leases' deadlines are damaged; those get their full TTL", GOES_ON]


def test_nothing_is_said_of_leases_where_there_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "server.deadlines")
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(BOOT)
    keeping = Keeping(DataDir.prepare(tmp_path / "new"), keeps=True, boot_id_file=boot_id)
    lessor = Lessor(MemoryBucket(), Deleter(), ttl_min=2, deadlines=keeping.table)
    keeping.promote(lessor, start=1, now=0)
    assert said(caplog) == []


def test_an_old_file_that_can_neither_be_read_nor_replaced_refuses_the_start(run: Run) -> None:
    keeping, lessor = start(run)
    run.path.unlink()
    run.path.mkdir()
    with pytest.raises(StartError, match="cannot take over leases' deadlines"):
        keeping.promote(lessor, start=START + 1, now=500)


def test_a_start_on_many_leases_gives_each_a_slot_and_so_do_grants_after_it(run: Run) -> None:
    """Some of the slots were another's before, some never were, and the file grows between."""
    count = 3 * FIRST_SLOTS
    ids = [*range(-count, -1), *range(2**63 - count, 2**63)]
    for lease_id in ids:
        run.grant(lease_id, 10, now=101)
    run.lessor.keep_time(104)
    keeping, lessor = start(run)
    lessor.recover()  # Once more, so that it begins with slots that were let go.
    keeping.promote(lessor, start=START + 1, now=500)
    lessor.grant(LeaseID(1), 10, now=500)
    lessor.check_invariants(500)
    assert lessor.stats().kept == len(lessor) == 2 * count + 1
    assert {lease.remaining(500) for lease in lessor.granted() if lease.id != 1} == {7.0}
    lessor.keep_time(502)
    keeping.close()
    found = run.next(last_start=START + 1)
    assert found.spent == dict.fromkeys((L, *ids), 5.0)
