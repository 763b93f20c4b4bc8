"""A log file that is full begins anew; what becomes of the full ones. No line is lost."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server.log_rotation import DEFAULT_TEXT, MEGABYTE, RotatingHandler, Rotation, parse_rotation
from server.settings.config import Config, ConfigError

NOON = datetime(2030, 1, 2, 12, 0, 0, 123_000, tzinfo=UTC)


class Log:
    """A file of one megabyte, and lines with a time that the test says."""

    def __init__(self, path: Path, **rotation: Any) -> None:
        self.path = path
        self.handler = RotatingHandler(str(path), Rotation(1)._replace(**rotation))
        OPEN.append(self)

    def write(self, text: str, after: timedelta = timedelta(0)) -> None:
        record = logging.LogRecord("a", logging.INFO, "", 0, text, None, None)
        record.created = (NOON + after).timestamp()
        self.handler.emit(record)

    def fill(self, after: timedelta = timedelta(0)) -> None:
        """Fill the file to the last byte, and begin another with one line."""
        self.write("x" * (MEGABYTE - 1 - self.path.stat().st_size), after)
        self.write("first", after)

    def others(self) -> list[str]:
        self.handler._wait()
        return sorted(path.name for path in self.path.parent.iterdir() if path != self.path)


OPEN: list[Log] = []


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs" / "a.log"
    while OPEN:
        OPEN.pop().handler.close()


def test_a_file_is_filled_to_its_last_byte_and_no_further(path: Path) -> None:
    log = Log(path)
    log.write("x" * (MEGABYTE - 1))
    assert path.stat().st_size == MEGABYTE
    log.write("")
    assert path.read_text() == "\n"
    assert log.others() == ["a-2030-01-02T12-00-00.123.log"]
    assert (path.parent / log.others()[0]).stat().st_size == MEGABYTE


def test_a_line_longer_than_a_file_has_one_to_itself(path: Path) -> None:
    log = Log(path)
    log.write("x" * (2 * MEGABYTE))
    assert log.others() == []
    log.write("short")
    assert path.read_text() == "short\n"
    assert len(log.others()) == 1


def test_what_a_process_before_wrote_counts(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"x" * (MEGABYTE - 3))
    log = Log(path)
    log.write("ab")
    assert log.others() == []
    log.write("c")
    assert path.read_text() == "c\n"


def test_bytes_that_are_no_text_are_counted_as_they_are_written(path: Path) -> None:
    log = Log(path)
    log.write("x" * (MEGABYTE - 10))
    log.write("\udcff\n")  # Written as six characters.
    assert log.others() == []
    log.write("a")
    assert path.read_text() == "a\n"


def test_so_many_are_kept_the_newest(path: Path) -> None:
    log = Log(path, maxbackups=2)
    for hour in range(4):
        log.fill(timedelta(hours=hour))
    assert log.others() == ["a-2030-01-02T14-00-00.123.log", "a-2030-01-02T15-00-00.123.log"]


def test_they_are_kept_for_so_many_days(path: Path) -> None:
    log = Log(path, maxage=1)
    log.fill()
    log.fill(timedelta(hours=24))
    assert len(log.others()) == 2
    log.fill(timedelta(hours=24, milliseconds=1))
    assert log.others() == ["a-2030-01-03T12-00-00.123.log", "a-2030-01-03T12-00-00.124.log"]


def test_they_are_packed_and_then_count_as_before(path: Path) -> None:
    log = Log(path, compress=True, maxbackups=2)
    log.fill()
    (name,) = log.others()
    assert name == "a-2030-01-02T12-00-00.123.log.gz"
    with gzip.open(path.parent / name) as packed:
        assert len(packed.read()) == MEGABYTE
    log = Log(path, compress=True, maxbackups=2)
    log.fill(timedelta(hours=1))
    log.fill(timedelta(hours=2))
    assert log.others() == ["a-2030-01-02T13-00-00.123.log.gz", "a-2030-01-02T14-00-00.123.log.gz"]


def test_files_of_others_are_left_alone(path: Path) -> None:
    path.parent.mkdir()
    for name in ("a-1.log", "b-2020-01-02T12-00-00.123.log", "a-2020-01-02T12-00-00.123.txt"):
        (path.parent / name).write_text("mine")
    log = Log(path, maxbackups=1, maxage=1)
    log.fill()
    assert len(log.others()) == 4


def test_a_file_that_cannot_be_put_aside_is_written_on(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(path)
    log.fill()
    (taken,) = log.others()
    (path.parent / taken).unlink()
    (path.parent / taken).mkdir()
    log = Log(path)
    log.fill()
    assert path.read_text().endswith("first\n")
    assert path.stat().st_size > MEGABYTE, "no line is lost"
    assert "--- Logging error ---" in capsys.readouterr().err


def test_the_default_is_etcds() -> None:
    assert parse_rotation(DEFAULT_TEXT) == Rotation()
    assert Rotation() == (100, 0, 0, False, False)
    assert parse_rotation('{"maxsize": 0, "nope": 1, "MaxAge": 3}') == Rotation(maxage=3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "improperly formatted log rotation config: "),
        ("[]", "invalid log rotation config: it is no object"),
        ('{"maxsize": "1"}', "invalid log rotation config: maxsize: '1'"),
        ('{"maxage": true}', "invalid log rotation config: maxage: True"),
        ('{"compress": 1}', "invalid log rotation config: compress: 1"),
        ('{"maxbackups": -1}', "invalid log rotation config: maxbackups: -1"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(enable_log_rotation=True, log_outputs=("a",), log_rotation_config_json=text)
    assert str(caught.value).startswith(reason)
    assert Config(log_rotation_config_json=text).rotation is None, "nobody asks"


def test_one_file_can_be_rotated_and_streams_beside_it_are_not() -> None:
    for outputs in (("default",), ("stderr", "stdout"), ("a", "b")):
        with pytest.raises(ConfigError, match="requires a single file path"):
            Config(enable_log_rotation=True, log_outputs=outputs)
    config = Config(
        enable_log_rotation=True,
        log_outputs=("stderr", "a"),
        log_rotation_config_json=json.dumps({"maxsize": 7}),
    )
    assert config.rotation == Rotation(7)


@pytest.mark.parametrize(
    ("outputs", "logger", "reason"),
    [
        (("default", "a"), "zap", 'multi logoutput for "default" is not supported yet'),
        (("default",), "capnslog", "--logger=capnslog is removed in v3.5"),
        (("default",), "x", 'unknown logger option "x"'),
    ],
)
def test_what_etcd_refuses_of_a_log_is_refused(
    outputs: tuple[str, ...], logger: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(log_outputs=outputs, logger=logger)
    assert str(caught.value) == reason
