"""The journal by itself: any sequence of what is done to it, and a crash in any of its syncs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcc.backend.journal import FILE_NAMES, SECTOR_BYTES, Journal, find
from tests.mvcc.backend.test_journal import FIRST, made, turned

pytestmark = pytest.mark.usefixtures("small_steps")


@given(
    steps=st.lists(
        st.sampled_from(("append", "append", "turn", "flushed", "restart")), max_size=12
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_nothing_that_was_synced_is_missing(
    steps: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    chance = random.Random(seed)
    written = made(directory)
    synced: dict[int, bytes] = {}  # By sequence.
    flushed = written.sequence  # What RocksDB has written out.
    for step in steps:
        before = {name: _bytes(directory / name) for name in FILE_NAMES}
        if step == "append":
            payload = chance.randbytes(chance.randrange(0, 1500))
            written.append(payload, chance.randint(1, 3))
            attempted = written.sequence
            written.sync()
            _check_torn(directory, before, synced, attempted, payload, flushed, chance)
            synced[attempted] = payload
        elif step == "flushed":
            flushed = written.floor = written.sequence
        elif step == "turn" and written.floor >= written._before:
            turned(written)
        elif step == "restart":
            written.close()
            _check(directory, synced, flushed)
            written = Journal(directory, find(directory), sequence=FIRST)
            if find(directory) is None:
                written.begin(rocks_sequence=FIRST)
    written.close()
    _check(directory, synced, flushed)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _check(directory: Path, synced: dict[int, bytes], flushed: int) -> None:
    result = find(directory)
    if result is None:
        assert not synced
        return
    assert result.last == max(synced, default=FIRST)
    assert result.floor <= flushed
    records = {record.sequence: record.payload for record in result.records if record.rows}
    assert records == {
        sequence: payload for sequence, payload in synced.items() if sequence > result.floor
    }


def _check_torn(
    directory: Path,
    before: dict[str, bytes],
    synced: dict[int, bytes],
    attempted: int,
    payload: bytes,
    flushed: int,
    chance: random.Random,
) -> None:
    """Of what the sync wrote some sectors arrived and some did not: all or nothing is found."""
    after = {name: _bytes(directory / name) for name in FILE_NAMES}
    for name in FILE_NAMES:
        old = before[name].ljust(len(after[name]), b"\0")
        mixed = b"".join(
            chance.choice((old, after[name]))[at : at + SECTOR_BYTES]
            for at in range(0, len(old), SECTOR_BYTES)
        )
        if mixed:
            (directory / name).write_bytes(mixed)
    result = find(directory)
    last = FIRST if result is None else result.last
    assert last in (attempted, max(synced, default=FIRST))
    if result is not None:
        _check(directory, synced | ({attempted: payload} if last == attempted else {}), flushed)
    for name, content in after.items():
        if content:
            (directory / name).write_bytes(content)
