"""Where a lease's time is kept beyond the end of the process, and the words it is kept in.

A lease always runs its full TTL from some instant, so its *begin* says as much as its deadline:
a granted or renewed lease began now, one that a promotion gave less began that much earlier. And
the begin is the same number for all leases that are renewed together. So it is made once, with
its check in it, and what a renewal adds is one item assignment of a number that is there already.

Begins, and the clock they are compared with, are counted in ticks of 50 ms: a begin is counted
up, the clock down. So what is kept of a lease's time is never less than what it had, and at most
two ticks more.

A word is a count times a prime. A damaged byte changes a word by less than 256 times a power of
256, which the prime does not divide, so the damage shows; of any other nonsense one word in 16
million would pass. 0 is no word: the lease has its full TTL.

The lessor is given a `Deadlines` and no file. Slot 0 is scrap: whoever has no slot writes there,
so a renewal never has to ask.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence, Sequence
from typing import Final, Protocol

from lease.lease import LeaseID
from lease.wheel import TICKS_PER_S

SCRAP: Final = 0  # The slot of those that have none.
NO_WORD: Final = 0
TICKS_MAX: Final = (1 << 38) - 1  # 435 years, and as much below 0: the longest TTL has 285.

_OFFSET: Final = 1 << 38  # Makes every count positive: a TTL may have begun before the clock did.
_PRIME: Final = 16_777_213  # The largest below 2**24, so that a word has 63 bits.


def encode(ticks: int) -> int:
    """The word of a count between -`TICKS_MAX` and `TICKS_MAX`; a count beyond them is cut."""
    return (min(max(ticks, -TICKS_MAX), TICKS_MAX) + _OFFSET) * _PRIME


def decode(word: int) -> int | None:
    """The count that a word holds, or None if it is none that `encode` makes."""
    count, rest = divmod(word, _PRIME)
    ticks = count - _OFFSET
    return ticks if not rest and abs(ticks) <= TICKS_MAX else None


def tick_before(seconds: float) -> int:
    """The last tick that is not after `seconds`."""
    ticks = math.floor(seconds * TICKS_PER_S)
    return ticks - 1 if ticks / TICKS_PER_S > seconds else ticks  # The product may be rounded up.


def tick_after(seconds: float) -> int:
    """The first tick that is not before `seconds`."""
    return -tick_before(-seconds)


class Deadlines(Protocol):
    """A row of words, one for each lease that has a slot in it, and a clock."""

    @property
    def slots(self) -> MutableSequence[int]:
        """Where begins are written, by index. Another object after an `assign`, at times."""
        ...

    def assign(self, lease_id: LeaseID) -> int:
        """A slot that says 0 and belongs to this lease from now on; `SCRAP` if there is no room."""
        ...

    def assign_all(self, lease_ids: Sequence[LeaseID]) -> Sequence[int]:
        """`assign` for each, as one: for a start, when there are millions."""
        ...

    def release(self, slot: int) -> None:
        """Let go of a slot, its word first. Nothing happens to `SCRAP`."""
        ...

    def set_clock(self, word: int) -> None:
        """Until when leases have been served."""
        ...


class Volatile:
    """`Deadlines` that keep nothing: a restart gives every lease its full TTL, as etcd's does."""

    __slots__ = ("slots",)

    def __init__(self) -> None:
        self.slots: MutableSequence[int] = [NO_WORD]

    def assign(self, lease_id: LeaseID) -> int:  # noqa: ARG002  # it is all the same to it
        return SCRAP

    def assign_all(self, lease_ids: Sequence[LeaseID]) -> Sequence[int]:
        return [SCRAP] * len(lease_ids)

    def release(self, slot: int) -> None:
        assert slot == SCRAP

    def set_clock(self, word: int) -> None: ...
