"""Txn: what its conditions mean, what its operations see, and that it is all or nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import Client, refusal
from tests.support.ops import delete, get, nested, put, txn
from tests.support.serving import Running, served

ALL: Final = b"\0"
EQUAL, GREATER = pb.Compare.EQUAL, pb.Compare.GREATER
LESS, NOT_EQUAL = pb.Compare.LESS, pb.Compare.NOT_EQUAL
RESULTS: Final = (EQUAL, GREATER, LESS, NOT_EQUAL)


async def _holds(client: Client, **compare: Any) -> bool:
    request = pb.TxnRequest(compare=[pb.Compare(**compare)])
    return (await client.kv.Txn(request)).succeeded


async def _results(client: Client, **compare: Any) -> str:
    """Which of = > < ! hold."""
    marks = zip("=><!", RESULTS, strict=True)
    return "".join(
        [mark for mark, result in marks if await _holds(client, result=result, **compare)]
    )


# --- conditions ---


@served()
async def test_no_condition_holds(server: Running) -> None:
    assert (await server.client.kv.Txn(pb.TxnRequest())).succeeded


@served()
async def test_all_conditions_must_hold(server: Running) -> None:
    """TestTxnSucc and TestTxnFail of tests/common/txn_test.go."""
    await server.client.put(b"a", b"1")
    right = pb.Compare(key=b"a", target=pb.Compare.VALUE, value=b"1")
    wrong = pb.Compare(key=b"a", target=pb.Compare.VALUE, value=b"2")
    for compares, expected in (([right, right], True), ([right, wrong], False)):
        reply = await server.client.kv.Txn(pb.TxnRequest(compare=compares))
        assert reply.succeeded is expected


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ({"target": pb.Compare.VERSION, "version": 2}, "="),
        ({"target": pb.Compare.VERSION, "version": 1}, ">!"),
        ({"target": pb.Compare.VERSION, "version": 3}, "<!"),
        ({"target": pb.Compare.CREATE, "create_revision": 2}, "="),
        ({"target": pb.Compare.CREATE, "create_revision": 3}, "<!"),
        ({"target": pb.Compare.MOD, "mod_revision": 3}, "="),
        ({"target": pb.Compare.MOD, "mod_revision": 2}, ">!"),
        ({"target": pb.Compare.VALUE, "value": b"new"}, "="),
        ({"target": pb.Compare.VALUE, "value": b"old"}, "<!"),
        ({"target": pb.Compare.VALUE, "value": b""}, ">!"),
        ({"target": pb.Compare.VALUE, "value": b"new\0"}, "<!"),
        ({"target": pb.Compare.LEASE, "lease": 7}, "="),
        ({"target": pb.Compare.LEASE, "lease": 0}, ">!"),
        # A member that is missing, or another target's, counts as zero or empty.
        ({"target": pb.Compare.VERSION}, ">!"),
        ({"target": pb.Compare.VALUE, "version": 5}, ">!"),
        ({"target": pb.Compare.MOD, "version": 3}, ">!"),
        # An unknown target compares as equal.
        ({"target": 9, "version": 3}, "="),
    ],
)
@served()
async def test_a_condition_on_a_key(
    server: Running, compare: dict[str, Any], expected: str
) -> None:
    """TestTxnSucc, and applyCompare in server/etcdserver/txn/txn.go."""
    await server.client.grant(60, 7)
    await server.client.put(b"a", b"old")
    await server.client.put(b"a", b"new", lease=7)
    assert await _results(server.client, key=b"a", **compare) == expected


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ({"target": pb.Compare.VERSION, "version": 0}, "="),
        ({"target": pb.Compare.CREATE}, "="),
        ({"target": pb.Compare.MOD, "mod_revision": 0}, "="),
        ({"target": pb.Compare.MOD, "mod_revision": 1}, "<!"),
        ({"target": pb.Compare.LEASE, "lease": -1}, ">!"),
        ({"target": pb.Compare.VALUE, "value": b""}, ""),
        ({"target": pb.Compare.VALUE, "value": b"x"}, ""),
    ],
)
@pytest.mark.parametrize(("key", "range_end"), [(b"x", b""), (b"x", b"z"), (b"z", b"x")])
@served()
async def test_an_absent_key_compares_as_zeros_and_no_condition_on_its_value_holds(
    server: Running, key: bytes, range_end: bytes, compare: dict[str, Any], expected: str
) -> None:
    """TestV3TxnRangeCompare; a range without keys is like an absent key."""
    await server.client.put(b"a")
    await server.client.put(b"xx")
    await server.client.delete(b"xx")
    results = await _results(server.client, key=key, range_end=range_end, **compare)
    assert results == expected


@pytest.mark.parametrize(
    ("key", "range_end", "compare", "expected"),
    [
        (b"a", b"d", {"target": pb.Compare.VERSION, "version": 1}, ""),  # c's is 2.
        (b"a", b"c", {"target": pb.Compare.VERSION, "version": 1}, "="),
        (b"a", ALL, {"target": pb.Compare.VERSION, "version": 0}, ">!"),
        (ALL, ALL, {"target": pb.Compare.VALUE, "value": b"v"}, "="),
        (b"b", b"z", {"target": pb.Compare.CREATE, "create_revision": 2}, ">!"),
        (b"a", b"z", {"target": pb.Compare.LEASE, "lease": 0}, "="),
    ],
)
@served()
async def test_a_condition_on_a_range_must_hold_for_each_of_its_keys(
    server: Running, key: bytes, range_end: bytes, compare: dict[str, Any], expected: str
) -> None:
    """TestV3TxnRangeCompare and TestTxnCompareRange."""
    for each in (b"a", b"b", b"c", b"c"):
        await server.client.put(each, b"v")
    assert await _results(server.client, key=key, range_end=range_end, **compare) == expected


@served()
async def test_an_unknown_result_asks_for_nothing(server: Running) -> None:
    assert await _holds(server.client, key=b"a", result=9, version=5)


# --- what the operations see ---


@served()
async def test_answers_come_in_the_order_of_the_operations_of_the_branch(
    server: Running,
) -> None:
    """TestTxnSucc; sub-answers carry a revision and no ids."""
    await server.client.put(b"a", b"1")
    request = txn([get(b"a"), put(b"b", b"2"), get(b"b"), delete(b"a", prev_kv=True), get(b"a")])
    reply = await server.client.kv.Txn(request)
    assert reply.succeeded
    before, written, seen, deleted, gone = reply.responses
    assert before.response_range.kvs[0].value == b"1"
    assert not written.response_put.HasField("prev_kv")
    assert seen.response_range.kvs[0].mod_revision == 3
    assert deleted.response_delete_range.deleted == 1
    assert deleted.response_delete_range.prev_kvs[0].value == b"1"
    assert gone.response_range.count == 0
    revisions = [
        before.response_range.header,
        written.response_put.header,
        seen.response_range.header,
        deleted.response_delete_range.header,
        gone.response_range.header,
    ]
    assert revisions == [pb.ResponseHeader(revision=number) for number in (2, 3, 3, 3, 3)]
    assert (reply.header.revision, reply.header.raft_term) == (3, 2)


@served()
async def test_the_else_branch_runs_where_a_condition_fails(server: Running) -> None:
    request = pb.TxnRequest(
        compare=[pb.Compare(key=b"a", target=pb.Compare.VERSION, version=1)],
        success=[put(b"then")],
        failure=[put(b"else"), get(ALL, ALL)],
    )
    reply = await server.client.kv.Txn(request)
    assert not reply.succeeded
    assert [kv.key for kv in reply.responses[1].response_range.kvs] == [b"else"]


@served()
async def test_all_changes_of_a_transaction_share_one_revision(server: Running) -> None:
    """TestV3TxnRevision: a transaction that changes nothing leaves none."""
    reply = await server.client.kv.Txn(txn([put(b"b"), put(b"a"), delete(b"x"), put(b"c")]))
    assert reply.header.revision == 2
    kvs = (await server.client.get(ALL, ALL)).kvs
    assert [(kv.key, kv.create_revision, kv.mod_revision) for kv in kvs] == [
        (key, 2, 2) for key in (b"a", b"b", b"c")
    ]
    for idle in (txn([get(b"a")]), txn([delete(b"x")]), txn([]), txn([nested([delete(b"x")])])):
        assert (await server.client.kv.Txn(idle)).header.revision == 2
    assert (await server.client.kv.Txn(txn([put(b"a")]))).header.revision == 3


@served()
async def test_header_revisions_of_a_transaction_without_changes_are_the_current(
    server: Running,
) -> None:
    await server.client.put(b"a")
    (only,) = (await server.client.kv.Txn(txn([delete(b"x")]))).responses
    assert only.response_delete_range.header == pb.ResponseHeader(revision=2)
    (only,) = (await server.client.kv.Txn(txn([get(b"a")]))).responses
    assert only.response_range.header == pb.ResponseHeader(revision=2)


@served()
async def test_a_range_of_an_older_revision_reads_the_past_within_a_transaction(
    server: Running,
) -> None:
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    reply = await server.client.kv.Txn(
        txn([put(b"a", b"3"), get(b"a", revision=2), get(b"a", revision=3), get(b"a")])
    )
    values = [answer.response_range.kvs[0].value for answer in reply.responses[1:]]
    assert values == [b"1", b"2", b"3"]


@served()
async def test_prev_kv_within_a_transaction_is_what_stood_before_the_operation(
    server: Running,
) -> None:
    """A put and a delete of one key in one transaction: a hole of the overlap check."""
    reply = await server.client.kv.Txn(
        txn([nested([put(b"a", b"1")]), nested([delete(b"a", prev_kv=True)])])
    )
    deleted = reply.responses[1].response_txn.responses[0].response_delete_range
    assert (deleted.deleted, deleted.prev_kvs[0].value) == (1, b"1")
    assert (await server.client.get(b"a")).count == 0


@served()
async def test_put_answers_prev_kv_in_a_transaction_if_asked(server: Running) -> None:
    await server.client.put(b"a", b"1")
    reply = await server.client.kv.Txn(txn([put(b"a", b"2", prev_kv=True)]))
    assert reply.responses[0].response_put.prev_kv.value == b"1"


@served()
async def test_a_range_in_a_transaction_is_limited_sorted_and_counted_as_any(
    server: Running,
) -> None:
    for key in (b"a", b"b", b"c"):
        await server.client.put(key)
    order = {"sort_order": pb.RangeRequest.DESCEND, "limit": 2}
    (only,) = (await server.client.kv.Txn(txn([get(ALL, ALL, **order)]))).responses
    found = only.response_range
    assert ([kv.key for kv in found.kvs], found.more, found.count) == ([b"c", b"b"], True, 3)


@pytest.mark.parametrize("attempt", range(5))
@served(on_disk=True)
async def test_the_revision_in_the_header_agrees_with_what_the_condition_saw(
    server: Running, attempt: int
) -> None:
    """TestV3TxnCmpHeaderRev: a put and a transaction that asks for its key, at the same time."""
    key = b"%d" % attempt
    absent = pb.Compare(key=key, target=pb.Compare.CREATE)
    putting = [asyncio.ensure_future(server.client.put(key)) for _ in range(3)]
    asking = [
        asyncio.ensure_future(server.client.kv.Txn(txn([get(key)], compare=[absent])))
        for _ in range(3)
    ]
    first = min(reply.header.revision for reply in await asyncio.gather(*putting))
    for reply in await asyncio.gather(*asking):
        assert reply.succeeded == (reply.header.revision < first)


# --- nesting ---


@served()
async def test_ten_levels_follow_their_conditions_and_answer_alike(server: Running) -> None:
    """TestV3TxnNestedPath: at each level the condition chooses, and the answers nest as deep."""
    levels = [True, False, False, True, True, False, True, False, True, True]
    operation = put(b"reached")
    for holds in reversed(levels):
        condition = pb.Compare(key=b"x", target=pb.Compare.VERSION, version=0 if holds else 1)
        level = pb.TxnRequest(compare=[condition])
        (level.success if holds else level.failure).append(operation)
        operation = pb.RequestOp(request_txn=level)
    reply = await server.client.kv.Txn(operation.request_txn)
    for holds in levels[:-1]:
        assert reply.succeeded is holds
        (answer,) = reply.responses
        reply = answer.response_txn
        assert reply.HasField("header")
        assert reply.header == pb.ResponseHeader()  # There, and empty, as etcd's.
    assert reply.responses[0].response_put.header.revision == 2
    assert (await server.client.get(b"reached")).count == 1


@served()
async def test_nested_conditions_are_evaluated_before_anything_runs(server: Running) -> None:
    """Nested operations see what came before them; nested conditions do not."""
    condition = pb.Compare(key=b"a", target=pb.Compare.VERSION, version=0)
    inner = nested([get(b"a")], compare=[condition])
    reply = await server.client.kv.Txn(txn([put(b"a", b"1"), inner]))
    answer = reply.responses[1].response_txn
    assert answer.succeeded
    assert answer.responses[0].response_range.kvs[0].value == b"1"


# --- all or nothing ---


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (put(b"b", lease=9), status.LEASE_NOT_FOUND),
        (put(b"b", lease=-9), status.LEASE_NOT_FOUND),
        (put(b"absent", ignore_value=True), status.KEY_NOT_FOUND),
        (put(b"absent", ignore_lease=True), status.KEY_NOT_FOUND),
        (put(b"absent", ignore_value=True, lease=9), status.KEY_NOT_FOUND),
        (get(b"a", revision=5), status.FUTURE_REVISION),
        (get(b"a", revision=4), status.FUTURE_REVISION),  # The transaction's own, to be.
        (get(b"a", revision=2), status.COMPACTED),
        (get(b"a", revision=-1), status.COMPACTED),
        (nested([put(b"b", lease=9)]), status.LEASE_NOT_FOUND),
        (nested([get(b"a", revision=5)]), status.FUTURE_REVISION),
    ],
)
@pytest.mark.parametrize("position", [0, 1])
@served()
async def test_a_transaction_that_cannot_run_whole_does_not_run_at_all(
    server: Running, position: int, operation: pb.RequestOp, expected: status.Status
) -> None:
    """TestV3TxnInvalidRange, TestV3PutOnNonExistLease; an untaken branch is not asked."""
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    await server.client.compact(3)
    operations = [put(b"first")]
    operations.insert(position, operation)
    assert await refusal(server.client.kv.Txn(txn(operations))) == expected
    assert (await server.client.get(b"first")).count == 0
    assert await server.client.revision() == 3
    untaken = pb.TxnRequest(success=[put(b"first")], failure=operations)
    assert (await server.client.kv.Txn(untaken)).header.revision == 4


@pytest.mark.parametrize("ignored", ["ignore_value", "ignore_lease"])
@pytest.mark.parametrize(
    "before",
    [
        [delete(b"a", ALL)],
        [nested([delete(ALL, ALL)])],
        [nested([nested([delete(b"a", ALL)])])],
    ],
)
@served()
async def test_nothing_can_be_kept_of_a_key_that_the_same_transaction_deleted(
    server: Running, before: list[pb.RequestOp], ignored: str
) -> None:
    """The overlap check lets these pass; etcd 3.5 accepts them, and then its process ends."""
    await server.client.put(b"a", b"1")
    keeper = pb.RequestOp(request_put=pb.PutRequest(key=b"a"))
    setattr(keeper.request_put, ignored, True)
    request = txn([*before, nested([keeper])])
    assert await refusal(server.client.kv.Txn(request)) == status.KEY_NOT_FOUND
    assert (await server.client.get(b"a")).kvs[0].version == 1


@served()
async def test_a_negative_revision_in_a_transaction_is_the_newest_only_before_a_compaction(
    server: Running,
) -> None:
    """Compared literally with -1, where etcd's compacted revision starts."""
    await server.client.put(b"a")
    (only,) = (await server.client.kv.Txn(txn([get(b"a", revision=-1)]))).responses
    assert only.response_range.count == 1
    refused = await refusal(server.client.kv.Txn(txn([get(b"a", revision=-2)])))
    assert refused == status.COMPACTED
