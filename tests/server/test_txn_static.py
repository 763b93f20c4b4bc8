"""What is said of a transaction before it runs: operations, keys, overlaps, in etcd's order."""

from __future__ import annotations

from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import refusal
from tests.support.ops import delete, get, nested, put, txn
from tests.support.serving import Running, served

ALL: Final = b"\0"
BAD_KEY: Final = pb.Compare(target=pb.Compare.VERSION)


def two_sided(success: pb.RequestOp, failure: pb.RequestOp) -> pb.RequestOp:
    return nested([success], failure=[failure])


def many(operation: pb.RequestOp, count: int) -> list[pb.RequestOp]:
    return [operation] * count


def compares(count: int) -> list[pb.Compare]:
    return [pb.Compare(key=b"a")] * count


# --- how many operations ---


@pytest.mark.parametrize(
    "request_",
    [
        txn(many(get(b"a"), 128), failure=many(get(b"a"), 128), compare=compares(128)),
        txn([*many(get(b"a"), 99), nested(many(get(b"a"), 28))]),
        txn([*many(get(b"a"), 98), nested(many(get(b"a"), 28)), nested([], compare=compares(28))]),
        txn([*many(get(b"a"), 127), nested([])]),
        txn([nested(many(get(b"a"), 126), failure=[nested([get(b"a")])])]),
    ],
)
@served()
async def test_128_operations_in_a_list_are_allowed_and_a_child_has_what_its_parent_left(
    server: Running, request_: pb.TxnRequest
) -> None:
    """checkTxnRequest in server/etcdserver/api/v3rpc/key.go, up to --max-txn-ops."""
    await server.client.kv.Txn(request_)


@pytest.mark.parametrize(
    "request_",
    [
        txn(many(get(b"a"), 129)),
        txn([], failure=many(get(b"a"), 129)),
        txn([], compare=compares(129)),
        txn([*many(get(b"a"), 99), nested(many(get(b"a"), 29))]),
        txn([*many(get(b"a"), 127), nested([get(b"a")])]),
        txn([nested(many(get(b"a"), 128))]),
        txn([nested([], failure=[nested(many(get(b"a"), 127))])]),
        txn([nested([], compare=compares(128))]),
    ],
)
@served()
async def test_more_operations_are_refused(server: Running, request_: pb.TxnRequest) -> None:
    """TestV3TxnTooManyOps."""
    assert await refusal(server.client.kv.Txn(request_)) == status.TOO_MANY_OPS


@served(max_txn_ops=2)
async def test_the_limit_is_a_setting(server: Running) -> None:
    await server.client.kv.Txn(txn([get(b"a"), get(b"a")]))
    refused = await refusal(server.client.kv.Txn(txn(many(get(b"a"), 3))))
    assert refused == status.TOO_MANY_OPS


# --- what is refused in an operation ---


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (get(b""), status.KEY_NOT_PROVIDED),
        (put(b""), status.KEY_NOT_PROVIDED),
        (delete(b"", ALL), status.KEY_NOT_PROVIDED),
        (put(b"a", b"v", ignore_value=True), status.VALUE_PROVIDED),
        (put(b"a", lease=1, ignore_lease=True), status.LEASE_PROVIDED),
        (pb.RequestOp(), status.KEY_NOT_FOUND),
        (nested([], compare=[BAD_KEY]), status.KEY_NOT_PROVIDED),
        (nested([nested([put(b"")])]), status.KEY_NOT_PROVIDED),
        (two_sided(get(b"a"), pb.RequestOp()), status.KEY_NOT_FOUND),
    ],
)
@served()
async def test_an_operation_is_checked_in_whichever_branch_it_stands(
    server: Running, operation: pb.RequestOp, expected: status.Status
) -> None:
    for request in (txn([operation]), txn([put(b"x")], failure=[operation])):
        assert await refusal(server.client.kv.Txn(request)) == expected
    assert await server.client.revision() == 1


@served()
async def test_a_condition_without_a_key_is_refused(server: Running) -> None:
    refused = await refusal(server.client.kv.Txn(txn([], compare=[BAD_KEY])))
    assert refused == status.KEY_NOT_PROVIDED


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        # This level's number of operations, then its conditions' keys,
        (txn(many(put(b""), 129), compare=[BAD_KEY]), status.TOO_MANY_OPS),
        (txn([put(b"a", b"v", ignore_value=True)], compare=[BAD_KEY]), status.KEY_NOT_PROVIDED),
        # then the operations in order, success before failure, each with what is below it,
        (txn([pb.RequestOp()], failure=[put(b"")]), status.KEY_NOT_FOUND),
        (txn([pb.RequestOp(), put(b"")]), status.KEY_NOT_FOUND),
        (txn([nested(many(put(b"a"), 128)), put(b"")]), status.TOO_MANY_OPS),
        # and overlaps last of all.
        (txn([put(b"a"), put(b"a")], failure=[put(b"")]), status.KEY_NOT_PROVIDED),
        (txn([put(b"a"), put(b"a"), put(b"b", lease=9)]), status.DUPLICATE_KEY),
        (txn([put(b"a"), get(b"a", revision=9), put(b"a")]), status.DUPLICATE_KEY),
    ],
)
@served()
async def test_of_several_things_wrong_the_first_in_etcds_order_is_told(
    server: Running, request_: pb.TxnRequest, expected: status.Status
) -> None:
    """checkTxnRequest, checkIntervals and then the apply."""
    assert await refusal(server.client.kv.Txn(request_)) == expected


# --- overlaps ---


@pytest.mark.parametrize(
    "operations",
    [
        [put(b"a"), put(b"a")],
        [put(b"a"), delete(b"a")],
        [delete(b"a"), put(b"a")],
        [put(b"b"), delete(b"a", b"c")],
        [delete(b"a", b"c"), put(b"b")],
        [put(b"a"), nested([delete(b"a")])],
        [nested([delete(b"a")]), put(b"a")],
        [put(b"a"), nested([put(b"a")])],
        [nested([put(b"a")]), put(b"a")],
        [delete(b"a", b"c"), nested([put(b"b")])],
        [nested([put(b"b")]), delete(b"a", b"c")],
        [nested([put(b"a")]), nested([put(b"a")])],
        [nested([delete(b"a")]), nested([put(b"a")])],
        [nested([put(b"a")]), nested([], failure=[put(b"a")])],
        [two_sided(put(b"a"), put(b"a")), two_sided(put(b"a"), put(b"a"))],
        [put(b"a"), nested([nested([], failure=[put(b"a")])])],
        [nested([put(b"a"), put(b"a")])],
    ],
)
@pytest.mark.parametrize("succeeds", [True, False])
@served()
async def test_a_key_may_not_be_written_twice_in_either_branch(
    server: Running, operations: list[pb.RequestOp], succeeds: bool
) -> None:
    """TestV3TxnDuplicateKeys; whichever branch would run."""
    request = txn(operations) if succeeds else txn([], failure=operations)
    assert await refusal(server.client.kv.Txn(request)) == status.DUPLICATE_KEY
    assert await server.client.revision() == 1


@pytest.mark.parametrize(
    "request_",
    [
        txn([put(b"a")], failure=[put(b"a")]),
        txn([put(b"a"), delete(b"b", b"c")]),
        txn([put(b"c"), delete(b"a", b"c")]),
        txn([delete(b"a"), delete(b"a", b"c"), nested([delete(b"b")])]),
        txn([delete(b"a"), two_sided(delete(b"a"), delete(b"a"))]),
        txn([delete(b"a", b"b"), nested([put(b"c")])]),
        txn([two_sided(put(b"a"), delete(b"a"))]),
        txn([two_sided(put(b"a"), put(b"a"))]),
        txn([put(b"a"), get(b"a"), get(ALL, ALL), nested([get(b"a")])]),
        # Holes that etcd's check has.
        txn([nested([put(b"a")]), nested([delete(b"a")])]),
        txn([delete(b"a", ALL), put(b"b")]),
        txn([delete(b"c", b"a"), put(b"b")]),
    ],
)
@served()
async def test_what_cannot_or_may_meet_is_allowed(server: Running, request_: pb.TxnRequest) -> None:
    """TestV3TxnDuplicateKeys, and the oddities of checkIntervals."""
    await server.client.kv.Txn(request_)


@served()
async def test_a_put_may_follow_a_delete_of_everything_and_makes_the_key_anew(
    server: Running,
) -> None:
    await server.client.put(b"b", b"old")
    await server.client.kv.Txn(txn([delete(b"a", ALL), put(b"b", b"new")]))
    (kv,) = (await server.client.get(b"b")).kvs
    assert (kv.value, kv.version, kv.create_revision, kv.mod_revision) == (b"new", 1, 3, 3)
