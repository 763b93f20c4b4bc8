"""What a plan says of a transaction, whoever made the request."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from mvcc.plan import Plan

PUT = RequestOp(request_put=PutRequest(key=b"a"))
GET = RequestOp(request_range=RangeRequest(key=b"b"))
PAST = RequestOp(request_range=RangeRequest(key=b"b", revision=7))
DELETE = RequestOp(request_delete_range=DeleteRangeRequest(key=b"c"))
NOTHING = RequestOp()


def nested(success: list[RequestOp], failure: list[RequestOp]) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(success=success, failure=failure))


def test_operations_are_there_by_type_and_in_order() -> None:
    compare = Compare(key=b"d")
    request = TxnRequest(compare=[compare], success=[GET, NOTHING, PUT], failure=[DELETE])
    plan = Plan(request)
    assert plan.request is request
    assert plan.compares == [compare]
    assert plan.success == [GET.request_range, None, PUT.request_put]
    assert plan.failure == [DELETE.request_delete_range]


def test_a_nested_transaction_is_a_plan_of_its_own() -> None:
    (inner,) = Plan(TxnRequest(success=[nested([PUT], [GET])])).success
    assert isinstance(inner, Plan)
    assert (inner.success, inner.failure) == ([PUT.request_put], [GET.request_range])


@pytest.mark.parametrize(
    ("success", "failure", "is_read_only"),
    [
        ([], [], True),
        ([GET, PAST], [GET], True),
        ([GET], [GET, PUT], False),
        ([GET, DELETE], [], False),
        ([nested([GET], [])], [], False),
        ([NOTHING], [], False),
    ],
)
def test_only_ranges_in_both_branches_are_read_only(
    success: list[RequestOp], failure: list[RequestOp], is_read_only: bool
) -> None:
    assert Plan(TxnRequest(success=success, failure=failure)).is_read_only is is_read_only


@pytest.mark.parametrize(
    ("success", "failure", "reads_history"),
    [
        ([GET, PUT], [DELETE, NOTHING], False),
        ([GET, PAST], [], True),
        ([], [PUT, PAST], True),
        ([PUT], [nested([], [nested([PAST], [])])], True),
        ([nested([GET], [PUT])], [], False),
    ],
)
def test_a_revision_named_anywhere_reads_history(
    success: list[RequestOp], failure: list[RequestOp], reads_history: bool
) -> None:
    assert Plan(TxnRequest(success=success, failure=failure)).reads_history is reads_history
