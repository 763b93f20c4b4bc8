"""What a setting is: a field with a default, a syntax and a sentence, and how it may be refused.

The settings themselves are the fields of `server.settings.config.Config`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from server.settings.values import Kind


class StartError(Exception):
    """Why the server cannot start, told to the one who tried. The process ends with 1."""


class ConfigError(StartError):
    """A setting, or two of them together, that cannot be honoured."""


class Effect(Enum):
    YES = "has an effect"
    NONE = "accepted without effect"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the command line, the help and the documentation need to know of one flag."""

    flag: str  # Without the dashes.
    kind: Kind
    default: str  # As it would be typed.
    help: str  # One sentence; for a refused flag, the reason.
    group: str
    effect: Effect
    field: str = ""  # Of `Config`; empty for a flag without effect.
    aliases: tuple[str, ...] = ()  # Flags that mean the same; the one above wins over them.


def variable_of(flag: str) -> str:
    """The environment variable that sets a flag (pkg/flags/flag.go)."""
    return "ETCD_" + flag.upper().replace("-", "_")


def option(
    default: Any,
    kind: Kind,
    group: str,
    help: str,
    *,
    shown: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Any:
    """Declare a field of `Config`; `shown` replaces a default that depends on other settings."""
    metadata = {"kind": kind, "group": group, "help": help, "shown": shown, "aliases": aliases}
    return field(default=default, metadata=metadata)
