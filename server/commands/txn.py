"""Txn: conditions, the branch they choose, all of it or nothing.

The order is etcd's (server/etcdserver/txn/txn.go). All conditions, nested ones too, are
evaluated on the state before the transaction; that fixes which operations run. These are
checked, still on the state before. Only then do they run, in order, each seeing what the ones
before it wrote, all at one revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from etcdpb.rpc_pb2 import RequestOp, TxnRequest
from mvcc.compare import all_hold
from mvcc.errors import KeyNotFoundError
from mvcc.keyrange import KeyRange
from mvcc.txn import WriteTxn
from mvcc.view import RangeResult, check_txn_range, range_in_txn
from server.commands.base import State
from server.commands.kv import (
    DeleteResult,
    apply_delete,
    apply_put,
    check_kept,
    check_lease,
)


class PutAnswer(NamedTuple):
    revision: int
    prev: bytes | None  # Frame of the version before, if it was asked for and existed.


class RangeAnswer(NamedTuple):
    revision: int
    result: RangeResult


class TxnResult(NamedTuple):
    revision: int
    succeeded: bool
    answers: list[PutAnswer | DeleteResult | RangeAnswer | TxnResult]


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

    def apply(self, state: State) -> TxnResult:
        branch = _choose(state, self._request)
        tally = state.tally
        before = tally.operations
        txn = state.store.write_txn()
        answers = _run(txn, state, branch)
        txn.end()
        if tally.operations - before > 1:
            tally.txns += 1
        state.follow(txn.changes)
        return TxnResult(txn.revision, branch.succeeded, answers)


def read_only_txn(state: State, request: TxnRequest) -> TxnResult:
    """Answer a transaction that can change nothing, outside the queue of writes.

    Raises:
        FutureRevisionError, CompactedError, AuthError
    """
    if state.auth.enabled:
        principal = state.principal()
        principal.must_do(request)
        principal.must_be_current()
    branch = _choose(state, request)
    _check(state, branch, [])
    answers: list[PutAnswer | DeleteResult | RangeAnswer | TxnResult] = [
        RangeAnswer(state.store.current, range_in_txn(state.store, operation.request_range))
        for operation in branch.operations
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
) -> list[PutAnswer | DeleteResult | RangeAnswer | TxnResult]:
    answers: list[PutAnswer | DeleteResult | RangeAnswer | TxnResult] = []
    nested = iter(branch.nested)
    for operation in branch.operations:
        if operation.HasField("request_put"):
            prev = apply_put(txn, state, operation.request_put)
            answers.append(PutAnswer(txn.revision, prev))
        elif operation.HasField("request_range"):
            result = range_in_txn(state.store, operation.request_range)
            state.tally.ranges += 1
            answers.append(RangeAnswer(txn.revision, result))
        elif operation.HasField("request_delete_range"):
            answers.append(apply_delete(txn, state, operation.request_delete_range))
        else:
            inner = next(nested)
            below = _run(txn, state, inner)
            answers.append(TxnResult(txn.revision, inner.succeeded, below))
    return answers
