"""Users and roles, whether they count, and the revision that every change to them moves.

All of it lives in memory, as the very records that are on disk, and each change goes into the
same batch as its rows. The auth revision starts at 1 and moves by one with each change; enabling
alone does not move it. What follows from the records, the rights of each user, is derived when it
is first asked for and forgotten with the next change.

Rows are etcd's: `authUsers` and `authRoles` hold an authpb.User or Role under its name, `auth` the
revision and the switch (server/storage/schema/auth.go).
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol, TypeVar

from google.protobuf.message import DecodeError

from etcdpb.auth_pb2 import Permission, Role, User
from mvcc.backend.base import Backend, Column
from mvcc.errors import CorruptRecordError
from mvcc.keyrange import KeyRange
from server.auth.keyset import KeySet

ROOT: Final = "root"  # The user and the role; the role permits everything.
FIRST_REVISION: Final = 1
KEY_ENABLED: Final = b"authEnabled"
KEY_REVISION: Final = b"authRevision"
_REVISION_BYTES: Final = 8
_ON: Final = b"\1"
_OFF: Final = b"\0"
_READS: Final = frozenset((Permission.READ, Permission.READWRITE))
_WRITES: Final = frozenset((Permission.WRITE, Permission.READWRITE))

RecordT = TypeVar("RecordT", User, Role)


class Rows(Protocol):
    """Where rows go: the batch that is open."""

    def put(self, column: Column, key: bytes, value: bytes) -> None: ...

    def delete(self, column: Column, key: bytes) -> None: ...


class Rights(NamedTuple):
    """What one user may do."""

    is_root: bool
    readable: KeySet
    writable: KeySet


class AuthStore:
    __slots__ = ("_rights", "_rows", "durable_revision", "enabled", "revision", "roles", "users")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.enabled = False
        self.revision = 0  # Until it is recovered, or begun.
        self.durable_revision = 0  # The engine moves it on when a group has reached the disk.
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self._rights: dict[str, Rights] = {}

    # --- reading ---

    @property
    def is_settled(self) -> bool:
        """Whether what users may do by now is durable."""
        return self.revision == self.durable_revision

    def rights(self, name: str) -> Rights | None:
        """What a user may do; None if there is no such user."""
        found = self._rights.get(name)
        if found is None and name in self.users:
            found = self._rights[name] = self._derive(self.users[name])
        return found

    def _derive(self, user: User) -> Rights:
        """The union of all its roles' permissions. A role that does not exist permits nothing."""
        granted = [
            permission
            for name in user.roles
            if name in self.roles
            for permission in self.roles[name].keyPermission
        ]
        readable, writable = (
            KeySet(
                KeyRange.from_wire(each.key, each.range_end)
                for each in granted
                if each.permType in kinds
            )
            for kinds in (_READS, _WRITES)
        )
        return Rights(ROOT in user.roles, readable, writable)

    # --- changing ---

    def put_user(self, name: str, user: User) -> None:
        self.users[name] = user
        self._rows.put(Column.AUTH_USERS, name.encode(), user.SerializeToString())

    def delete_user(self, name: str) -> None:
        del self.users[name]
        self._rows.delete(Column.AUTH_USERS, name.encode())

    def put_role(self, name: str, role: Role) -> None:
        self.roles[name] = role
        self._rows.put(Column.AUTH_ROLES, name.encode(), role.SerializeToString())

    def delete_role(self, name: str) -> None:
        del self.roles[name]
        self._rows.delete(Column.AUTH_ROLES, name.encode())

    def switch(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._rows.put(Column.AUTH, KEY_ENABLED, _ON if enabled else _OFF)

    def bump(self) -> None:
        """Users or roles are not what they were."""
        self.revision += 1
        self._rights.clear()
        number = self.revision.to_bytes(_REVISION_BYTES, "big")
        self._rows.put(Column.AUTH, KEY_REVISION, number)

    # --- recovering ---

    def recover(self, backend: Backend) -> None:
        """Read what stands on disk; of a store without any of it, revision 0 is left.

        Raises:
            CorruptRecordError
        """
        for key, value in backend.scan(Column.AUTH_USERS):
            self.users[_name("authUsers", key)] = _parsed(User, "authUsers", key, value)
        for key, value in backend.scan(Column.AUTH_ROLES):
            self.roles[_name("authRoles", key)] = _parsed(Role, "authRoles", key, value)
        enabled = backend.get(Column.AUTH, KEY_ENABLED)
        if enabled not in (None, _OFF, _ON):
            raise CorruptRecordError("auth", KEY_ENABLED, "it says neither yes nor no")
        self.enabled = enabled == _ON
        number = backend.get(Column.AUTH, KEY_REVISION)
        if number is not None:
            if len(number) != _REVISION_BYTES:
                raise CorruptRecordError(
                    "auth", KEY_REVISION, f"{len(number)} bytes where 8 belong"
                )
            self.revision = int.from_bytes(number, "big")
        elif self.users or self.roles or self.enabled:
            raise CorruptRecordError("auth", KEY_REVISION, "there are users, and it is not there")


def _name(column: str, key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise CorruptRecordError(column, key, f"a name that is no UTF-8: {error}") from error


def _parsed(kind: type[RecordT], column: str, key: bytes, value: bytes) -> RecordT:
    try:
        record = kind.FromString(value)
    except DecodeError as error:
        raise CorruptRecordError(column, key, f"no {kind.__name__}: {error}") from error
    if record.name != key:
        raise CorruptRecordError(column, key, f"it is of {record.name!r}")
    return record
