"""What each management request would make of users and roles: decided here, done by `Change`.

The functions look and refuse, in etcd's order (server/auth/store.go), and change nothing; so a
change that was decided can no longer fail. Who may ask for it is not their business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from etcdpb.auth_pb2 import Permission, Role, User, UserAddOptions
from mvcc.keyrange import KeyRange
from server.auth.errors import (
    InvalidManagementError,
    NoPasswordError,
    PermissionNotGivenError,
    PermissionNotGrantedError,
    RoleEmptyError,
    RoleExistsError,
    RoleNotFoundError,
    RoleNotGrantedError,
    RootRoleMissingError,
    RootUserMissingError,
    UserEmptyError,
    UserExistsError,
    UserNotFoundError,
)
from server.auth.store import ROOT, AuthStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decided change. Its parts are done in the order in which they stand here."""

    event: str  # What the log says of it, in etcd's words,
    details: Mapping[str, object] = field(default_factory=dict)  # and with which fields.
    users: Iterable[User] = ()  # To be put.
    without_user: str | None = None
    role: Role | None = None  # To be put.
    without_role: str | None = None
    switch: bool | None = None  # Whether it all counts from now on.
    moves_revision: bool = True
    forgets: str | None = None  # Whose tokens end.

    def make(self, store: AuthStore) -> None:
        for user in self.users:
            store.put_user(user.name.decode(), user)
        if self.without_user is not None:
            store.delete_user(self.without_user)
        if self.role is not None:
            store.put_role(self.role.name.decode(), self.role)
        if self.without_role is not None:
            store.delete_role(self.without_role)
        if self.switch is not None:
            store.switch(enabled=self.switch)
        if self.moves_revision:
            store.bump()


def enable(store: AuthStore) -> Change:
    if store.enabled:
        event = "authentication is already enabled; ignored auth enable request"
        return Change(event=event, moves_revision=False)
    root = store.users.get(ROOT)
    if root is None:
        raise RootUserMissingError
    if ROOT not in root.roles:
        raise RootRoleMissingError
    return Change(event="enabled authentication", switch=True, moves_revision=False)


def disable(store: AuthStore) -> Change:
    if not store.enabled:
        return Change(event="authentication is not enabled", moves_revision=False)
    return Change(event="disabled authentication", switch=False)


def add_user(store: AuthStore, name: str, password: bytes, options: UserAddOptions) -> Change:
    """`password` is a hash, empty for a user that has none."""
    if not name:
        raise UserEmptyError
    if name in store.users:
        raise UserExistsError
    user = User(name=name.encode(), password=password, options=options)
    return Change(event="added a user", details={"user_name": name}, users=(user,))


def delete_user(store: AuthStore, name: str) -> Change:
    if store.enabled and name == ROOT:
        raise InvalidManagementError
    user = _user(store, name)
    return Change(
        event="deleted a user",
        details={"user_name": name, "user_roles": list(user.roles)},
        without_user=name,
        forgets=name,
    )


def change_password(store: AuthStore, name: str, password: bytes | None) -> Change:
    """`password` is a hash, None if it cannot be read. A user that has none stays so."""
    user = _copy(_user(store, name))
    if not user.options.no_password:
        if password is None:
            raise NoPasswordError
        user.password = password
    return Change(
        event="changed a password of a user",
        details={"user_name": name, "user_roles": list(user.roles)},
        users=(user,),
        forgets=name,
    )


def grant_role(store: AuthStore, name: str, role: str) -> Change:
    """The role root may be granted even if nobody has made it."""
    before = _user(store, name)
    if role != ROOT and role not in store.roles:
        raise RoleNotFoundError
    if role in before.roles:
        return Change(
            event="ignored grant role request to a user",
            details={"user_name": name, "duplicate_role_name": role},
            moves_revision=False,
        )
    user = _with_roles(before, sorted((*before.roles, role), key=str.encode))
    return Change(
        event="granted a role to a user",
        details={"user_name": name, "user_roles": list(user.roles), "added_role_name": role},
        users=(user,),
    )


def revoke_role(store: AuthStore, name: str, role: str) -> Change:
    if store.enabled and name == ROOT and role == ROOT:
        raise InvalidManagementError
    before = _user(store, name)
    if role not in before.roles:
        raise RoleNotGrantedError
    user = _without_role(before, role)
    return Change(
        event="revoked a role from a user",
        details={
            "user_name": name,
            "old_user_roles": list(before.roles),
            "new_user_roles": list(user.roles),
            "revoked_role_name": role,
        },
        users=(user,),
    )


def add_role(store: AuthStore, name: str) -> Change:
    if not name:
        raise RoleEmptyError
    if name in store.roles:
        raise RoleExistsError
    role = Role(name=name.encode())
    return Change(event="created a role", details={"role_name": name}, role=role)


def delete_role(store: AuthStore, name: str) -> Change:
    """Nobody has it afterwards."""
    if store.enabled and name == ROOT:
        raise InvalidManagementError
    _role(store, name)
    owners = [_without_role(user, name) for user in store.users.values() if name in user.roles]
    return Change(
        event="deleted a role", details={"role_name": name}, users=owners, without_role=name
    )


def grant_permission(store: AuthStore, name: str, permission: Permission | None) -> Change:
    """One on the very same range gets the new one's type. They are kept in the order of their keys.

    etcd looks at the first one of a key only, and may keep two of a range.
    """
    if permission is None:
        raise PermissionNotGivenError
    keys = KeyRange.from_wire(permission.key, permission.range_end)
    if not permission.key or keys.is_empty:
        raise InvalidManagementError
    before = _role(store, name)
    role = Role()
    role.CopyFrom(before)
    for each in role.keyPermission:
        if (each.key, each.range_end) == (permission.key, permission.range_end):
            each.permType = permission.permType
            break
    else:
        role.keyPermission.append(permission)
        role.keyPermission.sort(key=lambda each: each.key)
    kind = permission.permType
    return Change(
        event="granted/updated a permission to a user",
        details={
            "user_name": name,
            "permission_name": Permission.Type.Name(kind) if kind in _KINDS else "",
        },
        role=role,
    )


def revoke_permission(store: AuthStore, name: str, key: bytes, range_end: bytes) -> Change:
    before = _role(store, name)
    kept = _others(before, key, range_end)
    if len(kept) == len(before.keyPermission):
        raise PermissionNotGrantedError
    return Change(
        event="revoked a permission on range",
        details={
            "role_name": name,
            "key": key.decode(errors="backslashreplace"),
            "range_end": range_end.decode(errors="backslashreplace"),
        },
        role=Role(name=before.name, keyPermission=kept),
    )


_KINDS = frozenset(Permission.Type.values())


def _user(store: AuthStore, name: str) -> User:
    user = store.users.get(name)
    if user is None:
        raise UserNotFoundError
    return user


def _role(store: AuthStore, name: str) -> Role:
    role = store.roles.get(name)
    if role is None:
        raise RoleNotFoundError
    return role


def _others(role: Role, key: bytes, range_end: bytes) -> list[Permission]:
    return [each for each in role.keyPermission if (each.key, each.range_end) != (key, range_end)]


def _copy(user: User) -> User:
    copy = User()
    copy.CopyFrom(user)
    return copy


def _with_roles(user: User, roles: Iterable[str]) -> User:
    copy = _copy(user)
    copy.roles[:] = roles
    return copy


def _without_role(user: User, role: str) -> User:
    return _with_roles(user, [each for each in user.roles if each != role])
