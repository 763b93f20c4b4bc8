"""Which transactions write a key twice: etcd's TestV3TxnDuplicateKeys, and the holes it has."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from mvcc.overlap import DuplicateKeyError, _merged, check_overlap
from mvcc.plan import operations_of


def put(key: bytes = b"abc") -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key))


def delete(key: bytes = b"abc", range_end: bytes = b"") -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, range_end=range_end))


def get(key: bytes = b"abc") -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key))


def txn(success: list[RequestOp], failure: list[RequestOp] | None = None) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(success=success, failure=failure or []))


REFUSED = {
    "two puts": [put(), put()],
    "put and delete": [put(), delete()],
    "delete and put": [delete(), put()],
    "put and a delete around it": [put(), delete(b"a", b"b")],
    "a delete around it and put": [delete(b"a", b"b"), put()],
    "put at the start of a delete": [put(), delete(b"abc", b"abd")],
    "put and nested delete": [put(), txn([delete()])],
    "nested delete and put": [txn([delete()]), put()],
    "nested delete in the other branch": [put(), txn([], [delete()])],
    "put and nested put": [put(), txn([put()])],
    "put and nested put in the other branch": [txn([], [put()]), put()],
    "delete around a nested put": [delete(b"a", b"b"), txn([put()])],
    "delete after a nested put": [txn([put()]), delete()],
    "delete beside a nested put in the other branch": [txn([], [put()]), delete()],
    "siblings in the same branch": [txn([put()]), txn([put()])],
    "siblings in different branches": [txn([put()]), txn([], [put()])],
    "siblings in both branches": [txn([put()], [put()]), txn([put()], [put()])],
    "a sibling that deletes, then one that puts": [txn([delete()]), txn([put()])],
    "a sibling that deletes else, then one that puts": [txn([], [delete()]), txn([], [put()])],
    "two levels down": [put(), txn([txn([txn([], [put()])])])],
    "within a branch below": [txn([txn([put(), put()])])],
    "the last of many deletes": [delete(b"a"), delete(b"c", b"e"), delete(b"g"), put(b"g")],
    "deletes that were joined": [delete(b"a", b"c"), delete(b"b", b"e"), put(b"d")],
    "deletes joined by a third": [
        delete(b"a", b"b"),
        delete(b"d", b"e"),
        delete(b"b", b"d"),
        put(b"c"),
    ],
    "a delete inside another": [delete(b"a", b"z"), delete(b"c", b"d"), put(b"m")],
}
ALLOWED = {
    "nothing": [],
    "different keys": [put(b"a"), put(b"b"), delete(b"c"), txn([put(b"d")])],
    "a delete outside": [put(), delete(b"abd", b"b")],
    "a delete that ends at the key": [put(), delete(b"a", b"abc")],
    "a delete right behind the key": [put(), delete(b"abc\0", b"b")],
    "deletes of one key": [delete(), delete(), txn([delete()], [delete()])],
    "deletes that overlap": [delete(b"a", b"c"), delete(b"b", b"d"), delete(b"b")],
    "then and else of one transaction": [txn([put()], [put()])],
    "then put, else delete": [txn([put()], [delete()])],
    "nested delete beside one in both branches": [delete(), txn([delete()], [delete()])],
    "delete outside a nested put": [delete(b"b", b"c"), txn([put()])],
    "between two deletes": [delete(b"a", b"b"), delete(b"c", b"d"), put(b"b")],
    "reads of anything": [put(), get(), txn([get()], [get()]), get()],
    # Holes that etcd has, too.
    "a sibling that puts, then one that deletes": [txn([put()]), txn([delete()])],
    "delete of everything from a key on": [delete(b"a", b"\0"), put()],
    "put, then everything from a key on": [put(), delete(b"a", b"\0")],
    "a delete that ends before it begins": [delete(b"b", b"a"), put(b"b"), put(b"a")],
}


@pytest.mark.parametrize("operations", REFUSED.values(), ids=REFUSED)
def test_a_key_written_twice_is_refused(operations: list[RequestOp]) -> None:
    with pytest.raises(DuplicateKeyError) as refusal:
        check_overlap(operations_of(operations))
    key = refusal.value.key
    assert put(key) in _flat(operations), "the error names a key that is put"


@pytest.mark.parametrize("operations", ALLOWED.values(), ids=ALLOWED)
def test_what_writes_no_key_twice_passes(operations: list[RequestOp]) -> None:
    """checkIntervals in server/etcdserver/api/v3rpc/key.go has the holes."""
    check_overlap(operations_of(operations))


def _flat(operations: list[RequestOp]) -> list[RequestOp]:
    flat = []
    for operation in operations:
        flat.append(operation)
        nested = operation.request_txn
        flat.extend(_flat([*nested.success, *nested.failure]))
    return flat


def nest(operations: list[RequestOp], depth: int) -> list[RequestOp]:
    """`operations` `depth` transactions down, each with a delete of its own beside it."""
    for level in range(depth):
        operations = [delete(b"z%d" % level), txn(operations)]
    return operations


@pytest.mark.parametrize("depth", [0, 1, 40])
def test_thousands_of_writes_deep_down_are_held_against_what_stands_above(depth: int) -> None:
    """Each level adds its own to what the one below found, see the next test."""
    many = [put(b"p%05d" % n) for n in range(4096)] + [delete(b"d%05d" % n) for n in range(4096)]
    nested = nest(many, depth)
    check_overlap(operations_of(nested))
    for last in (put(b"p04095"), delete(b"p04095"), put(b"d00000")):
        with pytest.raises(DuplicateKeyError):
            check_overlap(operations_of([*nested, last]))


def test_a_union_grows_from_its_larger_part() -> None:
    """So what is found deep down is not copied on every level: 4 s, for 20,000 writes."""
    small, large = {b"a"}, {b"b", b"c"}
    assert _merged(small, large) is large
    assert large == {b"a", b"b", b"c"}
    assert _merged(large, small) is large
