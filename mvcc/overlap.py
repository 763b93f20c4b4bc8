"""No key may be put twice in one transaction, nor put and deleted: checked before it runs.

The check is static, over both branches, and has the holes of etcd's (checkIntervals in
server/etcdserver/api/v3rpc/key.go), since clients may lean on them:

  - of two sibling transactions, the second may delete what the first puts, not the reverse;
  - a delete of everything from a key on (range_end "\\0") never conflicts, nor does one whose
    range_end is below its key: both read as a range that ends before it begins.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TypeVar

from etcdpb.rpc_pb2 import DeleteRangeRequest, PutRequest
from mvcc.plan import Operation, Plan


class DuplicateKeyError(Exception):
    """A transaction that would write `key` twice."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"key {key!r} is written twice")
        self.key = key


class _Intervals:
    """A union of half-open intervals, kept disjoint. Adding is O(n), asking O(log n)."""

    def __init__(self) -> None:
        self.starts: list[bytes] = []
        self.ends: list[bytes] = []

    def add(self, start: bytes, end: bytes) -> None:
        if end <= start:
            return
        first = bisect_left(self.ends, start)
        last = bisect_right(self.starts, end)
        if first < last:
            start = min(start, self.starts[first])
            end = max(end, self.ends[last - 1])
        self.starts[first:last] = [start]
        self.ends[first:last] = [end]

    def __len__(self) -> int:
        return len(self.starts)

    def update(self, other: _Intervals) -> None:
        for start, end in zip(other.starts, other.ends, strict=True):
            self.add(start, end)

    def __contains__(self, key: bytes) -> bool:
        at = bisect_right(self.starts, key)
        return at > 0 and key < self.ends[at - 1]


def check_overlap(operations: Sequence[Operation]) -> None:
    """Refuse one branch of a transaction if it writes a key twice.

    Raises:
        DuplicateKeyError
    """
    if len(operations) == 1 and not isinstance(operations[0], Plan):
        return  # There is nothing that it could meet.
    _writes(operations)


def _writes(operations: Sequence[Operation]) -> tuple[set[bytes], _Intervals]:
    """The keys that `operations` put, and the ranges they delete: both the caller's to change."""
    deletes = _Intervals()
    for operation in operations:
        if isinstance(operation, DeleteRangeRequest):
            deletes.add(operation.key, operation.range_end or operation.key + b"\0")
    puts: set[bytes] = set()
    for operation in operations:
        if isinstance(operation, Plan):
            success, success_deletes = _writes(operation.success)
            failure, failure_deletes = _writes(operation.failure)
            _check(success, puts, deletes)
            _check(failure, puts, deletes)
            puts = _merged(_merged(success, failure), puts)
            deletes = _merged(_merged(success_deletes, failure_deletes), deletes)
    for operation in operations:
        if isinstance(operation, PutRequest):
            key = operation.key
            if key in puts or key in deletes:
                raise DuplicateKeyError(key)
            puts.add(key)
    return puts, deletes


_SetT = TypeVar("_SetT", set[bytes], _Intervals)


def _merged(one: _SetT, other: _SetT) -> _SetT:
    """Their union. The larger grows by the smaller, so deep nesting copies nothing again."""
    if len(one) < len(other):
        one, other = other, one
    one.update(other)
    return one


def _check(keys: set[bytes], puts: set[bytes], deletes: _Intervals) -> None:
    if not puts.isdisjoint(keys):
        raise DuplicateKeyError(min(puts & keys))
    if deletes:
        for key in keys:
            if key in deletes:
                raise DuplicateKeyError(key)
