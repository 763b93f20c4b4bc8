"""An auth store on a memory backend, with no server around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from etcdpb.auth_pb2 import Permission, UserAddOptions
from mvcc.backend.base import Backend
from mvcc.backend.memory import MemoryBackend
from mvcc.store import Store
from server.auth import changes
from server.auth.changes import Change
from server.auth.rows import StoreRows
from server.auth.store import AuthStore


class Disk:
    """Where an auth store's rows go."""

    def __init__(self, backend: Backend | None = None) -> None:
        self.backend = MemoryBackend() if backend is None else backend
        self.store = Store(self.backend)
        self.rows = StoreRows(self.store)
        self.auth = AuthStore(self.rows)
        self.auth.recover(self.backend)
        if not self.auth.revision:
            with self.batch():
                self.auth.bump()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is done in it is written at its end."""
        self.store.begin()
        yield
        self.backend.write(self.store.take_batch())

    def make(self, change: Change) -> Change:
        with self.batch():
            change.make(self.auth)
        return change

    def user(self, name: str, *roles: str) -> None:
        self.make(changes.add_user(self.auth, name, b"hash", UserAddOptions()))
        for role in roles:
            self.make(changes.grant_role(self.auth, name, role))

    def role(self, name: str, *granted: Permission) -> None:
        self.make(changes.add_role(self.auth, name))
        for permission in granted:
            self.make(changes.grant_permission(self.auth, name, permission))
