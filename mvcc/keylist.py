"""Keys in byte order, where many may come or go at once.

A list of blocks, each a sorted list of keys. One key comes or goes by bisection and a move within
its block. A run of many costs each block that it touches one pass in C: a lease with very many
keys ends in one transaction, for which everything else waits, and one by one its keys cost ten
times as much. That is what `sortedcontainers.SortedList` has no way to do.

Invariants, checked by `check_invariants`:
  1. Keys ascend, within a block and from one to the next, and no block is empty.
  2. `_lasts` has the last key of each block.
  3. No block has more than `BLOCK_KEYS_MAX` keys. One that a removal leaves with fewer than
     `BLOCK_KEYS_MIN` is joined to a neighbour, so blocks are few where keys are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

BLOCK_KEYS_MAX: Final = 2_000  # Above it a block is cut into halves.
BLOCK_KEYS_MIN: Final = 250
_DENSE: Final = 16  # A run of fewer than one in so many of a block's keys goes one by one.


class KeyList:
    __slots__ = ("_blocks", "_lasts", "_length")

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        """`keys` in any order, each once. O(n log n), O(n) if they ascend."""
        ordered = sorted(keys)
        self._blocks = _cut(ordered)
        self._lasts = [block[-1] for block in self._blocks]
        self._length = len(ordered)

    def __len__(self) -> int:
        return self._length

    def add(self, key: bytes) -> None:
        """Take up a key that is not there."""
        blocks, lasts = self._blocks, self._lasts
        if not blocks:
            blocks.append([])
            lasts.append(key)
        at = bisect_left(lasts, key)
        if at == len(blocks):
            at -= 1
            lasts[at] = key
        block = blocks[at]
        insort(block, key)
        self._length += 1
        if len(block) > BLOCK_KEYS_MAX:
            self._replace(at, block)

    def remove(self, key: bytes) -> None:
        """Give up a key that is there."""
        self.remove_all([key])

    def add_all(self, ascending: list[bytes]) -> None:
        """Take up keys that are not there."""
        begin = 0
        while begin < len(ascending):
            at = bisect_left(self._lasts, ascending[begin])
            if at < len(self._blocks):
                end = bisect_left(ascending, self._lasts[at], begin)
            else:
                at, end = max(0, at - 1), len(ascending)
            block = self._blocks[at] if self._blocks else []
            if (end - begin) * _DENSE < len(block):
                for key in ascending[begin:end]:
                    self.add(key)
            else:
                block.extend(ascending[begin:end])
                block.sort()  # Two runs that ascend: that is a merge.
                self._replace(at, block)
                self._length += end - begin
            begin = end

    def remove_all(self, ascending: list[bytes]) -> None:
        """Give up keys that are there."""
        begin = 0
        while begin < len(ascending):
            at = bisect_left(self._lasts, ascending[begin])
            end = bisect_right(ascending, self._lasts[at], begin)
            block = _without(self._blocks[at], ascending[begin:end])
            if len(block) < BLOCK_KEYS_MIN or block[-1] != self._lasts[at]:
                self._replace(at, block)
            else:
                self._blocks[at] = block
            begin = end
        self._length -= len(ascending)

    def count(self, start: bytes, end: bytes | None) -> int:
        """How many keys lie in start <= key < end. O(log n), and a look at each block between."""
        (first, skipped), (last, taken) = self._place(start), self._place(end)
        if first == last:
            return max(0, taken - skipped)
        if first > last:
            return 0
        if last - first <= len(self._blocks) // 2:
            whole = sum(map(len, self._blocks[first:last]))
        else:
            outside = sum(map(len, self._blocks[:first])) + sum(map(len, self._blocks[last:]))
            whole = self._length - outside
        return whole - skipped + taken

    def slice(
        self, start: bytes, end: bytes | None, limit: int = 0, *, reverse: bool = False
    ) -> list[bytes]:
        """Keys with start <= key < end in order, or its reverse; at most `limit` if above 0."""
        (first, begin), (last, stop) = self._place(start), self._place(end)
        found: list[bytes] = []
        wanted = limit if limit > 0 else self._length
        while wanted > 0 and (first, begin) < (last, stop):
            if not reverse:
                block = self._blocks[first]
                piece = block[begin : min(stop if first == last else len(block), begin + wanted)]
                first, begin = first + 1, 0
            elif stop == 0:
                last -= 1
                stop = len(self._blocks[last])
                continue
            else:
                piece = self._blocks[last][max(begin if first == last else 0, stop - wanted) : stop]
                piece.reverse()
                stop = 0
            found += piece
            wanted -= len(piece)
        return found

    def _place(self, key: bytes | None) -> tuple[int, int]:
        """Block and position of the first key not below `key`; behind all of them for None."""
        at = len(self._blocks) if key is None else bisect_left(self._lasts, key)
        if key is None or at == len(self._blocks):
            return at, 0
        return at, bisect_left(self._blocks[at], key)

    def _replace(self, at: int, block: list[bytes]) -> None:
        """Let `block` stand at `at`, in place of what stood there: cut, joined, or not at all."""
        old = 1
        if len(block) < BLOCK_KEYS_MIN and len(self._blocks) > 1:
            old = 2
            if at:
                at -= 1
                block = self._blocks[at] + block
            else:
                block = block + self._blocks[1]
        blocks = _cut(block)
        self._blocks[at : at + old] = blocks
        self._lasts[at : at + old] = [block[-1] for block in blocks]

    def check_invariants(self) -> None:
        """Assert what the module docstring promises. O(n); for tests."""
        keys = [key for block in self._blocks for key in block]
        assert all(one < other for one, other in pairwise(keys))
        assert all(0 < len(block) <= BLOCK_KEYS_MAX for block in self._blocks)
        assert self._lasts == [block[-1] for block in self._blocks]
        assert self._length == len(keys)


def _cut(ordered: list[bytes]) -> list[list[bytes]]:
    """Blocks with these keys: one if it is not too long, else several of about half as many."""
    if len(ordered) <= BLOCK_KEYS_MAX:
        return [ordered] if ordered else []
    parts = len(ordered) // (BLOCK_KEYS_MAX // 2)
    size = -(-len(ordered) // parts)
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]


def _without(block: list[bytes], run: list[bytes]) -> list[bytes]:
    """`block` without the keys of `run`, which it has; it may be changed itself."""
    first = bisect_left(block, run[0])
    if block[first : first + len(run)] == run:
        del block[first : first + len(run)]
        return block
    if len(run) * _DENSE >= len(block):
        gone = set(run)
        kept = [key for key in block if key not in gone]
        assert len(kept) == len(block) - len(run), "a key to be given up is not there"
        return kept
    for key in run:
        at = bisect_left(block, key)
        assert block[at] == key, "a key to be given up is not there"
        del block[at]
    return block
