"""The rows of users and roles in the store's open batch, counted in the store's size."""

from __future__ import annotations

from typing import Final

from mvcc.backend.base import Column
from mvcc.store import Store

COLUMNS: Final = (Column.AUTH, Column.AUTH_USERS, Column.AUTH_ROLES)


class StoreRows:
    """`server.auth.store.Rows` in a `Store`. There are few, so the size of each is remembered."""

    def __init__(self, store: Store) -> None:
        """What is stored already is counted: the store was restored without it."""
        self._store = store
        self._values: dict[tuple[Column, bytes], int] = {
            (column, key): len(value)
            for column in COLUMNS
            for key, value in store.backend.scan(column)
        }
        store.in_use += sum(len(key) + size for (_, key), size in self._values.items())

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        assert self._store.batch is not None
        self._store.batch.put(column, key, value)
        before = self._values.get((column, key))
        self._store.in_use += len(value) + (len(key) if before is None else -before)
        self._values[column, key] = len(value)

    def delete(self, column: Column, key: bytes) -> None:
        assert self._store.batch is not None
        self._store.batch.delete(column, key)
        self._store.in_use -= len(key) + self._values.pop((column, key))
