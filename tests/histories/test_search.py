"""Orders of one key's operations: found where there is one, and not invented."""

from __future__ import annotations

import pytest

from compat.histories import search
from compat.histories.record import (
    KV,
    NEVER,
)
from compat.histories.search import KeyOp, UndecidedError, is_linearizable
from tests.histories.story import ONE, TWO


def write(invoke: float, done: float, kv: KV | None, revision: int = 0, must: bool = True) -> KeyOp:
    return KeyOp(invoke, done, revision, writes=kv, is_write=True, must=must)


def read(invoke: float, done: float, kv: KV | None, revision: int = 0) -> KeyOp:
    return KeyOp(invoke, done, revision, sees=kv, is_seen=True)


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [write(0, 1, ONE), read(2, 3, ONE)],
        [write(0, 9, ONE), read(1, 2, None), read(3, 4, ONE)],
        [write(0, 9, ONE), write(0, 9, TWO), read(1, 2, TWO), read(3, 4, ONE)],
        [write(0, NEVER, ONE, must=False), read(5, 6, None), read(7, 8, ONE)],
        [write(0, NEVER, ONE, must=False), read(5, 6, None)],
        [write(0, 9, ONE, 2), write(0, 9, TWO, 3), read(1, 2, ONE, 2), read(1, 2, TWO, 3)],
        [write(0, 9, ONE, 2), read(1, 2, None, 1)],
    ],
)
def test_an_order_is_found(operations: list[KeyOp]) -> None:
    assert is_linearizable(operations, None, 1)


@pytest.mark.parametrize(
    "operations",
    [
        [read(0, 1, ONE)],
        [write(0, 1, ONE), read(2, 3, None)],
        [write(0, 9, ONE), read(1, 2, ONE), read(3, 4, None)],
        [write(0, 1, ONE), write(2, 3, TWO), read(4, 5, ONE)],
        [write(2, NEVER, ONE, must=False), read(0, 1, ONE)],
        [write(0, 9, ONE), write(0, 9, TWO), read(1, 2, ONE), read(3, 4, TWO), read(5, 6, ONE)],
        [write(0, 1, TWO, 3), write(2, 3, ONE, 2)],
        [write(0, 9, ONE, 2), read(1, 2, ONE, 1)],
        [write(0, 9, ONE, 2), write(0, 9, TWO, 2)],
    ],
)
def test_no_order_is_invented(operations: list[KeyOp]) -> None:
    assert not is_linearizable(operations, None, 1)


def test_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS_MAX", 10)
    maybe = [write(0, NEVER, ONE._replace(version=each), must=False) for each in range(20)]
    with pytest.raises(UndecidedError):
        is_linearizable([*maybe, read(1, 2, TWO)], None, 1)


def test_what_was_tried_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS_MAX", 2**11)  # There are 10! orders, and 2**10 subsets.
    maybe = [write(0, NEVER, ONE, must=False) for _ in range(10)]
    assert not is_linearizable([*maybe, read(1, 2, TWO)], None, 1)
