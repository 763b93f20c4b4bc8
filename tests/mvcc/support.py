"""A store driven as the engine drives it, and short ways to say what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import RangeRequest, WatchResponse
from mvcc.backend.base import Backend, Column
from mvcc.backend.memory import MemoryBackend
from mvcc.compaction import Compactor
from mvcc.hashkv import HashResult, hash_kv
from mvcc.keyrange import KeyRange
from mvcc.record import frame, parse
from mvcc.restore import restore
from mvcc.store import Store
from mvcc.txn import put_alone
from mvcc.view import RangeResult, range_keys
from mvcc.watch import WatchHub
from mvcc.watcher import Sink, Watcher
from tests.mvcc.model import Operation, Put

ALL_KEYS: Final = KeyRange(b"\0", None)
EVERYTHING: Final = RangeRequest(key=b"\0", range_end=b"\0")


class Database:
    """Store, compactor and hub on one backend. Every method is a group of its own."""

    def __init__(self, backend: Backend | None = None) -> None:
        """Recovers whatever `backend` holds."""
        self.backend: Backend = MemoryBackend() if backend is None else backend
        self.store = Store(self.backend)
        restore(self.store)
        self.compactor = Compactor(self.store)
        self.hub = WatchHub(self.store)

    def restarted(self) -> Database:
        """What a new process finds: only what the backend holds lives on."""
        return Database(self.backend)

    @contextmanager
    def group(self) -> Iterator[None]:
        """All that is done within shares a batch, which is then written and published."""
        batch = self.store.begin()
        yield
        assert self.store.take_batch() is batch
        self.backend.write(batch)
        self.hub.publish(self.store.publish())

    def apply(self, operations: Iterable[Operation]) -> int:
        """One transaction in the open group; the revision its header says."""
        txn = self.store.write_txn()
        for operation in operations:
            if isinstance(operation, Put):
                txn.put(operation.key, operation.value, operation.lease)
            else:
                txn.delete_keys(operation.keys)
        txn.end()
        return txn.revision

    def transact(self, *operations: Operation) -> int:
        with self.group():
            return self.apply(operations)

    def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> int:
        """As the server puts where that is all there is; `transact` is the long way."""
        with self.group():
            put_alone(self.store, key, value, lease)
            return self.store.current

    def delete(self, key: bytes, end: bytes | None = None) -> int:
        """Delete `key`, or [key, end). Returns the revision afterwards."""
        with self.group():
            txn = self.store.write_txn()
            txn.delete_range(key, end)
            txn.end()
            return txn.revision

    def schedule(self, revision: int) -> None:
        with self.group():
            self.compactor.check(revision)
            self.compactor.schedule(revision)

    def step(self, rows_max: int) -> bool:
        with self.group():
            return self.compactor.step(rows_max)

    def sweep(self) -> None:
        while self.compactor.is_sweeping:
            self.step(rows_max=1000)

    def compact(self, revision: int) -> None:
        """All of it: refuse what is below `revision`, and remove it."""
        self.schedule(revision)
        self.sweep()

    def rows(self) -> list[tuple[bytes, bytes]]:
        return list(self.backend.scan(Column.KEY))

    def range(self, request: RangeRequest = EVERYTHING) -> RangeResult:
        return range_keys(self.store, request)

    def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        kvs = kvs_of(self.range(RangeRequest(key=key, revision=revision)))
        return kvs[0] if kvs else None

    def keys(self, revision: int = 0) -> list[bytes]:
        """Live keys as of `revision`."""
        request = RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
        return keys_of(self.range(request))

    def hash(self, revision: int = 0) -> int:
        return run_to_end(hash_kv(self.store, revision)).hash

    def check(self) -> None:
        """Assert everything that must hold between two groups."""
        self.store.index.check_invariants()
        self.hub.check_invariants()
        rows = self.rows()
        assert self.store.in_use == sum(len(key) + len(value) for key, value in rows)
        assert self.store.published == self.store.current


class Recorder(Sink):
    """A sink that takes as many responses as it has room for, and remembers them."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.responses: list[tuple[int, list[Event]]] = []  # Header revision, events.

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:  # noqa: ARG002  # one watcher each
        if self.room == 0:
            return False
        self.room -= 1
        self.responses.append((revision, events_of(events)))
        return True

    def brief(self) -> list[tuple[int, list[str]]]:
        """Each response in words: header revision, and `put key`, `del key` in order."""
        return [
            (revision, [brief(event) for event in events]) for revision, events in self.responses
        ]


def watch(
    database: Database,
    keys: KeyRange = ALL_KEYS,
    *,
    start: int = 0,
    room: int = 1000,
    no_put: bool = False,
    no_delete: bool = False,
    prev_kv: bool = False,
) -> tuple[Watcher, Recorder]:
    sink = Recorder(room)
    watcher = Watcher(
        0, keys, sink, start_revision=start, no_put=no_put, no_delete=no_delete, prev_kv=prev_kv
    )
    database.hub.add(watcher)
    return watcher, sink


def caught_up(database: Database, watcher: Watcher) -> list[list[str]]:
    """Catch up to the end; the responses on the way that have events, in words."""
    responses = []
    while not watcher.is_synced:
        events, compacted = database.hub.catch_up(watcher)
        assert compacted == 0
        if events:
            responses.append([brief(event) for event in events_of(events)])
    return responses


def brief(event: Event) -> str:
    return f"{'del' if event.type == Event.DELETE else 'put'} {event.kv.key.decode()}"


def run_to_end(hashing: Iterator[None]) -> HashResult:
    while True:
        try:
            next(hashing)
        except StopIteration as end:
            result: HashResult = end.value
            return result


def events_of(fields: list[bytes]) -> list[Event]:
    """The events inside the fields of a WatchResponse."""
    response = WatchResponse.FromString(b"".join(fields))
    assert len(response.events) == len(fields)
    return list(response.events)


def kvs_of(result: RangeResult) -> list[KeyValue]:
    return [parse(framed) for framed in result.frames]


def keys_of(result: RangeResult) -> list[bytes]:
    return [kv.key for kv in kvs_of(result)]


def framed(**fields: bytes | int) -> bytes:
    """The frame of the KeyValue with these fields."""
    return frame(KeyValue(**fields).SerializeToString())  # type: ignore[arg-type]  # each fits its field
