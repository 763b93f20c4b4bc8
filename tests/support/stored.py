"""How much a store holds, told before anything of it is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvcc.backend.rocks import RocksBackend


class _ToldError(Exception):
    def __init__(self, sequence: int) -> None:
        super().__init__()
        self.sequence = sequence


def stored_sequence(path: Path) -> int:
    """What `RocksBackend.open` gives its `check`; the store is not opened."""

    def check(sequence: int) -> None:
        raise _ToldError(sequence)

    with pytest.raises(_ToldError) as told:
        RocksBackend.open(path, check=check)
    return told.value.sequence
