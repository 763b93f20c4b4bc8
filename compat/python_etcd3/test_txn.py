"""python-etcd3: transactions, and the two conveniences built on them."""

import grpc
import pytest

from compat.python_etcd3 import etcd3, refused


def test_put_if_not_exists_puts_once(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}key"
    assert client.put_if_not_exists(key, "first") is True
    assert client.put_if_not_exists(key, "second") is False
    assert client.get(key)[0] == b"first"
    client.delete(key)
    assert client.put_if_not_exists(key, "third") is True


def test_replace_replaces_what_is_as_expected(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}key"
    assert client.replace(key, "one", "two") is False
    client.put(key, "one")
    assert client.replace(key, "one", "two") is True
    assert client.replace(key, "one", "three") is False
    assert client.get(key)[0] == b"two"


def test_the_compares_decide_between_the_branches(client: etcd3.Etcd3Client, prefix: str) -> None:
    key, txn = f"{prefix}key", client.transactions
    revision = client.put(key, "value").header.revision
    for compare, holds in (
        (txn.value(key) == "value", True),
        (txn.value(key) != "value", False),
        (txn.value(key) > "valu", True),
        (txn.value(key) < "valu", False),
        (txn.version(key) == 1, True),
        (txn.version(key) > 1, False),
        (txn.create(key) == revision, True),
        (txn.create(key) < revision, False),
        (txn.mod(key) == revision, True),
        (txn.mod(key) != revision, False),
        (txn.version(f"{prefix}absent") == 0, True),
        (txn.value(f"{prefix}absent") != "x", False),
    ):
        succeeded, responses = client.transaction(
            compare=[compare],
            success=[txn.get(key)],
            failure=[txn.get(key), txn.get(f"{prefix}absent")],
        )
        assert succeeded is holds, compare
        assert len(responses) == (1 if holds else 2)
        assert responses[0][0][0] == b"value"


def test_operations_run_in_order_in_one_revision(client: etcd3.Etcd3Client, prefix: str) -> None:
    txn = client.transactions
    before = client.put(f"{prefix}old", "old").header.revision
    succeeded, responses = client.transaction(
        compare=[],
        success=[
            txn.get(f"{prefix}new"),
            txn.put(f"{prefix}new", "1"),
            txn.get(f"{prefix}new"),
            txn.delete(f"{prefix}old", prev_kv=True),
            txn.get(f"{prefix}old"),
        ],
        failure=[],
    )
    assert succeeded is True
    absent, put, present, deleted, gone = responses
    assert (absent, gone) == ([], [])
    assert put.response_put.header.revision == before + 1
    assert present[0][0] == b"1"
    assert present[0][1].mod_revision == before + 1
    assert deleted.response_delete_range.deleted == 1
    assert deleted.response_delete_range.prev_kvs[0].value == b"old"


def test_a_transaction_within_a_transaction_compares_what_was_there_before(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    key, txn = f"{prefix}key", client.transactions
    nested = txn.txn(
        compare=[txn.version(key) == 0],
        success=[txn.get(key), txn.put(f"{prefix}then", "")],
        failure=[txn.put(f"{prefix}else", "")],
    )
    succeeded, responses = client.transaction(
        compare=[], success=[txn.put(key, "value"), nested], failure=[]
    )
    assert succeeded is True
    inner = responses[1].response_txn
    assert inner.succeeded is True  # Although the key is there by now,
    assert inner.responses[0].response_range.kvs[0].value == b"value"  # as the operations see.
    assert client.get(f"{prefix}then")[0] == b""


def test_leases_attach_in_the_branch_taken_only(client: etcd3.Etcd3Client, prefix: str) -> None:
    txn = client.transactions
    lease = client.lease(600)
    client.transaction(
        compare=[txn.version(f"{prefix}a") == 0],
        success=[txn.put(f"{prefix}a", "1", lease=lease)],
        failure=[txn.put(f"{prefix}b", "1", lease=4711)],
    )
    assert list(lease.keys) == [f"{prefix}a".encode()]
    with pytest.raises(grpc.RpcError) as error:
        client.transaction(
            compare=[txn.version(f"{prefix}a") == 0],
            success=[],
            failure=[txn.put(f"{prefix}c", "1"), txn.put(f"{prefix}b", "1", lease=4711)],
        )
    assert refused(error) == (
        grpc.StatusCode.NOT_FOUND,
        "etcdserver: requested lease not found",
    )
    assert client.get(f"{prefix}c") == (None, None)
    lease.revoke()
    assert client.get(f"{prefix}a") == (None, None)


def test_a_transaction_is_refused_for_two_puts_of_a_key_and_for_too_many_operations(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    txn = client.transactions
    for operations, text in (
        (
            [txn.put(f"{prefix}a", "1"), txn.put(f"{prefix}a", "2")],
            "duplicate key given in txn request",
        ),
        ([txn.get(f"{prefix}a")] * 129, "too many operations in txn request"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            client.transaction(compare=[], success=operations, failure=[])
        assert refused(error) == (grpc.StatusCode.INVALID_ARGUMENT, f"etcdserver: {text}")
    succeeded, responses = client.transaction(
        compare=[], success=[txn.get(f"{prefix}a")] * 128, failure=[]
    )
    assert (succeeded, len(responses)) == (True, 128)
