"""The data directory: made, refused, and used by one process at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.datadir import LOCK_REMARK, DataDir, DataDirError
from tests.support.clock import FakeClock, settle


def _refusal(root: Path) -> str:
    with pytest.raises(DataDirError) as caught:
        DataDir.prepare(root)
    return str(caught.value)


def _no_remark(waited_s: float) -> None:
    raise AssertionError(f"remarked after {waited_s} s")


def test_a_missing_directory_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    data = DataDir.prepare(root)
    assert root.stat().st_mode & 0o777 == 0o700
    assert data.home.stat().st_mode & 0o777 == 0o700
    assert data.lock_file.stat().st_mode & 0o777 == 0o600
    assert (data.store, data.mark) == (root / "tenure" / "store", root / "tenure" / "mark")


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    DataDir.prepare(tmp_path / "a")
    assert DataDir.prepare(tmp_path / "a") == DataDir(tmp_path / "a")


@pytest.mark.parametrize("made", ["store", "mark"])
def test_a_directory_is_new_until_a_server_got_as_far_as_a_store(tmp_path: Path, made: str) -> None:
    data = DataDir.prepare(tmp_path)
    assert data.is_new
    (data.home / made).touch()
    assert not data.is_new


def test_other_files_in_the_directory_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "member").mkdir()
    assert DataDir.prepare(tmp_path).is_new


@pytest.mark.parametrize("mark", ["member/snap/db", "member/wal"])
def test_the_data_of_an_etcd_is_refused_by_name_and_left_alone(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    refusal = _refusal(tmp_path)
    assert refusal == (
        f"{tmp_path} is the data directory of an etcd ({mark} is there). Nothing in it was changed."
        " To serve what it holds, stop that etcd, run `tenure snapshot restore"
        f" {tmp_path}/member/snap/db --skip-hash-check --data-dir {tmp_path}.tenure` and start with"
        f" --data-dir {tmp_path}.tenure"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_that_imports_can_be_pasted_whatever_the_path(tmp_path: Path) -> None:
    root = tmp_path / "it's mine"
    (root / "member" / "snap" / "db").mkdir(parents=True)
    command = _refusal(root).split("`")[1]
    assert shlex.split(command)[3] == str(root / "member" / "snap" / "db")


def test_a_directory_that_a_restore_has_not_finished_is_refused(tmp_path: Path) -> None:
    """A new store there would look as if the snapshot had been empty."""
    root = tmp_path / "data"
    beside, within = tmp_path / "data.restoring", root / "tenure.restoring"
    for remains in (beside, within):
        remains.mkdir(parents=True)
        assert _refusal(root) == (
            f"a restore into {root} has not finished ({remains} is there). Run `tenure snapshot"
            " restore` again; or remove that directory to start without data."
        )
        shutil.rmtree(remains)
    assert DataDir.prepare(root).is_new


def test_remains_beside_a_directory_that_is_there_do_not_matter(tmp_path: Path) -> None:
    """They are of a restore that was to become it, and something else has."""
    root = tmp_path / "data"
    DataDir.prepare(root)
    (tmp_path / "data.restoring").mkdir()
    DataDir.prepare(root)


def test_a_directory_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "data"
    assert _refusal(root) == f"cannot use data directory {root}: Not a directory ({root})"


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.touch()
    assert _refusal(root) == f"cannot use data directory {root}: File exists ({root})"


def test_a_file_in_the_place_of_the_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "tenure" / "lock"
    lock.mkdir(parents=True)
    assert _refusal(tmp_path) == f"cannot use data directory {tmp_path}: Is a directory ({lock})"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    home = tmp_path / "tenure"
    expected = f"cannot use data directory {tmp_path}: Permission denied ({home})"
    assert _refusal(tmp_path) == expected


def test_a_directory_others_can_read_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    DataDir.prepare(tmp_path)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["fields"] == {
        "path": str(tmp_path),
        "mode": "755",
        "recommended": "700",
    }


def test_a_free_directory_is_locked_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        data = DataDir.prepare(tmp_path)
        lock = await data.lock(FakeClock(), _no_remark)
        lock.release()
        lock.release()
        (await data.lock(FakeClock(), _no_remark)).release()

    asyncio.run(scenario())


def test_a_locked_directory_is_waited_for_and_the_wait_remarked_every_ten_seconds(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        data = DataDir.prepare(tmp_path)
        held = await data.lock(clock, _no_remark)
        waits: list[float] = []
        waiting = asyncio.create_task(data.lock(clock, waits.append))
        await clock.advance(9)
        assert waits == []
        await clock.advance(22)
        assert [round(each) for each in waits] == [10, 20, 30]
        assert not waiting.done()
        held.release()
        await clock.advance(0.2)
        assert waiting.done()
        (await waiting).release()

    asyncio.run(scenario())


def test_a_wait_that_is_cancelled_leaves_the_lock_to_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        descriptors = set(os.listdir("/proc/self/fd"))
        clock = FakeClock()
        data = DataDir.prepare(tmp_path)
        held = await data.lock(clock, _no_remark)
        waiting = asyncio.create_task(data.lock(clock, _no_remark))
        await settle()
        waiting.cancel()
        await settle()
        assert waiting.cancelled()
        held.release()
        assert set(os.listdir("/proc/self/fd")) == descriptors
        (await data.lock(clock, _no_remark)).release()

    asyncio.run(scenario())


def test_a_directory_that_vanished_cannot_be_locked(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "gone")
    with pytest.raises(DataDirError, match=r"^cannot lock data directory .*gone: No such file"):
        asyncio.run(data.lock(FakeClock(), _no_remark))


def test_the_remark_has_the_words_that_tests_of_etcd_wait_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    DataDir(tmp_path).remark_on_wait(10.04)
    (record,) = caplog.records
    assert record.message == LOCK_REMARK
    assert json.dumps(record.__dict__["fields"]["took"]) == '"10.0s"'
    assert LOCK_REMARK == "db file is flocked by another process, or taking too long"


LOCK_AND_SAY_SO = """
import asyncio, sys
from pathlib import Path
from server.clock import SystemClock
from server.datadir import DataDir

async def main():
    data = DataDir.prepare(Path(sys.argv[1]))
    sys.stdout.write("locking\\n"); sys.stdout.flush()
    await data.lock(SystemClock(), lambda waited_s: None)
    sys.stdout.write("locked\\n"); sys.stdout.flush()
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def _locker(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOCK_AND_SAY_SO, str(root)], stdout=subprocess.PIPE, text=True
    )


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.power
def test_the_lock_of_a_killed_process_passes_to_the_one_that_waits(tmp_path: Path) -> None:
    with _locker(tmp_path) as holder:
        assert [_line_of(holder), _line_of(holder)] == ["locking\n", "locked\n"]
        with _locker(tmp_path) as waiter:
            assert _line_of(waiter) == "locking\n"
            holder.kill()
            assert _line_of(waiter) == "locked\n"
            waiter.kill()


@pytest.mark.power
def test_a_signal_ends_a_process_that_waits_for_the_lock(tmp_path: Path) -> None:
    with _locker(tmp_path) as holder:
        assert [_line_of(holder), _line_of(holder)] == ["locking\n", "locked\n"]
        with _locker(tmp_path) as waiter:
            assert _line_of(waiter) == "locking\n"
            waiter.terminate()
            assert waiter.wait(timeout=10) == -signal.SIGTERM
        holder.kill()
