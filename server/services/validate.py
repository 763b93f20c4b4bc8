"""What can be said of a request by itself, before any state is looked at.

The checks and their order are etcd's (server/etcdserver/api/v3rpc/key.go): which error wins
where there are several is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from etcdpb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
)
from mvcc.overlap import check_overlap
from mvcc.plan import Operation, Plan
from mvcc.record import varint
from server import status
from server.status import RpcError

# etcd's limit is on the raft entry that wraps the request: a header with the request's id, and
# the tag of the request's own field. Measured: at a limit of 10,000 bytes a put with a 1-byte
# key takes a value of 9,978.
_ENTRY_BYTES: Final = 14
_WRAPPING_BYTES_MAX: Final = _ENTRY_BYTES + 5  # With the longest there is of a request's length.
_SORT_ORDERS: Final = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS: Final = frozenset(RangeRequest.SortTarget.values())

PUT_COST_BYTES: Final = (
    256  # etcd's allowance for a put's own overhead (server/etcdserver/quota.go).
)
LEASE_COST_BYTES: Final = 64


def check_size(size: int, limit: int) -> None:
    """Refuse a write of `size` bytes whose raft entry would be above `limit` bytes."""
    if size + _WRAPPING_BYTES_MAX <= limit:
        return
    if size + len(varint(size)) + _ENTRY_BYTES > limit:
        raise RpcError(status.REQUEST_TOO_LARGE)


def plain_bytes_max(limit: int) -> int:
    """Up to how many bytes a write need not ask `check_size`."""
    return limit - _WRAPPING_BYTES_MAX


def check_range(request: RangeRequest) -> None:
    if not request.key:
        raise RpcError(status.KEY_NOT_PROVIDED)
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise RpcError(status.INVALID_SORT_OPTION)


def check_put(request: PutRequest) -> None:
    if not request.key:
        raise RpcError(status.KEY_NOT_PROVIDED)
    if request.ignore_value and request.value:
        raise RpcError(status.VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise RpcError(status.LEASE_PROVIDED)


def check_delete(request: DeleteRangeRequest) -> None:
    if not request.key:
        raise RpcError(status.KEY_NOT_PROVIDED)


def check_txn(plan: Plan, max_txn_ops: int) -> None:
    """Both branches, nested ones too: number of operations, each of them, then overlaps.

    Raises:
        RpcError
        DuplicateKeyError: a key would be written twice.
    """
    _check_operations(plan, max_txn_ops)
    check_overlap(plan.success)
    check_overlap(plan.failure)


def _check_operations(plan: Plan, allowed: int) -> None:
    """A nested transaction may have as many operations as its parent left over."""
    count = max(len(plan.compares), len(plan.success), len(plan.failure))
    if count > allowed:
        raise RpcError(status.TOO_MANY_OPS)
    for compare in plan.compares:
        if not compare.key:
            raise RpcError(status.KEY_NOT_PROVIDED)
    for operations in (plan.success, plan.failure):
        for operation in operations:
            _check_operation(operation, allowed - count)


def _check_operation(operation: Operation, allowed: int) -> None:
    if isinstance(operation, RangeRequest):
        check_range(operation)
    elif isinstance(operation, PutRequest):
        check_put(operation)
    elif isinstance(operation, DeleteRangeRequest):
        check_delete(operation)
    elif isinstance(operation, Plan):
        _check_operations(operation, allowed)
    else:
        raise RpcError(status.KEY_NOT_FOUND)  # So etcd says of an operation that is none.


def put_cost(request: PutRequest) -> int:
    """Bytes that etcd's quota counts for a put."""
    return PUT_COST_BYTES + len(request.key) + len(request.value)


def txn_cost(plan: Plan) -> int:
    """The dearer branch counts; nested ones count within theirs."""
    return max(_cost(plan.success), _cost(plan.failure))


def _cost(operations: Iterable[Operation]) -> int:
    cost = 0
    for operation in operations:
        if isinstance(operation, PutRequest):
            cost += put_cost(operation)
        elif isinstance(operation, Plan):
            cost += txn_cost(operation)
    return cost
