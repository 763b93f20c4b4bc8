"""Any sequence of changes, against users and roles as plain sets."""

from __future__ import annotations

import contextlib
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from etcdpb.auth_pb2 import Permission, UserAddOptions
from server.auth import changes
from server.auth.changes import Change
from server.auth.errors import AuthError
from server.auth.rows import COLUMNS
from server.auth.store import ROOT
from tests.server.auth.support import Disk

NAMES: Final = st.sampled_from([ROOT, "a", "b"])
KEYS: Final = [b"a", b"b", b"c"]
RANGES: Final = st.tuples(st.sampled_from(KEYS), st.sampled_from([b"", b"\0", *KEYS]))
KINDS: Final = st.sampled_from(sorted(Permission.Type.values()))


def _has(range_: tuple[bytes, bytes], key: bytes) -> bool:
    start, end = range_
    if not end:
        return key == start
    return start <= key and (end == b"\0" or key < end)


class AuthMachine(RuleBasedStateMachine):
    """Model: the roles of each user, the permissions of each role, a switch and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.users: dict[str, set[str]] = {}
        self.roles: dict[str, dict[tuple[bytes, bytes], int]] = {}
        self.enabled = False
        self.revision = 1

    def _decided(self, change: Change) -> None:
        self.disk.make(change)
        self.revision += 1

    @rule(name=NAMES)
    def add_user(self, name: str) -> None:
        with contextlib.suppress(AuthError):
            self._decided(changes.add_user(self.disk.auth, name, b"hash", UserAddOptions()))
            assert name not in self.users
            self.users[name] = set()

    @rule(name=NAMES)
    def delete_user(self, name: str) -> None:
        is_kept = name not in self.users or (self.enabled and name == ROOT)
        with contextlib.suppress(AuthError):
            self._decided(changes.delete_user(self.disk.auth, name))
            assert not is_kept
            del self.users[name]

    @rule(name=NAMES)
    def add_role(self, name: str) -> None:
        with contextlib.suppress(AuthError):
            self._decided(changes.add_role(self.disk.auth, name))
            assert name not in self.roles
            self.roles[name] = {}

    @rule(name=NAMES)
    def delete_role(self, name: str) -> None:
        is_kept = name not in self.roles or (self.enabled and name == ROOT)
        with contextlib.suppress(AuthError):
            self._decided(changes.delete_role(self.disk.auth, name))
            assert not is_kept
            del self.roles[name]
            for roles in self.users.values():
                roles.discard(name)

    @rule(name=NAMES, role=NAMES)
    def grant_role(self, name: str, role: str) -> None:
        is_there = name in self.users and (role in self.roles or role == ROOT)
        try:
            change = changes.grant_role(self.disk.auth, name, role)
        except AuthError:
            assert not is_there
            return
        assert is_there
        self.disk.make(change)
        self.revision += role not in self.users[name]
        self.users[name].add(role)

    @rule(name=NAMES, role=NAMES)
    def revoke_role(self, name: str, role: str) -> None:
        with contextlib.suppress(AuthError):
            self._decided(changes.revoke_role(self.disk.auth, name, role))
            assert not (self.enabled and (name, role) == (ROOT, ROOT))
            self.users[name].remove(role)

    @rule(name=NAMES, range_=RANGES, kind=KINDS)
    def grant_permission(self, name: str, range_: tuple[bytes, bytes], kind: int) -> None:
        granted = Permission(key=range_[0], range_end=range_[1])
        granted.permType = kind  # type: ignore[assignment]  # an int is right
        is_range = range_[1] in (b"", b"\0") or range_[0] < range_[1]
        try:
            change = changes.grant_permission(self.disk.auth, name, granted)
        except AuthError:
            assert not is_range or name not in self.roles
            return
        assert is_range
        self._decided(change)
        self.roles[name][range_] = kind

    @rule(name=NAMES, range_=RANGES)
    def revoke_permission(self, name: str, range_: tuple[bytes, bytes]) -> None:
        with contextlib.suppress(AuthError):
            change = changes.revoke_permission(self.disk.auth, name, *range_)
            self._decided(change)
            del self.roles[name][range_]

    @rule()
    def enable(self) -> None:
        is_fit = self.enabled or ROOT in self.users.get(ROOT, ())
        try:
            self.disk.make(changes.enable(self.disk.auth))
        except AuthError:
            assert not is_fit
            return
        assert is_fit
        self.enabled = True

    @rule()
    def disable(self) -> None:
        self.disk.make(changes.disable(self.disk.auth))
        self.revision += self.enabled
        self.enabled = False

    @rule()
    def restart(self) -> None:
        self.disk = Disk(self.disk.backend)

    @invariant()
    def it_is_as_the_model_has_it(self) -> None:
        auth = self.disk.auth
        assert (auth.enabled, auth.revision) == (self.enabled, self.revision)
        assert {name: set(user.roles) for name, user in auth.users.items()} == self.users
        for name, user in auth.users.items():
            assert list(user.roles) == sorted(self.users[name])
        assert {
            name: {(each.key, each.range_end): each.permType for each in role.keyPermission}
            for name, role in auth.roles.items()
        } == self.roles

    @invariant()
    def rights_are_the_union(self) -> None:
        for name, roles in self.users.items():
            rights = self.disk.auth.rights(name)
            assert rights is not None
            assert rights.is_root == (ROOT in roles)
            for key in KEYS:
                kinds = {
                    kind
                    for role in roles
                    for range_, kind in self.roles.get(role, {}).items()
                    if _has(range_, key)
                }
                both = Permission.READWRITE in kinds
                assert rights.readable.holds(key) == (both or Permission.READ in kinds)
                assert rights.writable.holds(key) == (both or Permission.WRITE in kinds)

    @invariant()
    def the_size_is_that_of_the_rows(self) -> None:
        rows = (row for column in COLUMNS for row in self.disk.backend.scan(column))
        assert self.disk.store.in_use == sum(len(key) + len(value) for key, value in rows)


TestAuth = AuthMachine.TestCase
