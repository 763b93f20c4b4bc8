"""What is on disk, and what is made of it again."""

from __future__ import annotations

import pytest

from etcdpb.auth_pb2 import Permission, Role, User
from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from mvcc.errors import CorruptRecordError
from server.auth import changes
from server.auth.rows import COLUMNS
from server.auth.store import KEY_REVISION, ROOT
from tests.server.auth.support import Disk


def _size(disk: Disk) -> int:
    return sum(
        len(key) + len(value) for column in COLUMNS for key, value in disk.backend.scan(column)
    )


def test_all_of_it_is_there_after_a_restart() -> None:
    disk = Disk()
    disk.role("r", Permission(key=b"k"))
    disk.user("ann", "r")
    disk.user(ROOT, ROOT)
    disk.make(changes.enable(disk.auth))
    again = Disk(disk.backend).auth
    assert (again.users, again.roles) == (disk.auth.users, disk.auth.roles)
    assert (again.enabled, again.revision) == (True, 7)


def test_a_new_store_is_at_revision_1_and_says_so_on_disk() -> None:
    disk = Disk()
    assert disk.auth.revision == 1
    assert dict(disk.backend.scan(Column.AUTH)) == {KEY_REVISION: (1).to_bytes(8, "big")}


def test_every_row_is_counted_once() -> None:
    disk = Disk()
    for change in (
        lambda: disk.user("ann"),
        lambda: disk.user(ROOT, ROOT),
        lambda: disk.role("r", Permission(key=b"k" * 99)),
        lambda: disk.make(changes.enable(disk.auth)),
        lambda: disk.make(changes.delete_role(disk.auth, "r")),
        lambda: disk.make(changes.delete_user(disk.auth, "ann")),
    ):
        change()
        assert disk.store.in_use == _size(disk)
    assert Disk(disk.backend).store.in_use == _size(disk)


def test_two_changes_of_one_group_count_as_what_is_left_of_them() -> None:
    disk = Disk()
    with disk.batch():
        changes.add_role(disk.auth, "r").make(disk.auth)
        changes.grant_permission(disk.auth, "r", Permission(key=b"k")).make(disk.auth)
        changes.delete_role(disk.auth, "r").make(disk.auth)
    assert disk.store.in_use == _size(disk)
    assert Disk(disk.backend).auth.revision == 4


def test_rights_follow_each_change() -> None:
    disk = Disk()
    assert disk.auth.rights("ann") is None
    disk.user("ann")
    rights = disk.auth.rights("ann")
    assert rights is not None
    assert not rights.readable.holds(b"k")
    assert rights is disk.auth.rights("ann")
    disk.role("r", Permission(permType=Permission.WRITE, key=b"k"))
    disk.make(changes.grant_role(disk.auth, "ann", "r"))
    rights = disk.auth.rights("ann")
    assert rights is not None
    assert rights.writable.holds(b"k")
    assert not rights.readable.holds(b"k")
    assert not rights.is_root
    disk.make(changes.grant_role(disk.auth, "ann", ROOT))
    rights = disk.auth.rights("ann")
    assert rights is not None
    assert rights.is_root
    disk.make(changes.delete_user(disk.auth, "ann"))
    assert disk.auth.rights("ann") is None


@pytest.mark.parametrize(
    ("column", "key", "value", "reason"),
    [
        (Column.AUTH_USERS, b"ann", b"\xff", "no User"),
        (Column.AUTH_ROLES, b"r", b"\xff", "no Role"),
        (Column.AUTH_USERS, b"ann", User(name=b"bob").SerializeToString(), "it is of b'bob'"),
        (Column.AUTH_ROLES, b"\xff", Role(name=b"\xff").SerializeToString(), "no UTF-8"),
        (Column.AUTH, KEY_REVISION, b"short", "5 bytes where 8 belong"),
    ],
)
def test_a_row_that_nobody_can_have_written_is_refused(
    column: Column, key: bytes, value: bytes, reason: str
) -> None:
    disk = Disk()
    batch = disk.backend.batch()
    batch.put(column, key, value)
    disk.backend.write(batch)
    with pytest.raises(CorruptRecordError, match=reason):
        Disk(disk.backend)


def test_users_without_a_revision_have_lost_a_row() -> None:
    backend = MemoryBackend()
    batch = backend.batch()
    batch.put(Column.AUTH_USERS, b"ann", User(name=b"ann").SerializeToString())
    backend.write(batch)
    with pytest.raises(CorruptRecordError, match="it is not there"):
        Disk(backend)
