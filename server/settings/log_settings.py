"""The settings of the log, and what must hold of them together.

Refusals have etcd's texts (server/embed/config_logging.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.log_rotation import DEFAULT_TEXT, Rotation, parse_rotation
from server.settings.setting import ConfigError, option
from server.settings.values import BOOL, LIST, STRING

LOG_LEVELS: Final = ("debug", "info", "warn", "error", "panic", "fatal")
LOG_FORMATS: Final = ("json", "console")
DEFAULT_OUTPUT: Final = "default"
# systemd's journal reads a service's standard error, so three of these mean one thing.
STREAM_OUTPUTS: Final = (DEFAULT_OUTPUT, "stderr", "stdout", "systemd/journal")


@dataclass(frozen=True, kw_only=True)  # Without slots: a class has one base that has some.
class LogSettings:
    """Fields of `server.settings.config.Config`."""

    log_level: str = option(
        "info", STRING, "Logging", f"Least severe level that is logged: {', '.join(LOG_LEVELS)}."
    )
    log_format: str = option("json", STRING, "Logging", "json or console.")
    log_outputs: tuple[str, ...] = option(
        ("default",), LIST, "Logging", "stderr (the default), stdout or a file's path; a list."
    )
    logger: str = option("zap", STRING, "Logging", "Only zap, which names the form of the lines.")
    enable_log_rotation: bool = option(
        False, BOOL, "Logging", "Begin the one file among --log-outputs anew when it is full."
    )
    log_rotation_config_json: str = option(
        DEFAULT_TEXT,
        STRING,
        "Logging",
        "When a log file is full (megabytes), and how long full ones are kept (days, files;"
        " 0: for ever, all).",
    )

    def check_logging(self) -> None:
        """Raises ConfigError."""
        if self.logger == "capnslog":
            raise ConfigError("--logger=capnslog is removed in v3.5")
        if self.logger != "zap":
            raise ConfigError(f'unknown logger option "{self.logger}"')
        if len(self.log_outputs) > 1 and DEFAULT_OUTPUT in self.log_outputs:
            raise ConfigError('multi logoutput for "default" is not supported yet')
        if self.enable_log_rotation:
            files = [output for output in self.log_outputs if output not in STREAM_OUTPUTS]
            if len(files) != 1:
                raise ConfigError(
                    "--log-outputs requires a single file path when --log-rotate-config-json"
                    " is defined"
                )
            try:
                parse_rotation(self.log_rotation_config_json)
            except ValueError as error:
                raise ConfigError(str(error)) from error
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f'unrecognized level: "{self.log_level}"')
        if self.log_format not in LOG_FORMATS:
            raise ConfigError(
                f"unknown log format: {self.log_format}, supported values json, console"
            )

    @property
    def rotation(self) -> Rotation | None:
        """How log files are begun anew; None if they are not."""
        return parse_rotation(self.log_rotation_config_json) if self.enable_log_rotation else None
