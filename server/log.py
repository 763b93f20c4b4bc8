"""Log lines in etcd's form: one JSON object a line, with the keys zap gives them.

Programs wait for lines by their text and parse them as JSON, so keys, level names and the form of
the time are kept: level, ts (UTC, milliseconds), caller, msg, then the fields of the line. A line
gets its fields with `extra=fields(...)`; the words in the text never vary, what varies is a field.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from server.log_rotation import RotatingHandler, Rotation
from server.settings.config import ConfigError

PANIC: Final = 45  # Between error and fatal, where zap has it. Only ever a threshold here.
LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": PANIC,
    "fatal": logging.CRITICAL,
}
_NAMES: Final = {number: name for name, number in LEVELS.items()}
_FIELDS: Final = "fields"
# systemd's journal reads a service's standard error, so these three mean one thing.
_STDERR: Final = frozenset({"default", "stderr", "systemd/journal"})


def fields(**named: object) -> dict[str, Any]:
    """The `extra` of a log call. An underscore becomes a hyphen: `member_id=1` is `member-id`."""
    return {_FIELDS: {name.replace("_", "-"): value for name, value in named.items()}}


class JSONFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": level_name(record.levelno),
            "ts": timestamp(record.created),
            "caller": caller_of(record),
            "msg": record.getMessage(),
            **fields_of(record),
        }
        return to_json(line)


class ConsoleFormatter(logging.Formatter):
    """The same for the eye: tabs between, and the fields as JSON at the end if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        line = [
            timestamp(record.created),
            level_name(record.levelno),
            caller_of(record),
            record.getMessage(),
        ]
        if extra := fields_of(record):
            line.append(to_json(extra))
        return "\t".join(line)


FORMATTERS: Final[Mapping[str, type[logging.Formatter]]] = {
    "json": JSONFormatter,
    "console": ConsoleFormatter,
}


def to_json(line: Mapping[str, Any]) -> str:
    """Without blanks, as zap writes it: scripts search for `"msg":"ready to serve`."""
    return json.dumps(line, ensure_ascii=False, default=str, separators=(",", ":"))


def level_name(number: int) -> str:
    """zap's name of a level; of one between two, the less severe."""
    return _NAMES[max((each for each in _NAMES if each <= number), default=logging.DEBUG)]


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def caller_of(record: logging.LogRecord) -> str:
    """Where the line was logged: the last folder, the file and the line number."""
    path = Path(record.pathname)
    return f"{path.parent.name}/{path.name}:{record.lineno}"


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the line carries besides its text, and the exception it was logged with."""
    extra = dict(getattr(record, _FIELDS, {}))
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        extra.setdefault("error", f"{type(error).__name__}: {error}")
        extra["stacktrace"] = "".join(traceback.format_exception(error))
    return extra


def setup(level: str, form: str, outputs: Sequence[str], rotation: Rotation | None = None) -> None:
    """Send all logging of the process to `outputs`; what went elsewhere before no longer does.

    Args:
        level: one of `LEVELS`.
        form: one of `FORMATTERS`.
        outputs: each `default`, `stderr`, `stdout` or the path of a file to append to.
        rotation: of the files; none are begun anew without it.

    Raises:
        ConfigError: a file cannot be opened.
    """
    handlers = [_open_handler(output, rotation) for output in outputs]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(FORMATTERS[form]())
        root.addHandler(handler)
    root.setLevel(LEVELS[level])


def _open_handler(output: str, rotation: Rotation | None) -> logging.Handler:
    if output in _STDERR:
        return logging.StreamHandler(sys.stderr)
    if output == "stdout":
        return logging.StreamHandler(sys.stdout)
    try:
        if rotation is not None:
            return RotatingHandler(output, rotation)
        # A key of a client may be in a line, so not every text is valid UTF-8 when encoded.
        return logging.FileHandler(output, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"--log-outputs {output}: {error.strerror}") from error
