"""The file while it is written: slots, growth, a full disk, and a kill between any two stores."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lease.deadlines import SCRAP
from lease.lessor import LeaseID
from server.deadlines.layout import BYTES_MIN, PAGE_BYTES
from server.deadlines.table import DeadlineTable
from tests.server.deadlines.support import FIRST_SLOTS, Run


def test_time_that_was_kept_is_found_by_the_next_start(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for lease_id in (7, -1, -(2**63), 2**63 - 1):
        run.grant(lease_id, 10, now=101)
    run.lessor.renew(LeaseID(-1), now=103)
    run.lessor.keep_time(104)
    found = run.next()
    assert found.reason == ""
    assert found.spent == {7: 3, -1: 1, -(2**63): 3, 2**63 - 1: 3}
    assert found.damaged == 0


def test_it_is_not_in_force_before_it_is_committed(tmp_path: Path) -> None:
    """A start that is killed leaves the file of the process before it."""
    run = Run(tmp_path)
    run.grant(7, 10, now=101)
    run.lessor.keep_time(104)
    begun = DeadlineTable.create(run.path)
    begun.assign(LeaseID(8))
    assert run.next().spent == {7: 3}
    again = DeadlineTable.create(run.path)
    assert run.next().spent == {7: 3}, "and so does the next one"
    for table in (begun, again):
        table.close()


def test_it_grows_and_what_was_written_before_is_there(tmp_path: Path) -> None:
    run = Run(tmp_path)
    early = run.table.slots
    count = 3 * FIRST_SLOTS
    for lease_id in range(1, count + 1):
        run.grant(lease_id, 10, now=101)
    assert run.lessor.stats().kept == count
    assert run.table.slots is not early
    assert early[1] == run.table.slots[1], "views of before show the same file"
    run.lessor.renew(LeaseID(1), now=103)
    run.lessor.keep_time(104)
    assert run.next().spent == {1: 1} | dict.fromkeys(range(2, count + 1), 3)
    blocks = run.path.stat().st_blocks * 512
    assert blocks >= run.path.stat().st_size, "really allocated"


def test_at_its_bound_further_leases_have_no_slot_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, bytes_max=BYTES_MIN)
    assert_room_ends_after_the_first_page(run, caplog)


def test_where_the_file_may_not_grow_the_same_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES_MIN + PAGE_BYTES, hard))
    try:
        assert_room_ends_after_the_first_page(run, caplog)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_is_an_error_where_it_grows_and_no_signal_where_it_is_written(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(small_disk)
    (small_disk / "filler").write_bytes(bytes(12 * 1024))
    assert_room_ends_after_the_first_page(run, caplog)


def assert_room_ends_after_the_first_page(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    for lease_id in range(1, FIRST_SLOTS + 4):
        run.grant(lease_id, 10, now=101)
    assert run.lessor.stats().kept == FIRST_SLOTS
    assert [record.message for record in caplog.records] == [
        "no more leases' deadlines can be kept; others get their full TTL after a restart"
    ]
    beyond = LeaseID(FIRST_SLOTS + 1)
    assert run.lessor.lookup(beyond).slot == SCRAP
    assert run.lessor.renew(beyond, now=103) == 10
    run.lessor.keep_time(104)
    assert run.next().spent == dict.fromkeys(range(1, FIRST_SLOTS + 1), 3)
    run.lessor.revoke(beyond)
    assert run.table.assign(LeaseID(2 * FIRST_SLOTS)) == SCRAP, "its end has made no room"


def test_a_disk_without_room_for_the_first_page_keeps_no_half_file(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(60 * 1024))
    with pytest.raises(OSError, match="No space left"):
        DeadlineTable.create(small_disk / "deadlines")
    assert [each.name for each in small_disk.iterdir()] == ["filler"]


def test_a_slot_that_is_used_anew_says_nothing_of_the_lease_before(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for lease_id in (1, 2):
        run.grant(lease_id, 10, now=101)
    run.lessor.keep_time(109)
    slots = {run.lessor.lookup(LeaseID(each)).slot for each in (1, 2)}
    for lease_id in (1, 2):
        run.lessor.revoke(LeaseID(lease_id))
    assert run.next().spent == {}
    granted = [run.lessor.grant(LeaseID(each), 10, now=109) for each in (1, 3)]
    assert {lease.slot for lease in granted} == slots
    assert run.next().spent == {}, "nobody has been told of them: the full TTL"


# --- kill -9 between any two stores ---


@dataclass
class Film:
    """The file as it was after each store, and what had been promised by then."""

    run: Run
    promised: dict[int, tuple[int, float]] = field(default_factory=dict)  # TTL, and until when.
    frames: list[tuple[bytes, dict[int, tuple[int, float]], float]] = field(default_factory=list)
    now: float = 101.0

    def shoot(self) -> None:
        self.frames.append((self.run.path.read_bytes(), dict(self.promised), self.now))


class Recorded:
    """A view of the file that is filmed at each store."""

    def __init__(self, view: Any, shoot: Callable[[], None]) -> None:
        self._view = view
        self._shoot = shoot

    def __getitem__(self, index: int) -> Any:
        return self._view[index]

    def __setitem__(self, index: int, word: Any) -> None:
        self._view[index] = word
        self._shoot()


def film(run: Run) -> Film:
    """Record all stores from now on, until the file grows."""
    made = Film(run)
    table = run.table
    for name in ("_words", "_ids", "_checks", "_slots"):
        setattr(table, name, Recorded(getattr(table, name), made.shoot))
    return made


def test_a_kill_between_any_two_stores_never_ends_a_lease_early(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ttls = {1: 10, 2: 4, 3: 6}
    filmed = film(run)

    def tell(lease_id: int) -> None:
        """The reply leaves: from here on it is a promise."""
        filmed.promised[lease_id] = ttls[lease_id], filmed.now + ttls[lease_id]

    def grant(lease_id: int) -> None:
        run.grant(lease_id, ttls[lease_id], now=filmed.now)
        tell(lease_id)

    def pass_time(seconds: float) -> None:
        filmed.now += seconds
        run.lessor.keep_time(filmed.now)

    for lease_id in ttls:
        grant(lease_id)
        pass_time(0.73)
    run.lessor.renew(LeaseID(1), now=filmed.now)
    tell(1)
    pass_time(2.31)
    # Revoked and granted anew with a longer TTL, under its own id and in another's slot.
    for lease_id, ttl in ((2, 40), (3, 30)):
        run.lessor.revoke(LeaseID(lease_id))
        ttls[lease_id] = ttl
        grant(lease_id)
        pass_time(1.0)
    run.lessor.revoke(LeaseID(1))
    del filmed.promised[1]
    ttls[4] = 20
    grant(4)
    pass_time(0.01)

    assert len(filmed.frames) > 30
    for frame, promised, now in filmed.frames:
        with run.path.open("r+b") as file:
            file.write(frame)
        found = run.next()
        assert found.reason == ""
        assert found.damaged == 0, "a kill is no damage"
        # A lease that is being revoked counts as it was: the kill may come before the batch.
        for lease_id, (ttl, until) in promised.items():
            spent = max(0.0, found.spent.get(LeaseID(lease_id), 0.0))
            assert ttl - spent >= until - now - 1e-9
