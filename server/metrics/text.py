"""Prometheus' text format, version 0.0.4, to the letter of etcd's.

It is written by hand because etcd's names break the rules that libraries enforce: gauges end in
`_total` (etcd_server_proposals_committed_total) and counters do not (etcd_server_health_success).
Numbers look as Go prints them: a bucket's bound is a label, and must be the same text as etcd's
for the two to be added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# Go prints a number with an exponent if that were outside of this.
_EXPONENT_MIN: Final = -4
_EXPONENT_MAX: Final = 5
_PLAIN_MAX: Final = 10 ** (_EXPONENT_MAX + 1)

Kind = Literal["counter", "gauge", "histogram"]


class Sample(NamedTuple):
    """One line: `suffix` is what comes after the family's name, `labels` is in braces or empty."""

    suffix: str
    labels: str
    value: float


class Family(NamedTuple):
    """All series of one name. One without samples is left out, as a Go vector nobody touched."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[Sample]


def counter(name: str, help: str, value: float) -> Family:
    return Family(name, "counter", help, (Sample("", "", value),))


def gauge(name: str, help: str, value: float) -> Family:
    return Family(name, "gauge", help, (Sample("", "", value),))


def info(name: str, help: str, labels: Mapping[str, str]) -> Family:
    """A gauge that is 1 and says what it has to say in its labels."""
    return Family(name, "gauge", help, (Sample("", label_text(labels), 1),))


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand in a sample, in the order of their names."""
    return "{" + ",".join(f'{name}="{_escape(labels[name])}"' for name in sorted(labels)) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def exposition(families: Iterable[Family]) -> bytes:
    """The whole text, families in the order of their names."""
    lines: list[str] = []
    for name, kind, help_text, samples in sorted(families, key=lambda family: family.name):
        rows = [f"{name}{suffix}{labels} {number(value)}" for suffix, labels, value in samples]
        if rows:
            lines.append(f"# HELP {name} {help_text}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(rows)
    return ("\n".join(lines) + "\n").encode()


def number(value: float) -> str:
    """`value` as Go's strconv prints a float64 in its shortest form."""
    if isinstance(value, int) and 0 <= value < _PLAIN_MAX:
        return str(value)
    value = float(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    power = len(text) - 1 + exponent  # Of the first digit.
    prefix = "-" if sign else ""
    if not _EXPONENT_MIN <= power <= _EXPONENT_MAX:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{prefix}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return prefix + format(Decimal((0, digits, exponent)), "f")
