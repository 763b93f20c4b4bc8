"""Is there an order of one key's operations that the calls' instants and results allow?

The search of Wing and Gong, with Lowe's memo of what was tried: pick any operation that no other
one had ended before, apply it to the model, go on; step back when stuck. A state is the set of
operations done so far and the key; one that was reached before is not tried again.

An operation without an answer may happen at any time after its call, or not at all. One that has
a revision is only tried where it fits: writes in the order of theirs, and a read after the last
write that it may have seen and before the next. With that the search rarely steps back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from compat.histories.record import KV

STEPS_MAX: Final = 500_000


class UndecidedError(Exception):
    """The search took more than `STEPS_MAX` steps."""


@dataclass(frozen=True, slots=True)
class KeyOp:
    """What one call did to, or saw of, the one key."""

    invoke: float
    done: float  # Infinite: it may not have happened, unless `must`.
    revision: int  # Of the write, or that a read saw the store at. 0: not known.
    sees: KV | None = None  # What was there before; looked at if `is_seen`.
    is_seen: bool = False
    writes: KV | None = None  # What is there afterwards; with `is_write`. None: deleted.
    is_write: bool = False
    must: bool = True


class _State(NamedTuple):
    kv: KV | None
    revision: int  # Of the newest operation that had one.


def is_linearizable(operations: Sequence[KeyOp], initial: KV | None, revision: int) -> bool:
    """Whether all operations that must happen fit into one order.

    Args:
        initial: the key before all of them, as of `revision`.

    Raises:
        UndecidedError
    """
    ops = sorted(operations, key=lambda op: op.invoke)
    left = sum(op.must for op in ops)
    # A frame: operations done below `low` are all done; `mask` tells which above it are.
    stack: list[tuple[int, int, _State, int]] = [(0, 0, _State(initial, revision), left)]
    seen: set[tuple[int, int, _State]] = set()
    steps = 0
    while stack:
        low, mask, state, left = stack.pop()
        if not left:
            return True
        if (low, mask, state) in seen:
            continue
        seen.add((low, mask, state))
        steps += 1
        if steps > STEPS_MAX:
            raise UndecidedError
        # The best guess is pushed last, and so tried first.
        for index in reversed(_candidates(ops, low, mask)):
            after = _apply(ops[index], state)
            if after is not None:
                next_low, next_mask = _advance(low, mask | 1 << (index - low))
                stack.append((next_low, next_mask, after, left - ops[index].must))
    return False


def _candidates(ops: Sequence[KeyOp], low: int, mask: int) -> list[int]:
    """Operations that may come next, the likeliest first."""
    first_end = math.inf
    found: list[int] = []
    for index in range(low, len(ops)):
        op = ops[index]
        if op.invoke > first_end:
            break
        if mask >> (index - low) & 1:
            continue
        found.append(index)
        if op.must:
            first_end = min(first_end, op.done)
    found = [index for index in found if ops[index].invoke <= first_end]
    known = [ops[i].revision for i in found if ops[i].revision and ops[i].must]
    if known:
        # Behind the oldest known revision nothing else that is known can come first.
        oldest = min(known)
        found = [i for i in found if ops[i].revision in (0, oldest) or not ops[i].must]
    return sorted(found, key=lambda i: (not ops[i].must, ops[i].revision, not ops[i].is_write))


def _apply(op: KeyOp, state: _State) -> _State | None:
    """The state after it; None if it cannot come here."""
    if op.is_seen and op.sees != state.kv:
        return None
    if op.revision:
        if op.revision < state.revision or (op.is_write and op.revision == state.revision):
            return None
        return _State(op.writes if op.is_write else state.kv, op.revision)
    return _State(op.writes if op.is_write else state.kv, state.revision)


def _advance(low: int, mask: int) -> tuple[int, int]:
    while mask & 1:
        low, mask = low + 1, mask >> 1
    return low, mask
