"""What is no snapshot, and what interrupts a restore: refused with the reason, and nothing left."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etcdpb.kv_pb2 import KeyValue
from etcdpb.lease_pb2 import Lease
from mvcc.backend.errors import BackendIOError
from mvcc.revision import encode
from server.datadir import DataDir, DataDirError
from server.settings.config import Config
from server.snapshot import file
from server.snapshot.file import SnapshotError
from server.snapshot.restore import restore
from server.snapshot.stage import Stage
from server.snapshot.status import read_status
from tests.server.snapshot.rows import deleted, facts, lease, put, snapshot
from tests.server.snapshot.support import ETCD_3_5, with_hash, written

HASH_BYTES = 32


def _refusal(path: Path, data_dir: Path, **options: Any) -> str:
    """Why the file is refused. Nothing may be left of the attempt."""
    before = sorted(each.name for each in data_dir.parent.iterdir())
    with pytest.raises(SnapshotError) as caught:
        restore(path, Config(data_dir=data_dir), **options)
    assert sorted(each.name for each in data_dir.parent.iterdir()) == before
    return str(caught.value).removeprefix(f"{path}: ")


def _altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


Damage = Callable[[bytes], bytes]

FILES: dict[str, tuple[Damage, str]] = {
    "empty": (lambda _: b"", "it is no database of etcd: its first page is no meta page, for the"),
    "text": (lambda _: b"apiVersion: v1\n" * 999, "it is no database of etcd: "),
    "gzip": (lambda _: b"\x1f\x8b" + bytes(9999), "it is no database of etcd: "),
    "cut by one byte": (lambda data: data[:-1], "snapshot missing hash but --skip-hash-check=fal"),
    "cut by its hash": (lambda data: data[:-HASH_BYTES], "snapshot missing hash but --skip-hash"),
    "cut in the middle": (lambda data: data[: len(data) // 2 // 4096 * 4096], "it is cut short: "),
    "longer": (lambda data: data + b"!", "snapshot missing hash but --skip-hash-check=false"),
    "another hash": (lambda data: _altered(data, len(data) - 1), "expected sha256 "),
    "a bit turned": (lambda data: _altered(data, 9000), "expected sha256 "),
}


@pytest.mark.parametrize(("damage", "reason"), FILES.values(), ids=FILES.keys())
def test_a_file_that_is_no_snapshot_any_more_is_refused(
    tmp_path: Path, damage: Damage, reason: str
) -> None:
    path = tmp_path / "s"
    path.write_bytes(damage(ETCD_3_5.path.read_bytes()))
    assert _refusal(path, tmp_path / "d").startswith(reason)


def test_both_hashes_are_named(tmp_path: Path) -> None:
    data = ETCD_3_5.path.read_bytes()
    path = tmp_path / "s"
    path.write_bytes(data[:-HASH_BYTES] + bytes(HASH_BYTES))
    assert _refusal(path, tmp_path / "d") == (
        f"expected sha256 {'0' * 64}, got {data[-HASH_BYTES:].hex()}:"
        " it is not as it was when it was taken"
    )


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert _refusal(path, tmp_path / "d") == "No such file or directory"


def test_a_database_copied_from_a_data_directory_needs_to_be_told_of(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(ETCD_3_5.path.read_bytes()[:-HASH_BYTES])
    assert "copied from a data directory" in _refusal(path, tmp_path / "d")
    assert restore(path, Config(data_dir=tmp_path / "d"), skip_hash=True).revision == 9


def test_a_database_that_an_etcd_has_open_is_refused(tmp_path: Path) -> None:
    """It changes while it is read. etcd holds a lock on it as long as it runs."""
    path = tmp_path / "db"
    path.write_bytes(ETCD_3_5.path.read_bytes()[:-HASH_BYTES])
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert _refusal(path, tmp_path / "d", skip_hash=True).startswith("an etcd is running on it")
    os.close(descriptor)


def test_no_etcd_starts_on_a_database_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(ETCD_3_5.path.read_bytes()[:-HASH_BYTES])
    descriptor = os.open(path, os.O_RDWR)
    with file.opened(path, needs_hash=False), pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_wrong_hash_does_not_matter_to_who_says_so(tmp_path: Path) -> None:
    data = ETCD_3_5.path.read_bytes()
    path = tmp_path / "s"
    path.write_bytes(_altered(data, len(data) - 1))
    assert restore(path, Config(data_dir=tmp_path / "d"), skip_hash=True).keys == 4


BAD_KV = encode(2, 0), b"\xff\xff"
WRONG_REVISION = encode(3, 0), KeyValue(key=b"a", mod_revision=2).SerializeToString()
BAD_LEASE = lease(7)[0], Lease(ID=8, TTL=60).SerializeToString()

ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "no revision": ({"keys": [(b"abc", b"x")]}, "the row's key is no revision"),
    "no key-value": ({"keys": [BAD_KV]}, "no KeyValue"),
    "another revision": ({"keys": [put(2, b"a"), WRONG_REVISION]}, "its mod_revision is 2"),
    "a hole": ({"keys": [put(2, b"a"), put(4, b"b")]}, "does not follow revision 2.0"),
    "a deletion of nothing": ({"keys": [deleted(2, b"a")]}, "deletes a key that was not there"),
    "a lease of another": ({"leases": [BAD_LEASE]}, "the value is of lease 8"),
}


@pytest.mark.parametrize(("rows", "reason"), ROWS.values(), ids=ROWS.keys())
def test_rows_that_no_etcd_writes_are_refused(
    tmp_path: Path, rows: dict[str, Any], reason: str
) -> None:
    text = _refusal(snapshot(tmp_path / "s", **rows), tmp_path / "d")
    assert text.startswith("it holds what etcd would not write: ")
    assert reason in text


def test_a_bbolt_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(with_hash(written([(b"users", [(b"a", b"b")])])))
    expected = "it has no bucket key: it is not a database of etcd"
    assert _refusal(path, tmp_path / "d") == expected


@pytest.mark.parametrize("name", [b"scheduledCompactRev", b"finishedCompactRev", b"term"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "s"
    path.write_bytes(with_hash(written([(b"key", []), (b"meta", [(name, b"!")])])))
    assert _refusal(path, tmp_path / "d").startswith(f"{name.decode()} in bucket meta ")


# --- where to ---


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_a_data_directory_may_be_new_or_empty(tmp_path: Path, *, is_there: bool) -> None:
    """An empty one may be a mount point, which nothing could be renamed to."""
    root = tmp_path / "d"
    if is_there:
        root.mkdir()
        identity = root.stat().st_ino
    restore(snapshot(tmp_path / "s"), Config(data_dir=root))
    assert not is_there or root.stat().st_ino == identity
    assert [each.name for each in root.iterdir()] == ["tenure"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d", "s"]
    assert not DataDir.prepare(root).is_new


def test_the_folders_above_a_new_data_directory_are_made(tmp_path: Path) -> None:
    restore(snapshot(tmp_path / "s"), Config(data_dir=tmp_path / "a" / "b" / "d"))
    assert DataDir(tmp_path / "a" / "b" / "d").store.exists()


@pytest.mark.parametrize("held", ["tenure/store", "member/wal", "lost+found", "note.txt"])
def test_a_data_directory_with_anything_in_it_is_left_alone(tmp_path: Path, held: str) -> None:
    root = tmp_path / "d"
    (root / held).mkdir(parents=True)
    with pytest.raises(DataDirError, match=f'^data-dir "{root}" not empty or could not be read$'):
        restore(snapshot(tmp_path / "s"), Config(data_dir=root))
    assert [str(each.relative_to(root)) for each in root.rglob("*")][-1] == held


def test_a_file_in_the_place_of_the_data_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    with pytest.raises(DataDirError, match="not empty or could not be read"):
        restore(snapshot(tmp_path / "s"), Config(data_dir=tmp_path / "d"))
    assert (tmp_path / "d").read_text() == "mine"


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "d"
    with pytest.raises(DataDirError, match=f"^cannot restore into {root}: Not a directory"):
        restore(snapshot(tmp_path / "s"), Config(data_dir=root))


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The file is not to blame, and the text does not say so."""
    path, root = snapshot(tmp_path / "s", [put(2, b"a")]), tmp_path / "d"

    def block(what: str, done: int, total: int) -> None:  # noqa: ARG001
        if what == "reading it back":
            raise BackendIOError(root, "No space left on device")

    with pytest.raises(SnapshotError, match=f"^cannot restore into {root}: .*No space left"):
        restore(path, Config(data_dir=root), progress=block)
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


# --- interrupted ---


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_an_interrupted_restore_leaves_what_was_there_before(
    tmp_path: Path, *, is_there: bool
) -> None:
    root = tmp_path / "d"
    if is_there:
        root.mkdir()
    path = snapshot(tmp_path / "s", [put(2, b"a")])

    def interrupt(what: str, done: int, total: int) -> None:  # noqa: ARG001
        if what == "reading it back":
            assert any(tmp_path.rglob("CURRENT")), "the store has been made"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(path, Config(data_dir=root), progress=interrupt)
    assert root.exists() == is_there
    assert sorted(tmp_path.rglob("*")) == [root, path][1 - is_there :]


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_what_a_killed_restore_left_is_refused_by_the_server_and_replaced_by_the_next(
    tmp_path: Path, *, is_there: bool
) -> None:
    root = tmp_path / "d"
    if is_there:
        root.mkdir()
    killed = Stage(root)  # Never ended, as by kill -9; its lock goes with its process.
    (killed.root / "half").write_text("done")
    os.close(killed._lock)
    with pytest.raises(DataDirError, match="has not finished"):
        DataDir.prepare(root)
    restore(snapshot(tmp_path / "s", [put(2, b"a")]), Config(data_dir=root))
    assert [each.name for each in root.iterdir()] == ["tenure"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d", "s"]


def test_a_restore_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    with Stage(tmp_path / "d"), pytest.raises(DataDirError, match="another restore is making"):
        restore(snapshot(tmp_path / "s"), Config(data_dir=tmp_path / "d"))


# --- status ---


@pytest.mark.parametrize("name", ["a bit turned", "cut in the middle", "text", "empty"])
def test_the_status_of_a_damaged_file_is_its_damage(tmp_path: Path, name: str) -> None:
    damage, reason = FILES[name]
    path = tmp_path / "s"
    path.write_bytes(damage(ETCD_3_5.path.read_bytes()))
    with pytest.raises(SnapshotError) as caught:
        read_status(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


def test_the_status_of_rows_that_are_none_names_the_row(tmp_path: Path) -> None:
    for row in ((b"abc", b"x"), BAD_KV):
        path = snapshot(tmp_path / "s", [row], about=facts())
        with pytest.raises(SnapshotError, match=f"row {row[0].hex()} of bucket key: "):
            read_status(path)
