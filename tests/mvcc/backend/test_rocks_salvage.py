"""What can be read of a damaged store, way by way. (What is made of it: tests/server/repair.)"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from mvcc.backend import rocks_salvage
from mvcc.backend.base import Column
from mvcc.backend.errors import (
    BackendCorruptError,
    BackendError,
    BackendIOError,
    NewerFormatError,
)
from mvcc.backend.journal import FILE_NAMES, find
from mvcc.backend.rocks import RocksBackend
from mvcc.backend.rocks_salvage import Salvage
from tests.mvcc.backend.support import flip_a_bit

VALUE = b"v" * 1000
NONE: list[bytes] = []


class Store:
    """One to damage. Each try gets a copy of it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "store"
        self._copy = path / "copy"

    def fresh_copy(self) -> Path:
        shutil.rmtree(self._copy, ignore_errors=True)
        return Path(shutil.copytree(self.path, self._copy))

    def salvage(self, acknowledged_sequence: int = 0) -> Salvage:
        return Salvage(self.fresh_copy, acknowledged_sequence)

    def write(self, column: Column, keys: list[bytes], value: bytes | None = VALUE) -> None:
        """In a life of its own: all of it comes to stand in tables, and nowhere else."""
        backend = RocksBackend.open(self.path)
        put(backend, column, keys, value)
        backend.close()
        for _ in FILE_NAMES:
            RocksBackend.open(self.path).close()

    def write_and_die(
        self, column: Column, keys: list[bytes], value: bytes = VALUE, gone: list[bytes] = NONE
    ) -> None:
        """All of it stays in the journal."""
        backend = RocksBackend.open(self.path)
        put(backend, column, keys, value)
        put(backend, column, gone, None)
        backend.sync()
        left = self.fresh_copy()
        backend.close()
        shutil.rmtree(self.path)
        left.rename(self.path)

    def table(self) -> Path:
        return max(self.path.glob("*.sst"), key=lambda each: each.stat().st_size)

    def manifest(self) -> Path:
        return max(self.path.glob("MANIFEST-*"))


def put(backend: RocksBackend, column: Column, keys: list[bytes], value: bytes | None) -> None:
    for key in keys:
        batch = backend.batch()
        if value is None:
            batch.delete(column, key)
        else:
            batch.put(column, key, value)
        backend.write(batch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def numbered(first: int, last: int) -> list[bytes]:
    return [number.to_bytes(8, "big") for number in range(first, last)]


def found(salvage: Salvage, column: Column) -> list[bytes]:
    keys = [key for key, _ in salvage.rows(column)]
    salvage.close()
    return keys


def test_a_sound_store_is_read_as_it_is(store: Store) -> None:
    store.write(Column.KEY, numbered(0, 10))
    salvage = store.salvage()
    assert salvage.is_as_it_was
    assert salvage.is_whole
    assert salvage.sequence() == salvage.backend.sequence() == 10
    assert found(salvage, Column.KEY) == numbered(0, 10)


def test_only_a_block_that_cannot_be_read_is_skipped(store: Store) -> None:
    store.write(Column.KEY, numbered(0, 200))
    flip_a_bit(store.table(), store.table().stat().st_size // 2)
    salvage = store.salvage()
    keys = found(salvage, Column.KEY)
    lost = sorted({*numbered(0, 200)} - {*keys})
    assert 10 < len(lost) < 20
    assert lost == numbered(int.from_bytes(lost[0], "big"), int.from_bytes(lost[-1], "big") + 1)
    assert not salvage.is_whole
    assert "block checksum mismatch" in salvage.remarks[0]


def test_there_may_be_nothing_behind_a_block_that_cannot_be_read(store: Store) -> None:
    top = 1 << 64
    store.write(Column.LEASE, numbered(top - 10, top))
    flip_a_bit(store.table(), 100)
    assert found(store.salvage(), Column.LEASE) == []


def test_the_journal_is_laid_over_tables(store: Store) -> None:
    """Row by row, in order: those between, those in place of others, those that are gone."""
    store.write(Column.KEY, [b"b", b"d", b"f", b"h"], b"old")
    store.write_and_die(Column.KEY, [b"a", b"c", b"d", b"z"], b"new", gone=[b"b", b"e", b"zz"])
    store.manifest().unlink()
    salvage = store.salvage()
    assert salvage.sequence() == 11
    assert dict(salvage.rows(Column.KEY)) == {
        b"a": b"new",
        b"c": b"new",
        b"d": b"new",
        b"f": b"old",
        b"h": b"old",
        b"z": b"new",
    }
    assert not salvage.is_whole, "nobody knows whether all tables were in use"
    salvage.close()


def test_a_journal_that_is_gone_is_missed(store: Store) -> None:
    store.write(Column.KEY, [b"a"])
    store.write_and_die(Column.KEY, [b"b"])
    for name in FILE_NAMES:
        (store.path / name).unlink()
    salvage = store.salvage(2)
    assert salvage.sequence() == 0
    assert not salvage.is_whole
    assert "it cannot be opened: its journal is missing" in salvage.remarks
    assert found(salvage, Column.KEY) == [b"a"]


def test_what_is_behind_damage_in_the_journal_counts_as_well(store: Store) -> None:
    store.write_and_die(Column.KEY, [b"a", b"b", b"c"])
    newest = find(store.path)
    assert newest is not None
    path = newest.newest.path
    flip_a_bit(path, path.read_bytes().index(VALUE) + len(VALUE) + 100)
    salvage = store.salvage(3)
    assert salvage.sequence() == 3
    assert not salvage.is_whole
    assert "the journal cannot be read from sequence 2 to 2: 1 row" in salvage.remarks
    assert found(salvage, Column.KEY) == [b"a", b"c"]


def test_what_a_table_has_lost_may_still_be_in_the_journal(store: Store) -> None:
    store.write_and_die(Column.KEY, numbered(0, 200))
    RocksBackend.open(store.path).close()
    flip_a_bit(store.table(), store.table().stat().st_size // 2)
    assert found(store.salvage(), Column.KEY) == numbered(0, 200)


def test_a_rocksdb_that_has_less_than_was_written_out_is_not_taken_at_its_word(
    store: Store,
) -> None:
    """Its MANIFEST is cut, what it then says is not enough: the tables are gathered."""
    store.write(Column.KEY, [b"a"])
    early = store.manifest().read_bytes()
    name = store.manifest().name
    backend = RocksBackend.open(store.path)
    put(backend, Column.KEY, [b"b"], VALUE)
    backend.close()
    RocksBackend.open(store.path).close()
    store.manifest().unlink()
    (store.path / name).write_bytes(early)
    (store.path / "CURRENT").write_text(name + "\n")
    torn(store)
    salvage = store.salvage(2)
    assert not salvage.is_whole
    assert found(salvage, Column.KEY) == [b"a", b"b"]


@pytest.mark.parametrize("content", [None, b"", b"MANIFEST-999999\n", b"\xff\xff"])
def test_current_can_be_written_anew(store: Store, content: bytes | None) -> None:
    store.write(Column.KEY, [b"a"])
    if content is None:
        (store.path / "CURRENT").unlink()
    else:
        (store.path / "CURRENT").write_bytes(content)
    salvage = store.salvage()
    assert len(salvage.remarks) == 1
    assert salvage.is_whole
    assert found(salvage, Column.KEY) == [b"a"]


def torn(store: Store) -> None:
    with store.manifest().open("ab") as manifest:
        manifest.write(b"torn")


def test_the_torn_end_of_a_manifest_is_cut_off(store: Store) -> None:
    store.write(Column.KEY, [b"a"])
    torn(store)
    with pytest.raises(BackendCorruptError, match="4 bytes at its end make no sense"):
        RocksBackend.open(store.fresh_copy())
    salvage = store.salvage(1)
    assert salvage.is_whole
    assert found(salvage, Column.KEY) == [b"a"]


def forget_a_table(store: Store) -> None:
    store.table().rename(store.path / "000998.sst")
    shutil.copy(store.path / "000998.sst", store.path / "000009.sst")


@pytest.mark.parametrize(
    ("acknowledged_sequence", "also"),
    [(0, lambda _: None), (2, lambda _: None), (1, forget_a_table)],
    ids=["nothing is known", "it is short", "a table is not named"],
)
def test_a_manifest_that_may_have_lost_something_is_not_trusted(
    store: Store, acknowledged_sequence: int, also: Callable[[Store], None]
) -> None:
    store.write(Column.KEY, [b"a"])
    also(store)
    torn(store)
    salvage = store.salvage(acknowledged_sequence)
    assert not salvage.is_whole
    assert found(salvage, Column.KEY) == [b"a"]


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_manifest_that_makes_no_sense_is_not_cut_down_to_nothing(
    store: Store, content: bytes
) -> None:
    store.write(Column.KEY, [b"a"])
    store.manifest().write_bytes(content)
    salvage = store.salvage(1)
    assert found(salvage, Column.KEY) == [b"a"]


def test_a_table_that_is_none_is_named(store: Store) -> None:
    store.write(Column.KEY, [b"a"])
    store.write(Column.LEASE, [b"12345678"])
    bad = min(store.path.glob("*.sst"))
    bad.write_bytes(b"nonsense")
    salvage = store.salvage(2)
    assert f"{bad.name} cannot be read at all" in salvage.remarks
    assert found(salvage, Column.LEASE) == [b"12345678"]


def test_a_store_of_a_newer_version_is_left_alone(store: Store) -> None:
    store.write(Column.KEY, [b"a"])
    options = Options(raw_mode=True)
    options.create_missing_column_families(True)
    names = [*Rdict.list_cf(str(store.path)), "from the future"]
    Rdict(str(store.path), options, dict.fromkeys(names, options)).close()
    with pytest.raises(NewerFormatError, match="from the future"):
        store.salvage()


def test_a_store_that_rocksdb_can_make_nothing_of_is_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(Column.KEY, [b"a"])
    torn(store)

    def refuse(path: str) -> None:  # noqa: ARG001  # rocksdict's signature
        raise OSError

    monkeypatch.setattr(Rdict, "list_cf", refuse)
    with pytest.raises(BackendError):
        store.salvage(1)


def test_tables_that_cannot_be_gathered_are_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(Column.KEY, [b"a"])
    store.manifest().unlink()

    def refuse(path: str, options: Options) -> None:  # noqa: ARG001  # rocksdict's signature
        raise OSError

    monkeypatch.setattr(Rdict, "repair", refuse)
    with pytest.raises(BackendCorruptError, match="its tables cannot be gathered"):
        store.salvage()


def test_an_error_of_the_system_is_told_as_it_is(tmp_path: Path) -> None:
    assert rocks_salvage._reason(tmp_path, BackendIOError(tmp_path, "gone")) == f"{tmp_path}: gone"
