"""The command as a process manager sees it: its output and its exit codes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server import cli
from server.datadir import DataDirError
from server.log_rotation import RotatingHandler
from server.settings.config import Config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [each for each in os.environ if each.startswith("ETCD_")]:
        monkeypatch.delenv(variable)


def _must_not_run(config: Config) -> int:
    raise AssertionError(f"started with {config}")


def _lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_server_decides_the_exit_code(code: int) -> None:
    assert cli.main([], run=lambda _: code) == code


def test_the_server_gets_the_settings() -> None:
    seen: list[Config] = []

    def run(config: Config) -> int:
        seen.append(config)
        return 0

    cli.main(["--name=a"], run=run)
    assert seen == [Config(name="a", explicit=frozenset({"name"}))]


def test_the_start_says_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--max-wals=1"], run=lambda _: 0)
    running, without_effect = _lines(capsys.readouterr().err)
    assert running["msg"] == "Running: "
    assert running["args"] == ["tenure", "--max-wals=1"]
    assert (without_effect["level"], without_effect["msg"]) == ("warn", "flag has no effect")
    assert (without_effect["flag"], without_effect["value"]) == ("max-wals", "1")


def test_a_log_file_is_rotated_if_that_is_asked_for(tmp_path: Path) -> None:
    for flags, kind in (([], logging.FileHandler), (["--enable-log-rotation"], RotatingHandler)):
        cli.main([*flags, f"--log-outputs={tmp_path / 'a.log'}"], run=lambda _: 0)
        (handler,) = logging.getLogger().handlers
        assert type(handler) is kind
    handler.close()


def test_the_environment_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ETCD_LOG_LEVEL", "error")
    assert cli.main([], run=lambda config: 0 if config.log_level == "error" else 1) == 0
    assert capsys.readouterr().err == ""


def test_a_version_or_help_is_printed_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"], run=_must_not_run) == 0
    assert capsys.readouterr().out.startswith("etcd Version: 3.6.14\n")
    assert cli.main(["--help"], run=_must_not_run) == 0
    assert "  --unsafe-no-fsync 'false'\n" in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["--nope", "--max-txn-ops=x", "--name"])
def test_a_flag_nobody_can_read_ends_with_2_and_the_usage(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([argument], run=_must_not_run) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\nUsage:\n" in captured.err


@pytest.mark.parametrize(
    "argument",
    [
        "stray",
        "--election-timeout=1",
        "--log-level=loud",
        "--log-outputs=/dev/null/log",
        "--discovery-srv=example.com",
        "--config-file=a",
    ],
)
def test_a_setting_that_cannot_be_honoured_ends_with_1_and_a_fatal_line(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([argument], run=_must_not_run) == 1
    (line,) = _lines(capsys.readouterr().err)
    assert (line["level"], line["msg"]) == ("fatal", "failed to verify flags")
    assert line["error"]


def test_a_start_that_fails_ends_with_1_and_a_fatal_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(config: Config) -> int:
        raise DataDirError(f"cannot use {config.data_dir}")

    assert cli.main([], run=run) == 1
    line = _lines(capsys.readouterr().err)[-1]
    assert (line["level"], line["msg"]) == ("fatal", "failed to start")
    assert line["error"] == "cannot use default.etcd"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("argument", "code"), [("--version", 0), ("--help", 0), ("stray", 1), ("--nope", 2)]
)
def test_the_module_is_the_command(argument: str, code: int) -> None:
    assert _run("-m", "server", argument).returncode == code


ENDED_BY = """
import sys
from server import cli
sys.exit(cli.main([], run=lambda config: -{number}))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ended_by_a_signal_dies_of_it(number: signal.Signals) -> None:
    """So that a shell sees 143 or 130 (pkg/osutil/interrupt_unix.go)."""
    assert _run("-c", ENDED_BY.format(number=int(number))).returncode == -number


def test_the_server_of_this_version_can_be_loaded() -> None:
    run: Callable[[Config], int] = cli._load_server()
    assert callable(run)
