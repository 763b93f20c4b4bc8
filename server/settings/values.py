"""The texts a flag's value may be: Go's own syntax, because that is what etcd's flags take.

A `Kind` reads one such text and writes it back; `parse(format(value)) == value` for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from server.settings.urls import format_urls, parse_urls

PARSE_ERROR: Final = "parse error"  # The words of Go's flag package (errParse, errRange).
RANGE_ERROR: Final = "value out of range"

# The spellings of strconv.ParseBool.
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})

# An integer literal as strconv reads it with base 0: a prefix chooses the base, and
# underscores may stand between digits and after a prefix.
_INTEGER: Final = re.compile(
    r"(?P<sign>[+-]?)(?:"
    r"0[xX](?P<x>(?:_?[0-9a-fA-F])+)|0[bB](?P<b>(?:_?[01])+)|0[oO]?(?P<o>(?:_?[0-7])+)"
    r"|(?P<d>0|[1-9](?:_?[0-9])*))"
)
_BASES: Final = {"x": 16, "b": 2, "o": 8, "d": 10}

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "\N{MICRO SIGN}s": 10**3,
    "\N{GREEK SMALL LETTER MU}s": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART: Final = re.compile(
    r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
)
_INT64_MAX: Final = 2**63 - 1
_UINT64_MAX: Final = 2**64 - 1
_UINT32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """One syntax of values."""

    name: str
    parse: Callable[[str], Any]
    """Read a text. Raises ValueError with the words that end the refusal of a flag."""
    format: Callable[[Any], str]
    is_bool: bool = False  # `--flag` alone means true, and the value never is the next argument.


def parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(PARSE_ERROR)


def integer(low: int, high: int) -> Callable[[str], int]:
    """A reader of Go integer literals from `low` to `high`, both included."""

    def parse(text: str) -> int:
        match = _INTEGER.fullmatch(text)
        if match is None or (match["sign"] and low == 0):  # ParseUint takes no sign at all.
            raise ValueError(PARSE_ERROR)
        base = next(name for name in _BASES if match[name] is not None)
        value = int(match["sign"] + match[base].replace("_", ""), _BASES[base])
        if not low <= value <= high:
            raise ValueError(RANGE_ERROR)
        return value

    return parse


def parse_duration(text: str) -> float:
    """Seconds in a Go duration; see `duration_ns`."""
    return duration_ns(text) / 10**9


def duration_ns(text: str) -> int:
    """Nanoseconds in a Go duration such as `1m30s`, `1.5h` or `100ms`; `0` needs no unit.

    Raises:
        ValueError: it is no such text, or beyond the 292 years that fit 64 bits.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if rest == "0":
        return 0
    nanoseconds = 0
    position = 0
    while position < len(rest):
        part = _DURATION_PART.match(rest, position)
        if part is None or not (part["whole"] or part["fraction"]):
            raise ValueError(PARSE_ERROR)
        scale = _NANOSECONDS[part["unit"]]
        fraction = part["fraction"] or "0"
        nanoseconds += int(part["whole"] or "0") * scale
        nanoseconds += int(fraction) * scale // 10 ** len(fraction)
        position = part.end()
    if position == 0 or nanoseconds > _INT64_MAX:
        raise ValueError(PARSE_ERROR)
    return -nanoseconds if sign == "-" else nanoseconds


def format_duration(seconds: float) -> str:
    """The shortest whole-number spelling: `2h`, `1m30s`, `100ms`."""
    nanoseconds = round(Fraction(abs(seconds)) * 10**9)  # A float has no room for years of them.
    if nanoseconds == 0:
        return "0s"
    text = "-" if seconds < 0 else ""
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, nanoseconds = divmod(nanoseconds, _NANOSECONDS[unit])
        if count:
            text += f"{count}{unit}"
    return text


def go_duration(seconds: float) -> str:
    """As Go prints one in a log: `1.5s`, `103.25ms`, `2m0.5s`."""
    magnitude = abs(seconds)
    sign = "-" if seconds < 0 else ""
    if magnitude < 1:
        scale, unit = (10**3, "ms") if magnitude >= 10**-3 else (10**6, "\N{MICRO SIGN}s")
        return f"{sign}{_decimal(magnitude * scale)}{unit}" if magnitude else "0s"
    minutes, rest = divmod(magnitude, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h" if hours else ""
    if hours or minutes:
        text += f"{minutes}m"
    return f"{sign}{text}{_decimal(rest)}s"


def _decimal(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(","))) if text else ()


def choice(*allowed: str) -> Kind:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError("invalid value")
        return text

    return Kind(" | ".join(allowed), parse, str)


BOOL: Final = Kind("bool", parse_bool, lambda value: "true" if value else "false", is_bool=True)
INT: Final = Kind("int", integer(-_INT64_MAX - 1, _INT64_MAX), str)
UINT: Final = Kind("uint", integer(0, _UINT64_MAX), str)
UINT32: Final = Kind("uint32", integer(0, _UINT32_MAX), str)
DURATION: Final = Kind("duration", parse_duration, format_duration)
STRING: Final = Kind("string", str, str)
LIST: Final = Kind("list", _parse_list, ",".join)
URLS: Final = Kind("URLs", parse_urls, format_urls)
