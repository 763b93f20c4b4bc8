"""Each kind of damage: what is saved, what is said to be lost, and that the result starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdpb import kv_pb2
from lease import record
from lease.lessor import LeaseID
from mvcc.backend.base import Column
from mvcc.backend.errors import BackendCorruptError
from mvcc.backend.journal import RECORDS_AT, SECTOR_BYTES, find
from mvcc.backend.mark import Mark
from mvcc.revision import encode, encode_tombstone
from server.datadir import DataDir
from server.repair.repair import BUMP
from server.settings.config import StartError
from tests.power.check import Started, start
from tests.server.repair.support import (
    LEASE,
    REVISION,
    everything,
    flip,
    flip_in_journal,
    keys,
    leases,
    make,
    run,
    store_of,
    the_journal,
    the_manifest,
    the_table,
    write,
)
from tests.support.formats import unpack

ALL = {b"k%02d" % number: b"%d" % (number + 20) for number in range(10)}
RAISED = REVISION + BUMP


@pytest.fixture(scope="module")
def made(long_room: Path) -> dict[bool, Path]:
    found = {in_tables: long_room / f"{in_tables}" for in_tables in (False, True)}
    for in_tables, path in found.items():
        make(path, long_room / "aside", in_tables=in_tables)
    return found


@pytest.fixture
def in_journal(room: Path, made: dict[bool, Path]) -> Path:
    """A data directory to damage, with all its rows in the journal."""
    return Path(shutil.copytree(made[False], room / "data"))


@pytest.fixture
def in_tables(room: Path, made: dict[bool, Path]) -> Path:
    """With all of them in tables."""
    return Path(shutil.copytree(made[True], room / "data"))


def repaired(data_dir: Path, code: int) -> tuple[str, Started]:
    """What is said, having been said by a dry run that changed nothing; and the start after it."""
    before = everything(data_dir)
    dry = run(data_dir, "--dry-run")
    assert everything(data_dir) == before
    ended = run(data_dir)
    assert (dry.code, ended.code) == (code, code), ended.text
    assert dry.lines[:-1] == ended.lines[:-1]
    assert ended.lines[-1] == (
        f"repaired: the damaged store is kept in {DataDir(data_dir).home / 'store.damaged-1'}"
    )
    kept = {
        name.replace(".damaged-1", ""): content
        for name, content in everything(data_dir).items()
        if ".damaged-1" in name
    }
    del before["tenure/lock"]
    assert kept == before, "the damaged one is as it was"
    started = start(data_dir)
    again = run(data_dir)
    assert (again.code, len(again.lines)) == (0, 1), "there is nothing more to repair"
    return ended.text, started


def refused(data_dir: Path) -> None:
    with pytest.raises((StartError, BackendCorruptError)) as refusal:
        start(data_dir)
    assert "corrupt" in str(refusal.value) or "lost" in str(refusal.value)


def current(started: Started) -> int:
    return started.recovered.state.store.current


# --- nothing to repair ---


def test_a_sound_store_is_left_as_it_is(in_journal: Path) -> None:
    before = everything(in_journal)
    ended = run(in_journal)
    assert ended.code == 0
    assert ended.text == f"nothing to repair: the store is whole, up to revision {REVISION}"
    assert everything(in_journal) == before


def test_a_torn_tail_is_nothing_to_repair(in_journal: Path) -> None:
    flip_in_journal(in_journal, 1)
    assert run(in_journal).code == 0


# --- the journal ---


def test_of_a_damaged_journal_all_but_the_damage_is_saved(in_journal: Path) -> None:
    """And no revision is given a second time: the new ones begin far above all that were."""
    flip_in_journal(in_journal, 0.5)
    refused(in_journal)
    text, started = repaired(in_journal, 3)
    assert f"acknowledged: up to revision {REVISION} " in text
    assert "the journal cannot be read from sequence 26 to 26: 1 row" in text
    assert "lost: revision 16\n" in text
    assert "more may be lost than can be named" in text
    assert current(started) == started.recovered.state.store.compact_revision == RAISED
    assert keys(started) == ALL, "there is a newer value of that key"
    assert set(leases(started).values()) == {LEASE}
    assert started.recovered.term == 4, "it goes on from the damaged store's"


def test_of_a_journal_that_is_damaged_at_its_end_the_mark_knows_what_is_lost(
    in_journal: Path,
) -> None:
    flip_in_journal(in_journal, 0.999)
    refused(in_journal)
    text, started = repaired(in_journal, 3)
    assert "lost: 1 revision, 31 to 31" in text
    assert keys(started) == {**ALL, b"k09": b"19"}
    assert current(started) == RAISED


def test_a_head_of_the_journal_may_be_damaged(in_journal: Path) -> None:
    journal = the_journal(in_journal)
    content = journal.read_bytes()
    journal.write_bytes(b"\xff" * SECTOR_BYTES + content[SECTOR_BYTES:])
    assert run(in_journal).code == 0
    journal.write_bytes(b"\xff" * RECORDS_AT + content[RECORDS_AT:])
    refused(in_journal)
    text, started = repaired(in_journal, 3)
    assert "lost: 30 revisions, 2 to 31" in text, "no checksum of it can be told without its salt"
    assert keys(started) == {}


def test_a_lost_grant_has_no_revision_and_is_missed_all_the_same(in_journal: Path) -> None:
    mark = Mark.open(DataDir(in_journal).mark)
    mark.set(mark.revision, mark.sequence + 1)
    mark.close()
    text, started = repaired(in_journal, 3)
    assert "lost: changes without a revision" in text
    assert keys(started) == ALL


def test_without_its_journal_nothing_is_left_but_the_revision(in_journal: Path) -> None:
    the_journal(in_journal).unlink()
    text, started = repaired(in_journal, 3)
    assert "lost: 30 revisions, 2 to 31" in text
    assert "cluster and member id are lost" in text
    assert keys(started) == {}
    assert current(started) == RAISED


# --- the mark ---


@pytest.mark.parametrize("damage", [Path.unlink, lambda mark: mark.write_bytes(b"\0" * 4096)])
def test_without_the_mark_it_cannot_be_told_what_is_lost(
    in_journal: Path, damage: Callable[[Path], object]
) -> None:
    damage(DataDir(in_journal).mark)
    text, started = repaired(in_journal, 3)
    assert "it cannot be told" in text
    assert keys(started) == ALL
    assert current(started) == RAISED
    mark = Mark.open(DataDir(in_journal).mark)
    assert mark.revision == RAISED
    mark.close()


# --- rows ---


def kv(key: bytes, main: int, **changed: int) -> bytes:
    fields = {"create_revision": main, "mod_revision": main, "version": 1, **changed}
    return kv_pb2.KeyValue(key=key, value=b"v", **fields).SerializeToString()


@pytest.mark.parametrize(
    ("column", "key", "value", "reason"),
    [
        (Column.KEY, encode(REVISION + 1, 0), b"\xff\xff", "key 000000000000002"),
        (Column.KEY, encode(REVISION + 1, 0), kv(b"x", 5), "its mod_revision is 5"),
        (Column.KEY, encode(REVISION + 1, 0), b"", "it has no key"),
        (Column.KEY, encode_tombstone(REVISION + 1, 0), kv(b"x", 5), "a tombstone has a key"),
        (Column.KEY, b"short", b"", "no revision"),
        (Column.KEY, encode(1 << 62, 0), kv(b"x", 1 << 62), "there is no revision"),
        (Column.LEASE, b"short", b"", "the key has 5 bytes"),
        (Column.META, b"term", b"soon", "4 bytes where 8 belong"),
        (Column.META, b"scheduledCompactRev", b"", "0 bytes where 8 belong"),
        (Column.ALARM, b"\xff\xee", b"", "key ffee"),
        (Column.AUTH, b"authRevision", b"", "0 bytes where 8 belong"),
        (Column.AUTH_USERS, b"eve", b"\xff", "key 657665"),
        (Column.AUTH_ROLES, b"reader", b"", "another role's"),
        (Column.CLUSTER, b"peerURLs", b"5", "it is no list"),
        (Column.CLUSTER, b"downgrade", b"[]", "key 646f776e67726164"),
    ],
)
def test_a_row_that_makes_no_sense_is_dropped_by_name(
    in_journal: Path, column: Column, key: bytes, value: bytes, reason: str
) -> None:
    write(in_journal, column, key, value)
    text, started = repaired(in_journal, 3)
    assert "dropped: 1 row that make" in text
    assert reason in text
    assert keys(started) == ALL
    assert current(started) >= RAISED


def test_a_revision_that_is_missing_in_the_middle_is_named(in_journal: Path) -> None:
    write(in_journal, Column.KEY, encode(7, 0), None)
    refused(in_journal)
    text, started = repaired(in_journal, 3)
    assert "lost: revision 7" in text
    assert keys(started) == ALL
    assert current(started) == RAISED


def test_part_of_a_revision_that_is_missing_is_named(in_journal: Path) -> None:
    write(in_journal, Column.KEY, encode(REVISION + 1, 1), kv(b"x", REVISION + 1))
    text, started = repaired(in_journal, 3)
    assert f"lost: revision part of {REVISION + 1}" in text
    assert keys(started) == {**ALL, b"x": b"v"}


def test_a_version_that_does_not_follow_is_kept_and_its_history_is_not(in_journal: Path) -> None:
    write(in_journal, Column.KEY, encode(REVISION + 1, 0), kv(b"k00", REVISION + 1, version=9))
    text, started = repaired(in_journal, 3)
    assert "its history cannot be explained" in text
    assert keys(started) == {**ALL, b"k00": b"v"}
    assert current(started) == REVISION + 1 + BUMP


def test_a_key_whose_lease_is_lost_lives_on_without_it(in_journal: Path) -> None:
    """Nobody could renew it; and to delete the key would lose what is there."""
    write(in_journal, Column.LEASE, record.encode_key(LeaseID(LEASE)), None)
    refused(in_journal)
    text, started = repaired(in_journal, 3)
    assert "kept without a lease: 10 keys" in text
    assert "kept without a lease: b'k00' (lease 0000000000001111)" in text
    assert keys(started) == ALL
    assert set(leases(started).values()) == {0}


def test_whether_users_count_is_not_forgotten(in_journal: Path) -> None:
    """A store that cannot say so lets nobody in without a password, if there is a root."""
    from etcdpb.auth_pb2 import User

    write(in_journal, Column.AUTH_USERS, b"root", User(name=b"root").SerializeToString())
    write(in_journal, Column.AUTH, b"authEnabled", b"?")
    text, started = repaired(in_journal, 3)
    assert "there is a user root, so now it is" in text
    assert started.recovered.state.auth.enabled


# --- files ---


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"\xff\xfe")])
def test_without_current_nothing_is_lost(in_tables: Path, damage: Callable[[Path], object]) -> None:
    damage(store_of(in_tables) / "CURRENT")
    text, started = repaired(in_tables, 0)
    assert "lost: nothing" in text
    assert keys(started) == ALL
    assert current(started) == REVISION


def test_of_a_manifest_the_end_may_be_torn(in_tables: Path) -> None:
    """By a power cut, while it was written; nothing was acknowledged that rests on that."""
    flip(the_manifest(in_tables), 0.99)
    refused(in_tables)
    text, started = repaired(in_tables, 0)
    assert "bytes at its end make no sense" in text
    assert keys(started) == ALL
    assert current(started) == REVISION


@pytest.mark.parametrize("damage", [Path.unlink, lambda manifest: flip(manifest, 0.4)])
def test_without_manifest_the_rows_are_gathered_from_tables(
    in_tables: Path, damage: Callable[[Path], object]
) -> None:
    damage(the_manifest(in_tables))
    text, started = repaired(in_tables, 3)
    assert "more may be lost than can be named" in text
    assert keys(started) == ALL
    assert leases(started)[b"k00"] == LEASE
    assert current(started) == RAISED


@pytest.mark.parametrize("damage", [Path.unlink, lambda manifest: flip(manifest, 0.4)])
def test_without_manifest_the_rows_are_gathered_from_the_journal(
    in_journal: Path, damage: Callable[[Path], object]
) -> None:
    damage(the_manifest(in_journal))
    _, started = repaired(in_journal, 3)
    assert keys(started) == ALL
    assert leases(started)[b"k00"] == LEASE


def test_without_manifest_and_with_a_damaged_journal_the_loss_is_told(in_journal: Path) -> None:
    the_manifest(in_journal).unlink()
    flip_in_journal(in_journal, 0.5)
    text, started = repaired(in_journal, 3)
    assert "the journal cannot be read from sequence 26 to 26: 1 row" in text
    assert "lost: revision 16\n" in text
    assert keys(started) == ALL


@pytest.mark.parametrize(
    ("part", "lost", "older"), [(0.01, "2 to 7", {}), (0.5, "17 to 22", {b"k00": b"10"})]
)
def test_of_a_table_all_that_can_be_read_is_saved(
    in_tables: Path, part: float, lost: str, older: dict[bytes, bytes]
) -> None:
    """A key whose newest version is lost has an older one again, and the report warns of it."""
    flip(the_table(in_tables), part)
    refused(in_tables)
    text, started = repaired(in_tables, 3)
    assert f"lost: revision {lost}" in text
    assert "block checksum mismatch" in text
    assert "has an older value again" in text
    assert keys(started) == {**ALL, **older}


@pytest.mark.parametrize("damage", [Path.unlink, lambda table: flip(table, 0.999)])
def test_without_a_table_the_others_are_saved(
    in_tables: Path, damage: Callable[[Path], object]
) -> None:
    table = the_table(in_tables)
    damage(table)
    refused(in_tables)
    text, started = repaired(in_tables, 3)
    assert table.name in text
    assert "lost: 30 revisions, 2 to 31" in text
    assert keys(started) == {}
    assert [lease.id for lease in started.recovered.state.lessor.leases()] == [LEASE]


# --- a store of format 1, of before there were journals ---


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda store: flip(max(store.glob("*.log")), 0.5), 3, "changes without a revision"),
        (lambda store: (store / "CURRENT").unlink(), 0, "lost: nothing"),
        (lambda store: torn(max(store.glob("MANIFEST-*"))), 0, "lost: nothing"),
        (lambda store: max(store.glob("MANIFEST-*")).unlink(), 3, "(sequence 141)\nbeware: more"),
    ],
    ids=["its log", "CURRENT", "the end of the MANIFEST", "the MANIFEST"],
)
def test_a_store_with_a_log_of_rocksdb_is_repaired_into_one_with_a_journal(
    room: Path, damage: Callable[[Path], object], code: int, said: str
) -> None:
    unpack(1, room)
    damage(store_of(room / "data"))
    refused(room / "data")
    text, started = repaired(room / "data", code)
    assert said in text
    assert len(keys(started)) == 13
    assert find(store_of(room / "data")) is not None


def torn(file: Path) -> None:
    with file.open("ab") as appended:
        appended.write(b"torn")
