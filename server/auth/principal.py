"""One who asks, and all that can be asked of its rights.

A request is allowed or refused by what holds when it is carried out, not when it came in. For a
user without the role root that is: the token's revision is the present one, and the union of its
roles' permissions holds every key that the request reads or writes, in branches not taken too
(server/etcdserver/apply/auth.go, server/auth/store.go).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import chain
from typing import Final

from etcdpb.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from lease.errors import LeaseNotFoundError
from lease.lessor import Lease, LeaseID, Lessor
from mvcc.keyrange import KeyRange
from mvcc.plan import Operation, Plan
from mvcc.slicing import SLICE_KEYS, chunks
from server.auth.errors import (
    OldAuthRevisionError,
    PermissionDeniedError,
    UserEmptyError,
    UserNotFoundError,
)
from server.auth.keyset import KeySet
from server.auth.store import AuthStore, Rights
from server.auth.verdicts import LeaseVerdicts

# Of a lease with few keys each is looked at each time; most have one, and a count costs memory.
KEYS_LOOKED_AT_MAX: Final = 32
_NOBODY: Final = 0  # As a revision: etcd's mark of a request without a user.


class Principal:
    __slots__ = ("_lessor", "_store", "_verdicts", "name", "revision")

    def __init__(
        self,
        store: AuthStore,
        lessor: Lessor,
        verdicts: LeaseVerdicts,
        name: str = "",
        revision: int = _NOBODY,
    ) -> None:
        """Without a name it is nobody, who may do nothing that needs a user."""
        self._store = store
        self._lessor = lessor
        self._verdicts = verdicts
        self.name = name
        self.revision = revision  # Of the users and roles that it knows of.

    # --- who it is ---

    def must_be_somebody(self) -> None:
        """Raises UserEmptyError."""
        if self.revision == _NOBODY:
            raise UserEmptyError

    def must_be_root(self) -> None:
        """The revision is not looked at (IsAdminPermitted).

        Raises:
            UserEmptyError, UserNotFoundError, PermissionDeniedError
        """
        if not self.name:
            raise UserEmptyError
        rights = self._store.rights(self.name)
        if rights is None:
            raise UserNotFoundError
        if not rights.is_root:
            raise PermissionDeniedError

    def must_be_current(self) -> None:
        """What is only read is refused for any other revision than the present one (doSerialize).

        Raises:
            OldAuthRevisionError
        """
        if self.revision not in (_NOBODY, self._store.revision):
            raise OldAuthRevisionError

    @property
    def is_root(self) -> bool:
        rights = self._store.rights(self.name)
        return rights is not None and rights.is_root

    def has_role(self, role: str) -> bool:
        user = self._store.users.get(self.name)
        return user is not None and role in user.roles

    def _rights(self) -> Rights:
        """What it may do with keys.

        Raises:
            UserEmptyError, OldAuthRevisionError, PermissionDeniedError
        """
        if self.revision == _NOBODY:
            raise UserEmptyError
        if self.revision < self._store.revision:
            raise OldAuthRevisionError
        rights = self._store.rights(self.name)
        if rights is None:
            raise PermissionDeniedError
        return rights

    # --- keys ---

    def must_read(self, key: bytes, range_end: bytes = b"") -> None:
        """Raises UserEmptyError, OldAuthRevisionError, PermissionDeniedError."""
        rights = self._rights()
        if not rights.is_root and not rights.readable.covers(KeyRange.from_wire(key, range_end)):
            raise PermissionDeniedError

    def must_write(self, key: bytes, range_end: bytes = b"") -> None:
        """Raises UserEmptyError, OldAuthRevisionError, PermissionDeniedError."""
        rights = self._rights()
        if not rights.is_root and not rights.writable.covers(KeyRange.from_wire(key, range_end)):
            raise PermissionDeniedError

    def must_put(self, request: PutRequest) -> None:
        """The key, and all keys of its lease: who may attach one may end them all."""
        self.must_write(request.key)
        if request.lease:
            self.must_end(LeaseID(request.lease))
        if request.prev_kv:
            self.must_read(request.key)

    def must_delete(self, request: DeleteRangeRequest) -> None:
        self.must_write(request.key, request.range_end)
        if request.prev_kv:
            self.must_read(request.key, request.range_end)

    def must_do(self, plan: Plan) -> None:
        """Conditions, and the operations of both branches, nested ones too."""
        for compare in plan.compares:
            self.must_read(compare.key, compare.range_end)
        self._must_do_each(plan.success)
        self._must_do_each(plan.failure)

    def _must_do_each(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, RangeRequest):
                self.must_read(operation.key, operation.range_end)
            elif isinstance(operation, PutRequest):
                self.must_put(operation)
            elif isinstance(operation, DeleteRangeRequest):
                self.must_delete(operation)
            elif isinstance(operation, Plan):
                self.must_do(operation)

    # --- leases ---

    def must_end(self, lease_id: LeaseID) -> None:
        """Whoever revokes or renews a lease, or attaches a key to it, may write all its keys.

        Of a lease that is unknown or has no keys nobody is kept.
        """
        try:
            lease = self._lessor.lookup(lease_id)
        except LeaseNotFoundError:
            return
        if lease.keys is None or self.is_root:
            return
        writable = self._rights().writable
        if lease.key_count <= KEYS_LOOKED_AT_MAX:
            may = all(map(writable.holds, _keys_of(lease)))
        else:
            may = self._verdicts.may_write_all(
                self.name, writable, self._store.revision, lease_id, lambda: _keys_of(lease)
            )
        if not may:
            raise PermissionDeniedError

    def must_read_keys_of(self, leases: Iterable[Lease]) -> None:
        """Whoever is told of leases, or of their keys, may read all their keys."""
        if self.is_root:
            return
        readable: KeySet | None = None
        for lease in leases:
            if lease.keys is not None:
                if readable is None:
                    readable = self._rights().readable
                if not all(map(readable.holds, _keys_of(lease))):
                    raise PermissionDeniedError

    def must_read_many(self, leases: Iterable[Lease]) -> Generator[None, None, None]:
        """The same in slices. Neither leases nor rights may change before the last."""
        if self.is_root:
            return
        keys = chain.from_iterable(_keys_of(each) for each in leases if each.keys is not None)
        for chunk in chunks(keys, SLICE_KEYS):
            if not all(map(self._rights().readable.holds, chunk)):
                raise PermissionDeniedError
            yield


def _keys_of(lease: Lease) -> Iterable[bytes]:
    """In no order: nobody is told of them."""
    return lease.keys if isinstance(lease.keys, set) else lease.sorted_keys()


class ServerPrincipal(Principal):
    """The server itself: it may do everything."""

    __slots__ = ()

    def must_be_somebody(self) -> None: ...

    def must_be_root(self) -> None: ...

    @property
    def is_root(self) -> bool:
        return True

    def must_read(self, key: bytes, range_end: bytes = b"") -> None: ...

    def must_write(self, key: bytes, range_end: bytes = b"") -> None: ...
