"""A number of bytes as etcd's tools print it (Bytes of github.com/dustin/go-humanize)."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STEP: Final = 1000


def humanize(size: int) -> str:
    """Thousands, one digit behind the point below 10: `9.9 kB`, `25 kB`."""
    if size < 10:
        return f"{size} B"
    power, unit = 1, 0
    while size >= power * _STEP and unit < len(_UNITS) - 1:
        power *= _STEP
        unit += 1
    # Rounded half up on tenths, as there: floor(value * 10 + 0.5) / 10.
    tenths = (size * 20 + power) // (2 * power)
    if tenths < 100:
        return f"{tenths / 10:.1f} {_UNITS[unit]}"
    return f"{tenths / 10:.0f} {_UNITS[unit]}"
