"""Work cut into slices: generators that stop now and then, so that the caller can do other work.

Each slice is a few milliseconds on one core of the machine this was written on. What is looked at
must not change between two slices; the caller sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, TypeVar

SLICE_KEYS: Final = 5000  # Of which memory knows all that is asked for: under 0.5 us each.
SLICE_CHANGES: Final = 250  # Keys deleted: 10 to 16 us each.
SLICE_COSTLY: Final = 500  # Whose bytes are parsed, or read from the disk: 3 to 8 us each.
_MERGED_AT_ONCE: Final = 4  # Runs; so the last step goes through all that there is twice at most.

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size`, the last one shorter; none of nothing."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def merged(
    runs: list[list[T]], key: Callable[[T], Any] | None = None, *, reverse: bool = False
) -> Generator[None, None, list[T]]:
    """All items of `runs`, each sorted already as `list.sort` does it, in one list sorted alike.

    Sorting what consists of sorted runs is merging them, in C, and as stable.
    """
    while len(runs) > 1:
        longer = []
        for at in range(0, len(runs), _MERGED_AT_ONCE):
            run = list(chain.from_iterable(runs[at : at + _MERGED_AT_ONCE]))
            run.sort(key=key, reverse=reverse)
            longer.append(run)
            yield
        runs = longer
    return runs[0] if runs else []
