"""Txn: conditions, the branch they choose, all of it or nothing.

The order is etcd's (server/etcdserver/txn/txn.go). All conditions, nested ones too, are
evaluated on the state before the transaction; that fixes which operations run. These are
checked, still on the state before. Only then do they run, in order, each seeing what the ones
before it wrote, all at one revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etcdpb.rpc_pb2 import RangeRequest, RequestOp, TxnRequest
from mvcc.compare import all_hold
from mvcc.errors import KeyNotFoundError
from mvcc.keyrange import KeyRange
from mvcc.long_range import is_long, range_in_slices
from mvcc.slicing import SLICE_CHANGES, SLICE_COSTLY, SLICE_KEYS
from mvcc.txn import WriteTxn
from mvcc.view import RangeResult, check_txn_range, range_in_txn
from server.commands.base import State, Steps, begun
from server.commands.kv import (
    DeleteResult,
    PutResult,
    apply_put,
    check_kept,
    check_lease,
    delete_steps,
)


class RangeAnswer(NamedTuple):
    revision: int
    result: RangeResult


class TxnResult(NamedTuple):
    revision: int
    succeeded: bool
    answers: list[PutResult | DeleteResult | RangeAnswer | TxnResult]


class _Branch(NamedTuple):
    """What the conditions chose: the operations to run, and the same of each nested one."""

    succeeded: bool
    operations: Sequence[RequestOp]
    nested: list[_Branch]


class Txn:
    __slots__ = ("_needs_space", "_request", "reads_disk")

    def __init__(self, request: TxnRequest, *, needs_space: bool) -> None:
        self._request = request
        self._needs_space = needs_space  # Decided on both branches, as etcd's quota does.
        self.reads_disk = _reads_history(request)

    def check(self, state: State) -> None:
        principal = state.principal() if state.auth.enabled else None
        state.refuse_writes_under_alarm(needs_space=self._needs_space)
        if principal is not None:
            principal.must_do(self._request)
        _check(state, _choose(state, self._request), [])

    def apply(self, state: State) -> TxnResult | Steps[TxnResult]:
        return begun(self._steps(state))

    def _steps(self, state: State) -> Steps[TxnResult]:
        branch = _choose(state, self._request)
        tally = state.tally
        before = tally.operations
        txn = state.store.write_txn()
        answers = yield from _run(txn, state, branch)
        txn.end()
        if tally.operations - before > 1:
            tally.txns += 1
        yield from state.follow_steps(txn.changes)
        return TxnResult(txn.revision, branch.succeeded, answers)


def read_only_txn(state: State, request: TxnRequest) -> TxnResult:
    """Answer a transaction that can change nothing, outside the queue of writes.

    Raises:
        FutureRevisionError, CompactedError, AuthError
    """
    branch = _begin_read_only(state, request)
    found = [range_in_txn(state.store, each.request_range) for each in branch.operations]
    return _read_only_result(state, branch, found)


def is_long_txn(state: State, request: TxnRequest) -> bool:
    """Whether the ranges of a read-only transaction, together, look at very many keys."""
    store = state.store
    if len(store.index.entries) <= SLICE_COSTLY:
        return False
    ranges = [
        each.request_range
        for operations in (request.success, request.failure)
        for each in operations
        if each.request_range.range_end
    ]
    return any(is_long(store, each) for each in ranges) or (
        sum(each.limit or SLICE_COSTLY for each in ranges) > SLICE_KEYS
    )


def read_only_txn_in_slices(state: State, request: TxnRequest) -> Steps[TxnResult]:
    """The same for one that is long.

    Raises:
        FutureRevisionError, CompactedError, AuthError
    """
    branch = _begin_read_only(state, request)
    found, keys = [], 0
    for each in branch.operations:
        result = yield from _range_steps(state, each.request_range)
        found.append(result)
        keys += len(result.frames)
        if keys > SLICE_KEYS:
            yield
            keys = 0
    return _read_only_result(state, branch, found)


def _range_steps(state: State, request: RangeRequest) -> Steps[RangeResult]:
    if is_long(state.store, request):
        return (yield from range_in_slices(state.store, request))
    return range_in_txn(state.store, request)


def _begin_read_only(state: State, request: TxnRequest) -> _Branch:
    if state.auth.enabled:
        principal = state.principal()
        principal.must_do(request)
        principal.must_be_current()
    branch = _choose(state, request)
    _check(state, branch, [])
    return branch


def _read_only_result(state: State, branch: _Branch, found: Iterable[RangeResult]) -> TxnResult:
    answers: list[PutResult | DeleteResult | RangeAnswer | TxnResult] = [
        RangeAnswer(state.store.current, each) for each in found
    ]
    state.tally.ranges += len(answers)
    if len(answers) > 1:
        state.tally.txns += 1
    return TxnResult(state.store.current, branch.succeeded, answers)


def is_read_only(request: TxnRequest) -> bool:
    """Whether all operations of both branches are ranges; a nested transaction is none."""
    return all(
        operation.HasField("request_range")
        for operations in (request.success, request.failure)
        for operation in operations
    )


def _reads_history(request: TxnRequest) -> bool:
    """Whether a Range somewhere in it names a revision, and so may read older rows."""
    for operations in (request.success, request.failure):
        for operation in operations:
            if operation.HasField("request_range"):
                if operation.request_range.revision:
                    return True
            elif operation.HasField("request_txn") and _reads_history(operation.request_txn):
                return True
    return False


def _choose(state: State, request: TxnRequest) -> _Branch:
    succeeded = all_hold(state.store, request.compare)
    operations = request.success if succeeded else request.failure
    nested = [
        _choose(state, operation.request_txn)
        for operation in operations
        if operation.HasField("request_txn")
    ]
    return _Branch(succeeded, operations, nested)


def _check(state: State, branch: _Branch, deleted: list[KeyRange]) -> None:
    """Raise the first thing that stands against the operations to be run.

    `deleted` collects what the operations before delete: where the overlap check has its holes,
    a put may follow the delete of its own key, and then there is nothing left of it to keep.
    (etcd notices only half-way through, and ends its process.)
    """
    nested = iter(branch.nested)
    for operation in branch.operations:
        if operation.HasField("request_put"):
            request = operation.request_put
            check_kept(state, request)  # A put of its own is asked for its lease first.
            check_lease(state, request)
            keeps = request.ignore_value or request.ignore_lease
            if keeps and any(request.key in keys for keys in deleted):
                raise KeyNotFoundError(request.key)
        elif operation.HasField("request_delete_range"):
            doomed = operation.request_delete_range
            deleted.append(KeyRange.from_wire(doomed.key, doomed.range_end))
        elif operation.HasField("request_range"):
            check_txn_range(state.store, operation.request_range)
        elif operation.HasField("request_txn"):
            _check(state, next(nested), deleted)


def _run(
    txn: WriteTxn, state: State, branch: _Branch
) -> Steps[list[PutResult | DeleteResult | RangeAnswer | TxnResult]]:
    answers: list[PutResult | DeleteResult | RangeAnswer | TxnResult] = []
    keys = 0  # Found or deleted since the last step.
    nested = iter(branch.nested)
    for operation in branch.operations:
        if operation.HasField("request_put"):
            prev = apply_put(txn, state, operation.request_put)
            answers.append(PutResult(txn.revision, prev))
        elif operation.HasField("request_range"):
            result = yield from _range_steps(state, operation.request_range)
            state.tally.ranges += 1
            answers.append(RangeAnswer(txn.revision, result))
            keys += len(result.frames)
        elif operation.HasField("request_delete_range"):
            gone = yield from delete_steps(txn, state, operation.request_delete_range)
            answers.append(gone)
            keys += gone.deleted * (SLICE_KEYS // SLICE_CHANGES)
        else:
            inner = next(nested)
            below = yield from _run(txn, state, inner)
            answers.append(TxnResult(txn.revision, inner.succeeded, below))
        if keys > SLICE_KEYS:
            keys = 0
            yield
    return answers
