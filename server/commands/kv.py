"""Put, DeleteRange and Compact, as etcd's server/etcdserver/txn applies them."""

from __future__ import annotations

from typing import NamedTuple

from etcdpb.rpc_pb2 import DeleteRangeRequest, PutRequest
from lease.lessor import LeaseID
from mvcc.compaction import META_FREED
from mvcc.errors import KeyNotFoundError
from mvcc.keyrange import KeyRange
from mvcc.record import parse
from mvcc.slicing import SLICE_CHANGES
from mvcc.txn import WriteTxn, put_alone
from server.commands.base import State, Steps, WritesOnly, begun

# Its revision, and the frame of the version before if it was asked for and existed. A plain tuple:
# one is made for each put, and one with names costs five times as much.
PutResult = tuple[int, bytes | None]


class DeleteResult(NamedTuple):
    revision: int
    deleted: int
    prevs: list[bytes]  # Frames of what was deleted, if asked for, in key order.


def check_lease(state: State, request: PutRequest) -> None:
    """Raises LeaseNotFoundError if a put is for a lease that is not there."""
    if request.lease:
        state.lessor.lookup(LeaseID(request.lease))


def check_kept(state: State, request: PutRequest) -> None:
    """Raises KeyNotFoundError if a put wants to keep things of a key that is not there."""
    if (request.ignore_value or request.ignore_lease) and not state.store.index.live(request.key):
        raise KeyNotFoundError(request.key)


def apply_put(txn: WriteTxn, state: State, request: PutRequest) -> bytes | None:
    """Put within `txn`; returns the frame of the version before if it is asked for."""
    key, value, lease, prev = _to_put(state, request)
    txn.put(key, value, lease)
    return prev


def _to_put(state: State, request: PutRequest) -> tuple[bytes, bytes, int, bytes | None]:
    """Key, value and lease of the version that `request` makes, and what its answer shows."""
    key, value, lease = request.key, request.value, request.lease
    tally = state.tally
    tally.puts += 1
    prev = None
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        entry = state.store.index.live(key)
        if entry is not None:
            prev = entry.frame
        if request.ignore_value:
            assert prev is not None
            value = parse(prev).value
        if request.ignore_lease:
            assert entry is not None
            lease = entry.lease
        if not request.prev_kv:
            prev = None
    tally.put_bytes += len(key) + len(value)
    return key, value, lease, prev


def apply_delete(txn: WriteTxn, state: State, request: DeleteRangeRequest) -> DeleteResult:
    state.tally.deletes += 1
    prevs = txn.delete_keys(KeyRange.from_wire(request.key, request.range_end))
    return DeleteResult(txn.revision, len(prevs), prevs if request.prev_kv else [])


def delete_steps(txn: WriteTxn, state: State, request: DeleteRangeRequest) -> Steps[DeleteResult]:
    """`apply_delete`, with a step for each slice where there are very many keys."""
    keys = KeyRange.from_wire(request.key, request.range_end)
    if not request.range_end or state.store.index.count(keys) <= SLICE_CHANGES:
        return apply_delete(txn, state, request)
    state.tally.deletes += 1
    prevs = yield from txn.delete_in_slices(keys)
    return DeleteResult(txn.revision, len(prevs), prevs if request.prev_kv else [])


class Put(WritesOnly):
    __slots__ = ("_request",)

    def __init__(self, request: PutRequest) -> None:
        self._request = request

    def check(self, state: State) -> None:
        principal = state.principal() if state.auth.enabled else None
        if state.alarms.raised:
            state.refuse_writes_under_alarm(needs_space=True)
        request = self._request
        if principal is not None:
            principal.must_put(request)
        if request.lease:
            check_lease(state, request)
        check_kept(state, request)

    def apply(self, state: State) -> PutResult:
        key, value, lease, prev = _to_put(state, self._request)
        old_lease = put_alone(state.store, key, value, lease)
        if lease != old_lease:
            state.moved(key, old_lease, lease)
        return state.store.current, prev


class DeleteRange(WritesOnly):
    __slots__ = ("_request",)

    def __init__(self, request: DeleteRangeRequest) -> None:
        self._request = request

    def check(self, state: State) -> None:
        principal = state.principal() if state.auth.enabled else None
        state.refuse_writes_under_alarm(needs_space=False)
        if principal is not None:
            principal.must_delete(self._request)

    def apply(self, state: State) -> DeleteResult | Steps[DeleteResult]:
        return begun(self._steps(state))

    def _steps(self, state: State) -> Steps[DeleteResult]:
        txn = state.store.write_txn()
        result = yield from delete_steps(txn, state, self._request)
        txn.end()
        yield from state.follow_steps(txn.changes)
        return result


class Compact(WritesOnly):
    """Refuse reads below a revision from now on. The rows go later, by `CompactionStep`."""

    __slots__ = ("_revision",)

    def __init__(self, revision: int) -> None:
        self._revision = revision

    def check(self, state: State) -> None:
        principal = state.principal() if state.auth.enabled else None
        if principal is not None:
            principal.must_be_root()
        state.refuse_writes_under_alarm(needs_space=False)
        state.compactor.check(self._revision)

    def apply(self, state: State) -> int:
        """Returns the store's current revision, which compaction does not move."""
        state.compactor.schedule(self._revision)
        return state.store.current


class CompactionStep:
    """Remove some of what is compacted; the result is whether all of it is gone."""

    __slots__ = ("_rows_max",)
    reads_disk = True

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max

    def check(self, state: State) -> None: ...

    def apply(self, state: State) -> bool:
        return state.compactor.step(self._rows_max) if state.compactor.is_sweeping else True


class NoteDefragmented(WritesOnly):
    """The backend has given back what compaction freed. The result is the current revision."""

    __slots__ = ()

    def check(self, state: State) -> None: ...

    def apply(self, state: State) -> int:
        state.store.freed = 0
        state.store.put_meta(META_FREED, 0)
        return state.store.current
