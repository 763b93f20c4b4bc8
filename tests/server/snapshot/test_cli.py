"""`tenure snapshot` as a script sees it: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.datadir import DataDir, DataDirError
from server.snapshot.cli import USER_VARIABLE
from server.snapshot.progress import LOGGED_S, SHOWN_S, Progress
from tests.server.snapshot.rows import put, snapshot
from tests.server.snapshot.support import ETCD_3_5
from tests.support.clock import FakeClock
from tests.support.process import ROOT
from tests.support.serving import Running, served
from tests.support.users import CHEAP, enable, password_of

END_MAX_S = 60.0
SNAP = str(ETCD_3_5.path)


def _tenure(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", "snapshot", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=END_MAX_S,
        check=False,
    )


def test_the_status_is_one_line_on_the_output_and_nothing_else() -> None:
    run = _tenure("status", SNAP)
    assert (run.returncode, run.stdout, run.stderr) == (0, "2fb16b25, 9, 4, 20 kB, \n", "")


@pytest.mark.parametrize("form", [["-w", "json"], ["--write-out=json"]])
def test_the_form_can_be_chosen_as_with_etcdutl(form: list[str]) -> None:
    run = _tenure("status", SNAP, *form)
    assert run.stdout == (
        '{"hash":800156453,"revision":9,"totalKey":4,"totalSize":20480,"version":""}\n'
    )


def test_a_restore_says_in_its_log_what_there_is_now(tmp_path: Path) -> None:
    run = _tenure("restore", SNAP, "--data-dir", str(tmp_path / "d"))
    assert (run.returncode, run.stdout) == (0, "")
    begun, done = run.stderr.splitlines()
    assert "\trestoring snapshot\t" in begun
    assert "\trestored snapshot\t" in done
    assert '"revision":9,"keys":4,"leases":1,"member-id":"8e9e05c52164694d"' in done
    assert not DataDir.prepare(tmp_path / "d").is_new


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 128, "the following arguments are required: command"),
        (["nonsense"], 128, "invalid choice: 'nonsense'"),
        (["restore"], 128, "the following arguments are required: file"),
        (["restore", SNAP, "--no-such-flag"], 128, "unrecognized arguments: --no-such-flag"),
        (["restore", SNAP, "--bump-revision", "9"], 128, "--mark-compacted required if"),
        (["restore", SNAP, "--mark-compacted"], 128, "--mark-compacted required if"),
        (["restore", SNAP, "--bump-revision", "-1"], 128, "--mark-compacted required if"),
        (["restore", SNAP, "--initial-advertise-peer-urls", "x"], 128, "--initial-advertise-peer"),
        (["restore", SNAP, "--initial-cluster", "a=http://b:1"], 1, "couldn't find local name"),
        (["restore", "no-such-file"], 1, "no-such-file: No such file or directory"),
        (["status", str(ROOT / "README.md")], 1, "it is no database of etcd"),
        (["status", SNAP, "-w", "protobuf"], 4, "unsupported output format"),
        (["save", "f", "--endpoints", "a:1,b:1"], 128, "requested to one selected node"),
        (["save", "no-such-folder/f"], 1, "no-such-folder/f.part: No such file or directory"),
        (["save", "f", "--cacert", "no-such-file"], 1, "no-such-file: No such file or directory"),
        (["save", "f", "--endpoints", "127.0.0.1:1"], 1, "127.0.0.1:1: "),
    ],
)
def test_what_went_wrong_is_one_line_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    if arguments[:1] == ["restore"] and len(arguments) > 1:
        arguments = [*arguments, f"--data-dir={tmp_path / 'd'}"]
    run = _tenure(*arguments)
    error = run.stderr.splitlines()[-1]
    assert (run.returncode, run.stdout) == (code, "")
    assert error.startswith("Error: ")
    assert text in error
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []
    assert not (ROOT / "f.part").exists()


def test_help_is_no_error() -> None:
    run = _tenure("restore", "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert "--skip-hash-check" in run.stdout


# --- interrupted ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_restore_that_is_ended_leaves_no_data_directory(
    tmp_path: Path, number: signal.Signals
) -> None:
    """kill -9 leaves what it was making under another name, beside which no server starts."""
    path, data_dir = tmp_path / "s", tmp_path / "d"
    snapshot(path, [put(main, b"%d" % main) for main in range(2, 300_000)])
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "snapshot", "restore", path, f"--data-dir={data_dir}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "restoring snapshot" in process.stderr.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=END_MAX_S)
    assert process.returncode == -number
    assert not data_dir.exists()
    remains = tmp_path / "d.restoring"
    if number is signal.SIGKILL:
        if remains.exists():  # Else it was still at the hash.
            with pytest.raises(DataDirError, match="has not finished"):
                DataDir.prepare(data_dir)
    else:
        assert said == "Error: interrupted; nothing was left behind\n"
        assert not remains.exists()


# --- save ---


@served(on_disk=True)
async def test_a_snapshot_of_a_running_server_is_saved_whole(
    server: Running, tmp_path: Path
) -> None:
    await server.put_many(3)
    file = tmp_path / "f"
    run = await asyncio.to_thread(_tenure, "save", str(file), "--endpoints", server.target)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"Snapshot saved at {file}\nServer version 3.6.0\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not file.with_name("f.part").exists()
    status = await asyncio.to_thread(_tenure, "status", str(file))
    assert status.stdout.split(", ")[1:3] == ["4", "1"]


# --- progress ---


def test_a_terminal_is_written_to_at_once_now_and_then_and_at_the_end() -> None:
    clock, shown = FakeClock(), list[str]()
    progress = Progress(clock, shown.append)
    progress("copying", 0, 200)
    progress("copying", 1, 200)
    assert shown.pop() == "\rcopying: 0%   "
    assert shown == []
    clock.jump(SHOWN_S)
    progress("copying", 25, 200)
    progress("copying", 26, 200)
    progress("copying", 200, 200)
    progress.close()
    assert shown == ["\rcopying: 12%  ", "\rcopying: 100% ", "\n"]


def test_where_nobody_looks_only_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = Progress(clock, None)
    with caplog.at_level("INFO"):
        for seconds in (LOGGED_S - 1, 1, LOGGED_S - 1, 1):
            clock.jump(seconds)
            progress("copying", 1, 2)
    assert [record.message for record in caplog.records] == ["still at work"] * 2


@served(bcrypt_cost=CHEAP)
async def test_the_password_need_not_be_an_argument(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lists the processes of the machine sees arguments, and not the environment."""
    await enable(server.client)
    arguments = ("save", str(tmp_path / "f"), "--endpoints", server.target)
    assert (await asyncio.to_thread(_tenure, *arguments)).returncode == 1
    monkeypatch.setenv(USER_VARIABLE, f"root:{password_of('root')}")
    run = await asyncio.to_thread(_tenure, *arguments)
    assert run.returncode == 0, run.stderr
    assert password_of("root") not in run.stdout + run.stderr
