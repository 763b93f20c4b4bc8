"""grpc-python: transactions."""

from typing import Any

import grpc
import pytest

from compat.grpc_python import Client, refused, rpc


def value_is(key: str, value: bytes) -> rpc.Compare:
    return rpc.Compare(
        key=key.encode(), target=rpc.Compare.VALUE, result=rpc.Compare.EQUAL, value=value
    )


def put(key: str, value: bytes, lease: int = 0) -> rpc.RequestOp:
    request = rpc.PutRequest(key=key.encode(), value=value, lease=lease)
    return rpc.RequestOp(request_put=request)


def get(key: str) -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key.encode()))


def delete(key: str) -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key.encode()))


def txn(client: Client, **fields: Any) -> rpc.TxnResponse:
    response: rpc.TxnResponse = client.KV.Txn(rpc.TxnRequest(**fields))
    return response


def test_the_compare_decides_between_the_branches(client: Client, prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    before = client.put(a, "1").header.revision
    then, other = [put(b, b"yes"), get(a)], [put(b, b"no"), delete(a)]
    first = txn(client, compare=[value_is(a, b"1")], success=then, failure=other)
    assert (first.succeeded, first.header.revision) == (True, before + 1)
    assert [each.WhichOneof("response") for each in first.responses] == [
        "response_put",
        "response_range",
    ]
    assert first.responses[1].response_range.kvs[0].value == b"1"
    second = txn(client, compare=[value_is(a, b"2")], success=then, failure=other)
    assert (second.succeeded, second.header.revision) == (False, before + 2)
    assert second.responses[1].response_delete_range.deleted == 1
    assert client.get(b).kvs[0].value == b"no"


def test_reading_alone_takes_no_revision(client: Client, prefix: str) -> None:
    before = client.put(f"{prefix}a", "1").header.revision
    response = txn(client, success=[get(f"{prefix}a"), delete(f"{prefix}none")])
    assert response.header.revision == before


def test_one_within_another_sees_what_was_done_before_it(client: Client, prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    inner = rpc.TxnRequest(compare=[value_is(a, b"1")], success=[put(b, b"inner"), get(a)])
    nested = rpc.RequestOp(request_txn=inner)
    response = txn(client, success=[put(a, b"1"), nested, get(b)])
    assert response.succeeded
    # All compares are decided before anything is changed.
    assert not response.responses[1].response_txn.succeeded
    assert response.responses[2].response_range.count == 0


@pytest.mark.parametrize(
    ("operations", "code", "text"),
    [
        (
            [put("twice", b"1"), put("twice", b"2")],
            grpc.StatusCode.INVALID_ARGUMENT,
            "etcdserver: duplicate key given in txn request",
        ),
        (
            [put(f"many-{number}", b"") for number in range(129)],
            grpc.StatusCode.INVALID_ARGUMENT,
            "etcdserver: too many operations in txn request",
        ),
        (
            [put("kept", b"x"), put("leased", b"x", lease=4712)],
            grpc.StatusCode.NOT_FOUND,
            "etcdserver: requested lease not found",
        ),
    ],
    ids=["a key put twice", "129 operations", "a lease that is not there"],
)
def test_what_is_refused_changes_nothing(
    client: Client, operations: list[rpc.RequestOp], code: grpc.StatusCode, text: str
) -> None:
    before = client.get("x").header.revision
    with pytest.raises(grpc.RpcError) as error:
        txn(client, success=operations)
    assert refused(error) == (code, text)
    assert client.get("x").header.revision == before
