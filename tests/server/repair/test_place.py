"""What a repair refuses, and that nothing that interrupts it leaves half a store."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from mvcc.backend.base import Column
from server.datadir import DataDir
from server.recovery import FORMAT
from server.repair import place
from server.settings.config import StartError
from tests.power.check import cuts_in, start
from tests.power.support import NEEDS_PTRACE, record, scratch
from tests.server.repair.support import (
    everything,
    flip_in_journal,
    keys,
    make,
    run,
    store_of,
    write,
)


@pytest.fixture(scope="module")
def made(long_room: Path) -> Path:
    """With a damaged journal."""
    path = long_room
    make(path / "data", path / "aside", in_tables=False)
    flip_in_journal(path / "data", 0.5)
    return path / "data"


@pytest.fixture
def damaged(room: Path, made: Path) -> Path:
    return Path(shutil.copytree(made, room / "data"))


def refusal(capsys: pytest.CaptureFixture[str], data_dir: Path, *flags: str, code: int = 1) -> str:
    before = everything(data_dir)
    assert run(data_dir, *flags).code == code
    assert everything(data_dir) == before
    assert not (DataDir(data_dir).home / place.REPAIRING).exists()
    return capsys.readouterr().err


def test_what_is_no_data_directory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no data directory of Tenure" in refusal(capsys, tmp_path / "not there")
    assert not (tmp_path / "not there").exists()


def test_a_store_that_is_gone_cannot_be_repaired(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(store_of(damaged))
    assert "restore a snapshot" in refusal(capsys, damaged)


def test_a_directory_in_use_is_refused(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = DataDir(damaged).try_lock()
    assert "is in use by another process" in refusal(capsys, damaged)
    lock.release()


def test_a_store_of_a_newer_version_is_refused(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = room / "data"
    make(damaged, room / "aside", in_tables=False)
    write(damaged, Column.META, b"format", (FORMAT + 1).to_bytes(8, "big"))
    assert f"format {FORMAT + 1}, written by a newer version" in refusal(capsys, damaged)


def test_without_room_nothing_is_begun(
    damaged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "ROOM_SPARE_BYTES", 1 << 60)
    assert "a repair needs up to 10995116277" in refusal(capsys, damaged)


def test_arguments_that_make_no_sense_are_refused(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--force" in refusal(capsys, damaged, "--force", code=128)


def test_help_is_no_failure(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(damaged, "--help").code == 0
    assert "--dry-run" in capsys.readouterr().out


def test_the_remains_of_a_repair_that_was_killed_mean_nothing(damaged: Path) -> None:
    remains = DataDir(damaged).home / place.REPAIRING
    remains.mkdir()
    (remains / "copy").write_bytes(b"")
    assert run(damaged).code == 3
    assert not remains.exists()
    start(damaged)


def test_a_file_system_without_links_gets_copies(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(place.os, "link", refuse)  # type: ignore[attr-defined]  # the system's
    assert run(damaged).code == 3
    start(damaged)


def test_each_repair_keeps_what_it_replaced(damaged: Path) -> None:
    assert run(damaged).code == 3
    DataDir(damaged).mark.write_bytes(b"")
    assert run(damaged).lines[-1].endswith("store.damaged-2")
    assert (DataDir(damaged).home / "store.damaged-1" / "CURRENT").exists()
    start(damaged)


@pytest.mark.parametrize("done", range(5))
def test_a_repair_that_was_interrupted_at_its_end_is_finished_by_the_next(
    damaged: Path, room: Path, done: int
) -> None:
    """After each rename: until the last of them no server starts."""
    home = DataDir(damaged).home
    twin = Path(shutil.copytree(damaged, room / "twin"))
    assert run(twin).code == 3
    for name in ("mark", "store"):
        (DataDir(twin).home / name).rename(home / f"{name}.repaired")
    (home / "other").write_bytes(b"of the damaged one")
    steps = [
        ("store", "store.damaged-1"),
        ("mark", "mark.damaged-1"),
        ("other", "other.damaged-1"),
        ("mark.repaired", "mark"),
    ]
    for source, target in steps[:done]:
        (home / source).rename(home / target)
    with pytest.raises(StartError, match="has not finished"):
        start(damaged)
    assert run(damaged, "--dry-run").code == 0
    ended = run(damaged)
    assert ended.code == 0
    assert "an earlier repair was interrupted" in ended.text
    names = ["lock", "mark", "mark.damaged-1", "other.damaged-1", "store", "store.damaged-1"]
    assert sorted(each.name for each in home.iterdir()) == names
    assert len(keys(start(damaged))) == 10


@NEEDS_PTRACE
@pytest.mark.power
def test_a_power_cut_leaves_the_damaged_store_or_the_repaired_one(made: Path) -> None:
    """Or one that the next repair finishes; and never one that starts with less."""
    with scratch() as path:
        data_dir, story = path / "top" / "data", path / "out" / "story.{life}"
        shutil.copytree(made, data_dir)
        command = ("tests.power.command", str(story), "3", "repair", "--data-dir", str(data_dir))
        record(path, *command, lives=1, cuts=100, seed=1)
        whole = start(data_dir)
        seen: Counter[str] = Counter()
        for cut in cuts_in(path / "out"):
            left = cut.image / "data"
            try:
                started = start(left)
            except StartError as error:
                assert not cut.acknowledged
                seen["unfinished" if "not finished" in str(error) else "damaged"] += 1
                assert run(left).code in (0, 3)
                started = start(left)
            else:
                seen["repaired"] += 1
            assert keys(started) == keys(whole)
            shutil.rmtree(cut.image)
        assert seen["damaged"] > 5
        assert seen["unfinished"] + seen["repaired"]
