"""Txn: conditions, the branch they choose, all of it or nothing.

The order is etcd's (server/etcdserver/txn/txn.go). All conditions, nested ones too, are
evaluated on the state before the transaction; that fixes which operations run. These are
checked, still on the state before. Only then do they run, in order, each seeing what the ones
before it wrote, all at one revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from etcdpb.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from mvcc.compare import all_hold
from mvcc.errors import KeyNotFoundError
from mvcc.keyrange import KeyRange
from mvcc.long_range import is_long, range_in_slices
from mvcc.plan import Plan
from mvcc.slicing import SLICE_CHANGES, SLICE_COSTLY, SLICE_KEYS
from mvcc.txn import WriteTxn
from mvcc.view import RangeResult, check_txn_range, range_in_txn
from server.commands.base import State, Steps, begun
from server.commands.kv import (
    DeleteResult,
    apply_put,
    check_kept,
    check_lease,
    delete_steps,
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
    """What the conditions chose: the operations to run, each nested transaction a branch too."""

    succeeded: bool
    operations: list[RangeRequest | PutRequest | DeleteRangeRequest | _Branch | None]


class Txn:
    __slots__ = ("_branch", "_needs_space", "_plan", "_request", "reads_disk")

    def __init__(self, plan: Plan, *, needs_space: bool) -> None:
        self._plan = plan
        self._request = plan.request  # By which the log names it.
        self._needs_space = needs_space  # Decided on both branches, as etcd's quota does.
        self._branch: _Branch | None = None
        self.reads_disk = plan.reads_history

    def check(self, state: State) -> None:
        principal = state.principal() if state.auth.enabled else None
        state.refuse_writes_under_alarm(needs_space=self._needs_space)
        if principal is not None:
            principal.must_do(self._plan)
        branch = _choose(state, self._plan)
        _check(state, branch, [])
        self._branch = branch

    def apply(self, state: State) -> TxnResult | Steps[TxnResult]:
        return begun(self._steps(state))

    def _steps(self, state: State) -> Steps[TxnResult]:
        branch = self._branch
        assert branch is not None, "it was checked on the very state that it is applied to"
        tally = state.tally
        before = tally.operations
        txn = state.store.write_txn()
        answers = yield from _run(txn, state, branch)
        txn.end()
        if tally.operations - before > 1:
            tally.txns += 1
        yield from state.follow_steps(txn.changes)
        return TxnResult(txn.revision, branch.succeeded, answers)


def read_only_txn(state: State, plan: Plan) -> TxnResult:
    """Answer a transaction that can change nothing, outside the queue of writes.

    Raises:
        FutureRevisionError, CompactedError, AuthError
    """
    branch = _begin_read_only(state, plan)
    found = [range_in_txn(state.store, each) for each in _ranges(branch)]
    return _read_only_result(state, branch, found)


def is_long_txn(state: State, plan: Plan) -> bool:
    """Whether the ranges of a read-only transaction, together, look at very many keys."""
    store = state.store
    if len(store.index.entries) <= SLICE_COSTLY:
        return False
    ranges = [
        each
        for operations in (plan.success, plan.failure)
        for each in operations
        if isinstance(each, RangeRequest) and each.range_end
    ]
    return any(is_long(store, each) for each in ranges) or (
        sum(each.limit or SLICE_COSTLY for each in ranges) > SLICE_KEYS
    )


def read_only_txn_in_slices(state: State, plan: Plan) -> Steps[TxnResult]:
    """The same for one that is long.

    Raises:
        FutureRevisionError, CompactedError, AuthError
    """
    branch = _begin_read_only(state, plan)
    found, keys = [], 0
    for each in _ranges(branch):
        result = yield from _range_steps(state, each)
        found.append(result)
        keys += len(result.frames)
        if keys > SLICE_KEYS:
            yield
            keys = 0
    return _read_only_result(state, branch, found)


def _ranges(branch: _Branch) -> Iterator[RangeRequest]:
    """The operations of a branch that can change nothing."""
    for operation in branch.operations:
        assert isinstance(operation, RangeRequest)
        yield operation


def _range_steps(state: State, request: RangeRequest) -> Steps[RangeResult]:
    if is_long(state.store, request):
        return (yield from range_in_slices(state.store, request))
    return range_in_txn(state.store, request)


def _begin_read_only(state: State, plan: Plan) -> _Branch:
    if state.auth.enabled:
        principal = state.principal()
        principal.must_do(plan)
        principal.must_be_current()
    branch = _choose(state, plan)
    _check(state, branch, [])
    return branch


def _read_only_result(state: State, branch: _Branch, found: Iterable[RangeResult]) -> TxnResult:
    answers: list[PutAnswer | DeleteResult | RangeAnswer | TxnResult] = [
        RangeAnswer(state.store.current, each) for each in found
    ]
    state.tally.ranges += len(answers)
    if len(answers) > 1:
        state.tally.txns += 1
    return TxnResult(state.store.current, branch.succeeded, answers)


def _choose(state: State, plan: Plan) -> _Branch:
    succeeded = all_hold(state.store, plan.compares)
    return _Branch(succeeded, [
        _choose(state, operation) if isinstance(operation, Plan) else operation
        for operation in (plan.success if succeeded else plan.failure)
    ])  # fmt: skip


def _check(state: State, branch: _Branch, deleted: list[KeyRange]) -> None:
    """Raise the first thing that stands against the operations to be run.

    `deleted` collects what the operations before delete: where the overlap check has its holes,
    a put may follow the delete of its own key, and then there is nothing left of it to keep.
    (etcd notices only half-way through, and ends its process.)
    """
    for operation in branch.operations:
        if isinstance(operation, PutRequest):
            check_kept(state, operation)  # A put of its own is asked for its lease first.
            check_lease(state, operation)
            if (
                deleted
                and (operation.ignore_value or operation.ignore_lease)
                and any(operation.key in keys for keys in deleted)
            ):
                raise KeyNotFoundError(operation.key)
        elif isinstance(operation, RangeRequest):
            check_txn_range(state.store, operation)
        elif isinstance(operation, DeleteRangeRequest):
            deleted.append(KeyRange.from_wire(operation.key, operation.range_end))
        elif isinstance(operation, _Branch):
            _check(state, operation, deleted)


def _run(
    txn: WriteTxn, state: State, branch: _Branch
) -> Steps[list[PutAnswer | DeleteResult | RangeAnswer | TxnResult]]:
    answers: list[PutAnswer | DeleteResult | RangeAnswer | TxnResult] = []
    keys = 0  # Found or deleted since the last step.
    for operation in branch.operations:
        if isinstance(operation, PutRequest):
            prev = apply_put(txn, state, operation)
            answers.append(PutAnswer(txn.revision, prev))
        elif isinstance(operation, RangeRequest):
            result = yield from _range_steps(state, operation)
            state.tally.ranges += 1
            answers.append(RangeAnswer(txn.revision, result))
            keys += len(result.frames)
        elif isinstance(operation, DeleteRangeRequest):
            gone = yield from delete_steps(txn, state, operation)
            answers.append(gone)
            keys += gone.deleted * (SLICE_KEYS // SLICE_CHANGES)
        else:
            assert operation is not None, "refused before it was queued"
            below = yield from _run(txn, state, operation)
            answers.append(TxnResult(txn.revision, operation.succeeded, below))
        if keys > SLICE_KEYS:
            keys = 0
            yield
    return answers
