"""What etcd says of a request by itself, or of a plain dict of keys: rules without state.

Part of `tests.model`. Sources: etcd's server/etcdserver/api/v3rpc/key.go (checks, in their
order), server/etcdserver/txn (ranges and compares).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from etcdpb.kv_pb2 import KeyValue
from etcdpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
)

INVALID, NOT_FOUND, PRECONDITION, OUT_OF_RANGE = 3, 5, 9, 11  # gRPC's numbers.


class Refused(Exception):  # noqa: N818  # a model refuses; nothing has gone wrong
    """The status that a client reads."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, f"etcdserver: {text}")
        self.code = code
        self.message = f"etcdserver: {text}"


NO_KEY: Final = (INVALID, "key is not provided")
KEY_NOT_FOUND: Final = (INVALID, "key not found")
LEASE_NOT_FOUND: Final = (NOT_FOUND, "requested lease not found")
COMPACTED: Final = (OUT_OF_RANGE, "mvcc: required revision has been compacted")
FUTURE: Final = (OUT_OF_RANGE, "mvcc: required revision is a future revision")

Keys = dict[bytes, KeyValue]


def within(key: bytes, range_end: bytes, keys: Iterable[bytes]) -> list[bytes]:
    """Those of `keys` that (key, range_end) means, in byte order."""
    if not range_end:
        return [each for each in keys if each == key]
    return sorted(each for each in keys if each >= key and (range_end == b"\0" or each < range_end))


def select(request: RangeRequest, keys: Keys) -> RangeResponse:
    found = [keys[key] for key in within(request.key, request.range_end, keys)]
    response = RangeResponse(count=len(found))
    if request.count_only:
        return response
    order, target, limit = request.sort_order, request.sort_target, max(0, request.limit)
    bounds = (
        (request.min_mod_revision, request.max_mod_revision, "mod_revision"),
        (request.min_create_revision, request.max_create_revision, "create_revision"),
    )
    is_filtered = any(low or high for low, high, _ in bounds)
    if limit and order == RangeRequest.NONE and not is_filtered:
        found = found[: limit + 1]  # etcd's quirk: cut before it is sorted.
    for low, high, name in bounds:
        if low:
            found = [kv for kv in found if getattr(kv, name) >= low]
        if high:
            found = [kv for kv in found if getattr(kv, name) <= high]
    names = ("key", "version", "create_revision", "mod_revision", "value")
    found.sort(key=lambda kv: getattr(kv, names[target]), reverse=order == RangeRequest.DESCEND)
    if limit and len(found) > limit:
        response.more = True
        found = found[:limit]
    response.kvs.extend(found)
    if request.keys_only:
        for kv in response.kvs:
            kv.value = b""
    return response


def holds(compare: Compare, keys: Keys) -> bool:
    found = [keys[key] for key in within(compare.key, compare.range_end, keys)]
    if not found:
        if compare.target == Compare.VALUE:
            return False
        found = [KeyValue()]
    names = ("version", "create_revision", "mod_revision", "value", "lease")
    name = names[compare.target]
    wanted = getattr(compare, name)
    for kv in found:
        has = getattr(kv, name)
        results = (has == wanted, has > wanted, has < wanted, has != wanted)
        if not results[compare.result]:
            return False
    return True


def check_range(request: RangeRequest) -> None:
    if not request.key:
        raise Refused(*NO_KEY)
    if not (0 <= request.sort_order <= 2 and 0 <= request.sort_target <= 4):
        raise Refused(INVALID, "invalid sort option")


def check_put(request: PutRequest) -> None:
    if not request.key:
        raise Refused(*NO_KEY)
    if request.ignore_value and request.value:
        raise Refused(INVALID, "value is provided")
    if request.ignore_lease and request.lease:
        raise Refused(INVALID, "lease is provided")


def check_delete(request: DeleteRangeRequest) -> None:
    if not request.key:
        raise Refused(*NO_KEY)


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "request_range": check_range,
    "request_put": check_put,
    "request_delete_range": check_delete,
}


def check_txn(request: TxnRequest, allowed: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > allowed:
        raise Refused(INVALID, "too many operations in txn request")
    if any(not compare.key for compare in request.compare):
        raise Refused(*NO_KEY)
    for operation in (*request.success, *request.failure):
        member = operation.WhichOneof("request")
        if member is None:
            raise Refused(*KEY_NOT_FOUND)
        if member == "request_txn":
            check_txn(operation.request_txn, allowed - count)
        else:
            _CHECKS[member](getattr(operation, member))


def written(operations: Iterable[RequestOp]) -> tuple[set[bytes], list[tuple[bytes, bytes]]]:
    """The keys put and the intervals deleted in one branch, below included; refuses overlaps."""
    operations = list(operations)
    puts: set[bytes] = set()
    deletes = [
        (each.request_delete_range.key, each.request_delete_range.range_end)
        for each in operations
        if each.HasField("request_delete_range")
    ]

    def add(keys: set[bytes]) -> None:
        for key in keys:
            # An end of "\0" is below every key here: etcd's check takes it for no range at all.
            if key in puts or any(
                key == start if not end else start <= key < end for start, end in deletes
            ):
                raise Refused(INVALID, "duplicate key given in txn request")

    for operation in operations:
        if operation.HasField("request_txn"):
            then_puts, then_deletes = written(operation.request_txn.success)
            else_puts, else_deletes = written(operation.request_txn.failure)
            add(then_puts)
            add(else_puts)
            puts |= then_puts | else_puts
            deletes = deletes + then_deletes + else_deletes
    for operation in operations:
        if operation.HasField("request_put"):
            add({operation.request_put.key})
            puts.add(operation.request_put.key)
    return puts, deletes
