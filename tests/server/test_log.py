"""Log lines: etcd's keys and levels, whatever is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import log
from server.log import ConsoleFormatter, JSONFormatter, fields, level_name, timestamp
from server.settings.config import ConfigError


def _record(text: str, *values: object, level: int = logging.INFO) -> logging.LogRecord:
    record = logging.LogRecord("a", level, "/x/server/app.py", 17, text, values, None)
    record.created = 1795395850.27849
    return record


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # `setup` closes what it replaces, and these are the test runner's.
    root.handlers = []
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


def test_a_line_is_one_json_object_with_the_keys_of_etcd_in_their_order() -> None:
    record = _record("serving %s", "clients")
    record.fields = {"member-id": "8e9e05c52164694d", "urls": ["http://a:1"]}
    assert JSONFormatter().format(record) == (
        '{"level":"info","ts":"2026-11-23T01:04:10.278Z","caller":"server/app.py:17",'
        '"msg":"serving clients","member-id":"8e9e05c52164694d","urls":["http://a:1"]}'
    )


def test_a_line_for_the_eye_has_tabs_and_its_fields_at_the_end() -> None:
    record = _record("serving")
    assert ConsoleFormatter().format(record) == (
        "2026-11-23T01:04:10.278Z\tinfo\tserver/app.py:17\tserving"
    )
    record.fields = {"key": "ä"}
    assert ConsoleFormatter().format(record).endswith('\tserving\t{"key":"ä"}')


def test_a_line_break_in_a_text_stays_within_its_line() -> None:
    assert len(JSONFormatter().format(_record("a\nb")).splitlines()) == 1


def test_a_value_json_does_not_know_is_written_as_text() -> None:
    record = _record("a")
    record.fields = {"path": Path("/a")}
    assert json.loads(JSONFormatter().format(record))["path"] == "/a"


def test_an_exception_is_two_fields() -> None:
    record = _record("a")
    with pytest.raises(OSError, match="no space") as caught:
        raise OSError("no space")
    record.exc_info = (caught.type, caught.value, caught.tb)
    line = json.loads(JSONFormatter().format(record))
    assert line["error"] == "OSError: no space"
    assert "test_log.py" in line["stacktrace"]


def test_fields_have_hyphens_in_their_names() -> None:
    assert fields(member_id=1, path="a") == {"fields": {"member-id": 1, "path": "a"}}


@pytest.mark.parametrize(
    ("number", "name"),
    [(10, "debug"), (20, "info"), (30, "warn"), (40, "error"), (45, "panic"), (50, "fatal")],
)
def test_levels_have_the_names_of_zap(number: int, name: str) -> None:
    assert level_name(number) == name
    assert level_name(number + 1) == name


def test_a_level_below_all_is_debug() -> None:
    assert level_name(5) == "debug"


def test_the_time_is_utc_to_the_millisecond() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1.5) == "1970-01-01T00:00:01.500Z"


def test_lines_below_the_level_are_not_written(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("warn", "json", [str(path)])
    root.info("quiet")
    root.warning("heard", extra=fields(a=1))
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["msg"] == "heard"
    assert json.loads(line)["a"] == 1


def test_a_line_goes_to_every_output(
    root: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    log.setup("info", "console", ["stdout", "default", str(path)])
    root.info("heard")
    captured = capsys.readouterr()
    assert captured.out == captured.err == path.read_text()
    assert captured.out.endswith("\theard\n")


def test_setting_up_again_replaces_what_was(root: logging.Logger, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    log.setup("info", "json", [str(first)])
    log.setup("info", "json", [str(second)])
    root.info("heard")
    assert first.read_text() == ""
    assert second.read_text() != ""


def test_a_log_file_is_appended_to(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log.setup("info", "json", [str(path)])
    root.info("after")
    assert path.read_text().startswith("before\n{")


def test_bytes_that_are_no_text_do_not_stop_a_line(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("info", "json", [str(path)])
    root.info("a", extra=fields(key=b"\xff".decode(errors="surrogateescape")))
    assert "\\udcff" in path.read_text()


def test_a_log_file_that_cannot_be_opened_is_refused(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "no" / "log"
    before = root.handlers[:]
    with pytest.raises(ConfigError, match=f"^--log-outputs {path}: No such file or directory$"):
        log.setup("info", "json", [str(path)])
    assert root.handlers == before
