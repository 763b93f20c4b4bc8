"""What becomes of users and roles, and what is refused, in which order (store_test.go of etcd)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etcdpb.auth_pb2 import Permission, UserAddOptions
from server.auth import changes, errors
from server.auth.changes import Change
from server.auth.store import ROOT, AuthStore
from tests.server.auth.support import Disk

Decide = Callable[[AuthStore], Change]
OPTIONS = UserAddOptions()


def _made() -> Disk:
    """Users `ann` with role `r` and `root`; roles `r`, which may read `k`, and `s`."""
    disk = Disk()
    disk.role("r", Permission(key=b"k"))
    disk.role("s")
    disk.user("ann", "r")
    disk.user(ROOT, ROOT)
    return disk


@pytest.mark.parametrize(
    ("decide", "error"),
    [
        (lambda s: changes.add_user(s, "", b"", OPTIONS), errors.UserEmptyError),
        (lambda s: changes.add_user(s, "ann", b"", OPTIONS), errors.UserExistsError),
        (lambda s: changes.delete_user(s, "none"), errors.UserNotFoundError),
        (lambda s: changes.delete_user(s, ""), errors.UserNotFoundError),
        (lambda s: changes.change_password(s, "none", b""), errors.UserNotFoundError),
        (lambda s: changes.change_password(s, "none", None), errors.UserNotFoundError),
        (lambda s: changes.change_password(s, "ann", None), errors.NoPasswordError),
        (lambda s: changes.grant_role(s, "none", "none"), errors.UserNotFoundError),
        (lambda s: changes.grant_role(s, "ann", "none"), errors.RoleNotFoundError),
        (lambda s: changes.revoke_role(s, "none", "r"), errors.UserNotFoundError),
        (lambda s: changes.revoke_role(s, "ann", "s"), errors.RoleNotGrantedError),
        (lambda s: changes.revoke_role(s, "ann", "none"), errors.RoleNotGrantedError),
        (lambda s: changes.add_role(s, ""), errors.RoleEmptyError),
        (lambda s: changes.add_role(s, "r"), errors.RoleExistsError),
        (lambda s: changes.delete_role(s, "none"), errors.RoleNotFoundError),
        (lambda s: changes.delete_role(s, ROOT), errors.RoleNotFoundError),
        (lambda s: changes.grant_permission(s, "none", None), errors.PermissionNotGivenError),
        (
            lambda s: changes.grant_permission(s, "none", Permission()),
            errors.InvalidManagementError,
        ),
        (
            lambda s: changes.grant_permission(s, "r", Permission(range_end=b"\0")),
            errors.InvalidManagementError,
        ),
        (
            lambda s: changes.grant_permission(s, "r", Permission(key=b"b", range_end=b"b")),
            errors.InvalidManagementError,
        ),
        (
            lambda s: changes.grant_permission(s, "r", Permission(key=b"b", range_end=b"a")),
            errors.InvalidManagementError,
        ),
        (
            lambda s: changes.grant_permission(s, "none", Permission(key=b"k")),
            errors.RoleNotFoundError,
        ),
        (lambda s: changes.revoke_permission(s, "none", b"k", b""), errors.RoleNotFoundError),
        (lambda s: changes.revoke_permission(s, "r", b"l", b""), errors.PermissionNotGrantedError),
        (
            lambda s: changes.revoke_permission(s, "r", b"k", b"\0"),
            errors.PermissionNotGrantedError,
        ),
    ],
)
def test_a_refused_change_changes_nothing(decide: Decide, error: type[errors.AuthError]) -> None:
    disk = _made()
    before = (dict(disk.auth.users), dict(disk.auth.roles), disk.auth.revision)
    with pytest.raises(error):
        decide(disk.auth)
    assert (disk.auth.users, disk.auth.roles, disk.auth.revision) == before


@pytest.mark.parametrize(
    "decide",
    [
        lambda s: changes.delete_user(s, ROOT),
        lambda s: changes.revoke_role(s, ROOT, ROOT),
        lambda s: changes.delete_role(s, ROOT),
    ],
)
def test_only_while_users_count_root_must_stay(decide: Decide) -> None:
    disk = _made()
    disk.role(ROOT)
    disk.make(changes.enable(disk.auth))
    with pytest.raises(errors.InvalidManagementError):
        decide(disk.auth)
    disk.make(changes.disable(disk.auth))
    disk.make(decide(disk.auth))


def test_permissions_are_kept_by_key_and_replaced_on_the_same_range() -> None:
    disk = _made()
    for key, end in ((b"z", b""), (b"a", b"c"), (b"a", b""), (b"a", b"b")):
        granted = Permission(key=key, range_end=end)
        disk.make(changes.grant_permission(disk.auth, "s", granted))
    changed = Permission(permType=Permission.WRITE, key=b"a", range_end=b"b")
    disk.make(changes.grant_permission(disk.auth, "s", changed))
    assert [
        (each.key, each.range_end, each.permType) for each in disk.auth.roles["s"].keyPermission
    ] == [
        (b"a", b"c", Permission.READ),
        (b"a", b"", Permission.READ),
        (b"a", b"b", Permission.WRITE),
        (b"z", b"", Permission.READ),
    ]
    disk.make(changes.revoke_permission(disk.auth, "s", b"a", b""))
    assert len(disk.auth.roles["s"].keyPermission) == 3


def test_a_deleted_role_is_taken_from_all_who_have_it() -> None:
    disk = _made()
    disk.user("bob", "s", "r", ROOT)
    disk.make(changes.delete_role(disk.auth, "r"))
    assert list(disk.auth.users["bob"].roles) == [ROOT, "s"]
    assert not disk.auth.users["ann"].roles
    assert disk.auth.users["bob"].password == b"hash"


def test_a_user_keeps_its_options_and_roles_through_every_change() -> None:
    disk = Disk()
    options = UserAddOptions(no_password=True)
    disk.make(changes.add_user(disk.auth, "ann", b"", options))
    disk.role("r")
    disk.make(changes.grant_role(disk.auth, "ann", "r"))
    disk.make(changes.change_password(disk.auth, "ann", b"new"))
    disk.make(changes.change_password(disk.auth, "ann", None))
    user = disk.auth.users["ann"]
    assert (user.password, list(user.roles), user.options) == (b"", ["r"], options)
    disk.make(changes.revoke_role(disk.auth, "ann", "r"))
    assert disk.auth.users["ann"].options == options


def test_a_permission_of_no_known_kind_is_kept_and_permits_nothing() -> None:
    disk = _made()
    strange = Permission(key=b"x")
    strange.permType = 7  # type: ignore[assignment]  # proto3 keeps what it does not know
    disk.make(changes.grant_permission(disk.auth, "r", strange))
    rights = disk.auth.rights("ann")
    assert rights is not None
    assert rights.readable.holds(b"k")
    assert not rights.readable.holds(b"x")
    assert not rights.writable.holds(b"x")


def test_what_changes_nothing_does_not_move_the_revision() -> None:
    disk = _made()
    revision = disk.auth.revision
    disk.make(changes.grant_role(disk.auth, "ann", "r"))
    disk.make(changes.enable(disk.auth))
    disk.make(changes.enable(disk.auth))
    assert disk.auth.revision == revision
    disk.make(changes.disable(disk.auth))
    disk.make(changes.disable(disk.auth))
    assert disk.auth.revision == revision + 1


def test_a_change_forgets_the_tokens_of_whom_it_is_about() -> None:
    disk = _made()
    assert changes.delete_user(disk.auth, "ann").forgets == "ann"
    assert changes.change_password(disk.auth, "ann", b"new").forgets == "ann"
    assert changes.grant_role(disk.auth, "ann", "s").forgets is None


def test_the_log_is_told_no_secret() -> None:
    disk = _made()
    made = [
        changes.add_user(disk.auth, "bob", b"a hash", OPTIONS),
        changes.change_password(disk.auth, "ann", b"a hash"),
    ]
    assert "hash" not in str([(each.event, dict(each.details)) for each in made])
