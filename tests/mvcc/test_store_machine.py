"""Any history, against the dull model: the store, its index, compaction, HashKV and recovery.

Transactions here may touch a key twice, in every way, though etcd's overlap check lets only some
of them through. A crash leaves what the last written group left, in the middle of a sweep too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from etcdpb.rpc_pb2 import RangeRequest
from mvcc.backend.base import Backend
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from mvcc.errors import CompactedError, FutureRevisionError
from mvcc.view import range_in_txn
from tests.mvcc.model import Model, Operation, Row
from tests.mvcc.strategies import groups, range_requests
from tests.mvcc.support import Database, kvs_of
from tests.support.quick import quick_directory


def size(rows: list[Row]) -> int:
    return sum(len(row.row_key) + len(row.value) for row in rows)


def memory_of(database: Database) -> object:
    """All that a restart must bring back."""
    store = database.store
    entries = {
        key: [getattr(entry, name) for name in entry.__slots__]
        for key, entry in store.index.entries.items()
    }
    revisions = (store.current, store.published, store.compact_revision, store.swept_revision)
    return entries, revisions, store.in_use, store.freed, database.compactor.is_sweeping


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.database = Database(self.open())

    def open(self) -> Backend:
        return MemoryBackend()

    def reopen(self) -> Backend:
        return self.database.backend

    @rule(transactions=groups)
    def change(self, transactions: list[list[Operation]]) -> None:
        with self.database.group():
            for operations in transactions:
                assert self.database.apply(operations) == self.model.transact(operations)

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        compacted, current = self.model.compacted, self.model.revision
        target = data.draw(st.integers(compacted - 1, current + 1))
        if target <= compacted:
            with pytest.raises(CompactedError):
                self.database.schedule(target)
            self.database = Database(self.reopen())  # The refused group was never written.
        elif target > current:
            with pytest.raises(FutureRevisionError):
                self.database.schedule(target)
            self.database = Database(self.reopen())
        else:
            self.database.schedule(target)
            self.model.compacted = target

    @precondition(lambda self: self.database.compactor.is_sweeping)
    @rule(rows_max=st.integers(1, 4))
    def sweep_on(self, rows_max: int) -> None:
        is_done = self.database.step(rows_max)
        assert is_done == (not self.database.compactor.is_sweeping)
        assert (self.database.store.swept_revision == self.model.compacted) == is_done

    @rule()
    def sweep(self) -> None:
        self.database.sweep()

    @rule()
    def restart(self) -> None:
        before = memory_of(self.database)
        self.database = Database(self.reopen())
        assert memory_of(self.database) == before

    @rule(request=range_requests)
    def read(self, request: RangeRequest) -> None:
        model, database = self.model, self.database
        for revision in (-1, 0, *model.readable()):
            request.revision = revision
            expected = model.range(request, revision if revision > 0 else model.revision)
            result = database.range(request)
            assert (kvs_of(result), result.total, result.more) == expected
        request.revision = 0
        assert range_in_txn(database.store, request) == database.range(request)
        request.revision = model.revision + 1
        with pytest.raises(FutureRevisionError):
            database.range(request)
        if model.compacted > 1:
            request.revision = model.compacted - 1
            with pytest.raises(CompactedError):
                database.range(request)

    @rule()
    def hash(self) -> None:
        for revision in self.model.readable():
            assert self.database.hash(revision) == self.model.hash_kv(revision)

    @invariant()
    def holds_together(self) -> None:
        database, model = self.database, self.model
        database.check()
        store = database.store
        assert (store.current, store.compact_revision) == (model.revision, model.compacted)
        assert store.in_use + store.freed == size(model.rows)
        assert database.hash() == model.hash_kv(model.revision)
        rows = database.rows()
        kept = [(row.row_key, row.value) for row in model.kept(model.compacted)]
        if database.compactor.is_sweeping:
            unswept = [(row.row_key, row.value) for row in model.kept(store.swept_revision)]
            assert set(kept) <= set(rows) <= set(unswept)
        else:
            assert rows == kept


class RocksStoreMachine(StoreMachine):
    """The same where rows lie in files, and a restart opens them anew."""

    def open(self) -> Backend:
        self.directory = quick_directory()
        return RocksBackend.open(Path(self.directory.name) / "db")

    def reopen(self) -> Backend:
        self.database.backend.close()
        return RocksBackend.open(Path(self.directory.name) / "db")

    def teardown(self) -> None:
        self.database.backend.close()
        self.directory.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(stateful_step_count=30)
TestRocksStoreMachine = RocksStoreMachine.TestCase
TestRocksStoreMachine.settings = settings(max_examples=5, stateful_step_count=20)
