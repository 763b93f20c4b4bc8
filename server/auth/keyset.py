"""A set of keys as the union of ranges, for one question: does it hold all of these keys?

The ranges are kept sorted, and those that overlap or touch are one. So a range of keys is held
by the set exactly when it is held by a single one of the kept ranges, and that can only be the
last one that begins at or before it: a question is one bisection. etcd asks an interval tree
(Contains in pkg/adt/interval_tree.go), with the same answers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from mvcc.keyrange import KeyRange


class KeySet:
    __slots__ = ("_begins", "_ends")

    def __init__(self, ranges: Iterable[KeyRange]) -> None:
        """Empty ranges, and those that begin with the empty key, which no key has, add nothing."""
        self._begins: list[bytes] = []
        self._ends: list[bytes | None] = []  # None where there is no upper bound.
        whole = [each for each in ranges if each.start and not each.is_empty]
        for begin, end in sorted(whole, key=lambda each: each.start):
            if not self._begins or not _reaches(self._ends[-1], begin):
                self._begins.append(begin)
                self._ends.append(end)
            else:
                self._ends[-1] = _later(self._ends[-1], end)

    def holds(self, key: bytes) -> bool:
        """Whether this one key is in it."""
        at = bisect_right(self._begins, key) - 1
        if at < 0:
            return False
        end = self._ends[at]
        return end is None or key < end

    def covers(self, keys: KeyRange) -> bool:
        """Whether every key of a range is in it.

        A range that ends before it begins has no keys; of that one, its beginning must be in the
        set. So it is on etcd too, but for some shapes that its tree may have.
        """
        at = bisect_right(self._begins, keys.start) - 1
        if at < 0:
            return False
        end = self._ends[at]
        if end is None:
            return True
        return keys.end is not None and keys.start < end and keys.end <= end


def _reaches(end: bytes | None, begin: bytes) -> bool:
    """Whether a range that ends at `end` leaves no gap before one that begins at `begin`."""
    return end is None or begin <= end


def _later(one: bytes | None, other: bytes | None) -> bytes | None:
    return None if one is None or other is None else max(one, other)
