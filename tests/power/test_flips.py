"""A flipped bit, in any file of a store, is met by a refusal that names it, or makes no difference.

`TENURE_FLIPS=2000` flips so many bits of each kind of file, `TENURE_FLIPS_SEED=7` other ones.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from etcdpb.rpc_pb2 import RangeRequest, RequestOp, TxnRequest
from mvcc.backend import rocks_options
from mvcc.backend.base import Column
from mvcc.backend.errors import BackendCorruptError
from mvcc.backend.journal import RECORD_HEAD_BYTES, RECORDS_AT, SECTOR_BYTES, Turn, find
from mvcc.backend.rocks import RocksBackend
from server.datadir import DataDir
from server.settings.config import StartError
from tests.power.check import start
from tests.power.story import Rows
from tests.power.support import scratch
from tests.server.repair.support import flip, make, the_table
from tests.support.clock import FakeClock
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess

FLIPS: Final = int(os.environ.get("TENURE_FLIPS", "12"))  # Of each kind of file.
SEED: Final = int(os.environ.get("TENURE_FLIPS_SEED", "1"))
KINDS: Final = ("journal.*", "*.sst", "MANIFEST-*", "CURRENT", "OPTIONS-*", "rocksdict-config.json",
                "IDENTITY", "mark")  # fmt: skip
UNREAD: Final = ("OPTIONS-*", "IDENTITY")  # A start does not look into them.

pytestmark = [pytest.mark.power, pytest.mark.timeout(60 + 2 * FLIPS)]


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    with scratch() as path:
        for in_tables in (False, True):
            make(path / "top" / f"{in_tables}", path / "aside", in_tables=in_tables)
        yield path


def content(rows: Rows) -> Rows:
    """But for the columns in which a start counts itself."""
    return {key: value for key, value in rows.items() if key[0] not in (Column.META, Column.AUTH)}


@contextmanager
def copied(room: Path, *, in_tables: bool) -> Iterator[Path]:
    at = room / "at"
    shutil.copytree(room / "top" / f"{in_tables}", at)
    try:
        yield at
    finally:
        shutil.rmtree(at)


def outcome(at: Path, expected: Rows) -> str:
    """How a start ends: well with all rows, or with a refusal that names where and what to do."""
    refusal = ""
    try:
        rows = start(at).rows
    except StartError as error:
        refusal = str(error)
    if refusal:
        assert refusal.count(str(at)) >= 2, refusal
        assert f"`tenure repair --data-dir {at}`" in refusal, refusal
        return "refused"
    assert content(rows) == expected, "silently short"
    return "whole"


def expected_of(room: Path, *, in_tables: bool) -> Rows:
    with copied(room, in_tables=in_tables) as at:
        return content(start(at).rows)


def flip_one(file: Path, chance: random.Random, places: range) -> str:
    """Flip a bit of one of these bytes; returns where."""
    data = bytearray(file.read_bytes())
    place = chance.choice(places)
    data[place] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    return f"{file.name}, byte {place} of {len(data)}"


def files_of(at: Path, kind: str) -> list[Path]:
    directory = DataDir(at)
    found = [directory.mark] if kind == "mark" else sorted(directory.store.glob(kind))
    return [file for file in found if file.stat().st_size]


@pytest.mark.parametrize("in_tables", [False, True], ids=["in the journal", "in tables"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_or_makes_no_difference(
    room: Path, kind: str, in_tables: bool
) -> None:
    chance = random.Random(f"{SEED}/{kind}/{in_tables}")
    expected = expected_of(room, in_tables=in_tables)
    ends: Counter[str] = Counter()
    for _ in range(FLIPS):
        with copied(room, in_tables=in_tables) as at:
            files = files_of(at, kind)
            if not files:
                continue
            file = chance.choice(files)
            where = flip_one(file, chance, range(file.stat().st_size))
            try:
                ends[outcome(at, expected)] += 1
            except BaseException as error:
                error.add_note(where)
                raise
    print(kind, dict(ends))  # noqa: T201  # shown by -s
    if kind in UNREAD:
        assert not ends["refused"]
    elif kind in ("*.sst", "MANIFEST-*") and in_tables:
        assert ends["refused"]


def parts_of(turn: Turn) -> dict[str, range]:
    """Of a file of the journal that all rows are in."""
    newest_at = turn.end - RECORD_HEAD_BYTES - len(turn.records[-1].payload)
    return {
        "a sector of the head": range(SECTOR_BYTES),
        "the other sector": range(SECTOR_BYTES, RECORDS_AT),
        "a record with others behind it": range(RECORDS_AT, newest_at),
        "the newest record": range(newest_at, turn.end),
        "zeros behind the end": range(turn.end, turn.path.stat().st_size),
    }


@pytest.mark.parametrize(
    ("part", "end"),
    [
        ("a sector of the head", "whole"),
        ("the other sector", "whole"),
        ("a record with others behind it", "is behind it"),
        ("the newest record", "data has been lost"),
        ("zeros behind the end", "whole"),
    ],
)
def test_a_flipped_bit_in_the_journal_is_told_from_a_torn_end(
    room: Path, part: str, end: str
) -> None:
    chance = random.Random(f"{SEED}/{part}")
    expected = expected_of(room, in_tables=False)
    for _ in range(FLIPS):
        with copied(room, in_tables=False) as at:
            found = find(DataDir(at).store)
            assert found is not None
            where = flip_one(found.newest.path, chance, parts_of(found.newest)[part])
            try:
                if end == "whole":
                    assert outcome(at, expected) == "whole"
                else:
                    with pytest.raises(StartError, match=end) as refusal:
                        start(at)
                    named = DataDir(at).mark if "lost" in end else found.newest.path
                    assert str(named) in str(refusal.value)
            except BaseException as error:
                error.add_note(where)
                raise


@pytest.mark.parametrize("part", ["both sectors of the head", "all of it"])
def test_a_journal_that_is_gone_is_refused(room: Path, part: str) -> None:
    with copied(room, in_tables=False) as at:
        (journal,) = files_of(at, "journal.*")
        if part == "all of it":
            journal.unlink()
        else:
            journal.write_bytes(bytes(RECORDS_AT) + journal.read_bytes()[RECORDS_AT:])
        for _ in range(2):
            with pytest.raises(StartError, match="data has been lost"):
                start(at)
        DataDir(at).mark.unlink()
        with pytest.raises(StartError, match="its journal is missing"):
            start(at)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_gone_is_refused_or_makes_no_difference(room: Path, kind: str) -> None:
    expected = expected_of(room, in_tables=True)
    ends: Counter[str] = Counter()
    with copied(room, in_tables=True) as at:
        names = [file.name for file in files_of(at, kind)]
    for name in names:
        with copied(room, in_tables=True) as at:
            next(file for file in files_of(at, kind) if file.name == name).unlink()
            ends[outcome(at, expected)] += 1
    print(kind, dict(ends))  # noqa: T201  # as above
    if kind in ("*.sst", "MANIFEST-*", "CURRENT"):
        assert not ends["whole"]


@in_loop
async def test_old_revisions_are_read_late_and_are_never_wrong(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay on disk while the server runs; a read that meets damage fails, and names it."""
    monkeypatch.setattr(rocks_options, "BLOCK_CACHE_BYTES", 0)
    with copied(room, in_tables=True) as at:
        directory = DataDir(at)
        backend = RocksBackend.open(directory.store)
        server = ServerInProcess(backend, FakeClock(), serve=False)
        read = RangeRequest(key=b"k00", revision=2)
        assert len((await server.call(read)).kvs) == 1
        flip(the_table(at), 0.05)
        for request in (read, TxnRequest(success=[RequestOp(request_range=read)])):
            with pytest.raises(BackendCorruptError, match="block checksum mismatch"):
                await server.call(request)
        await server.stop()
        backend.close()
