"""Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input")."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def shrink(
    items: Sequence[T], fails: Callable[[Sequence[T]], Awaitable[bool]], tries_max: int
) -> list[T]:
    """The fewest items found, in their order, for which `fails` is still true.

    It is true for `items`. The last one is always kept: it is where the failure was seen.
    """
    kept, last = list(items[:-1]), items[-1]
    parts, tries = 2, 0
    while kept and tries < tries_max:
        size = -(-len(kept) // parts)
        for begin in range(0, len(kept), size):
            without = kept[:begin] + kept[begin + size :]
            tries += 1
            if await fails([*without, last]):
                kept, parts = without, max(parts - 1, 2)
                break
            if tries == tries_max:
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return [*kept, last]
