"""Range: which keys, which revision, which order, and what is said of the rest."""

from __future__ import annotations

from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import Client, refusal
from tests.support.serving import Running, served

ALL: Final = b"\0"
NONE, ASCEND, DESCEND = pb.RangeRequest.NONE, pb.RangeRequest.ASCEND, pb.RangeRequest.DESCEND
KEY, VERSION, CREATE = pb.RangeRequest.KEY, pb.RangeRequest.VERSION, pb.RangeRequest.CREATE
MOD, VALUE = pb.RangeRequest.MOD, pb.RangeRequest.VALUE


async def _fill(client: Client) -> None:
    """The data of tests/common/kv_test.go's TestKVGet: revisions 2 to 10, fop last of all."""
    for key in (b"a", b"b", b"c", b"c", b"c", b"foo", b"foo/abc", b"fop"):
        await client.put(key, b"bar")


async def _keys(client: Client, key: bytes = ALL, range_end: bytes = ALL, **fields: Any) -> bytes:
    """The keys of a range, joined by a space, in the order of the reply."""
    return b" ".join(kv.key for kv in (await client.get(key, range_end, **fields)).kvs)


@pytest.mark.parametrize(
    ("key", "range_end", "found"),
    [
        (b"a", b"", b"a"),
        (b"a", b"c", b"a b"),
        (ALL, ALL, b"a b c foo foo/abc fop"),
        (b"foo", b"fop", b"foo foo/abc"),
        (b"foo", ALL, b"foo foo/abc fop"),
        (b"a", b"x", b"a b c foo foo/abc fop"),
        (b"a\0", ALL, b"b c foo foo/abc fop"),
        (b"c", b"c", b""),
        (b"d", b"b", b""),
        (b"nothing", b"", b""),
        (b"fop\0", ALL, b""),
    ],
)
@served()
async def test_range_end_follows_the_wire_convention(
    server: Running, key: bytes, range_end: bytes, found: bytes
) -> None:
    """TestKVGet and TestV3RangeRequest: an inverted or empty range is empty and no error."""
    await _fill(server.client)
    assert await _keys(server.client, key, range_end) == found
    reply = await server.client.get(key, range_end)
    assert (reply.count, reply.more) == (len(found.split()), False)
    only_keys = await server.client.get(key, range_end, keys_only=True)
    assert [kv.key for kv in only_keys.kvs] == found.split()
    assert not any(kv.value for kv in only_keys.kvs)


@served()
async def test_keys_only_leaves_out_the_value_and_nothing_else_that_etcd_keeps(
    server: Running,
) -> None:
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    (kv,) = (await server.client.get(b"a", keys_only=True)).kvs
    assert (kv.create_revision, kv.mod_revision, kv.version, kv.value) == (2, 3, 2, b"")


# --- revisions ---


@served()
async def test_a_read_at_revision_k_sees_the_first_k_minus_1_puts(server: Running) -> None:
    """TestV3RangeRequest, "range with revision" and TestKVGet, "at older revision"."""
    await _fill(server.client)
    seen = [await _keys(server.client, revision=revision) for revision in range(1, 10)]
    assert seen[:4] == [b"", b"a", b"a b", b"a b c"]
    assert seen[4:] == [b"a b c"] * 2 + [b"a b c foo", b"a b c foo foo/abc", seen[-1]]
    (kv,) = (await server.client.get(b"c", revision=5)).kvs
    assert (kv.create_revision, kv.mod_revision, kv.version) == (4, 5, 2)


@served()
async def test_a_deleted_key_is_there_before_its_deletion_and_not_at_it(server: Running) -> None:
    await server.client.put(b"a", b"1")
    await server.client.delete(b"a")
    await server.client.put(b"a", b"2")
    counts = [(await server.client.get(b"a", revision=at)).count for at in (1, 2, 3, 4)]
    assert counts == [0, 1, 0, 1]


@pytest.mark.parametrize("revision", [0, -1, -(2**63)])
@served()
async def test_a_revision_of_zero_or_below_is_the_newest(server: Running, revision: int) -> None:
    await server.client.put(b"a", b"1")
    await server.client.compact(2)
    assert await _keys(server.client, revision=revision) == b"a"


@served()
async def test_a_read_of_a_revision_to_come_is_refused_even_of_a_key_that_is_not_there(
    server: Running,
) -> None:
    """TestKVRange's and TestV3TxnInvalidRange's ErrFutureRev."""
    await server.client.put(b"a", b"1")
    assert (await server.client.get(b"a", revision=2)).count == 1
    assert await refusal(server.client.get(b"a", revision=3)) == status.FUTURE_REVISION
    assert await refusal(server.client.get(b"x", revision=3, count_only=True)) == (
        status.FUTURE_REVISION
    )


@served()
async def test_revision_1_of_an_empty_store_is_readable(server: Running) -> None:
    assert (await server.client.get(ALL, ALL, revision=1)).count == 0
    assert await refusal(server.client.get(b"a", revision=2)) == status.FUTURE_REVISION


@pytest.mark.parametrize("serializable", [False, True])
@served()
async def test_serializable_and_linearizable_reads_agree_on_one_member(
    server: Running, serializable: bool
) -> None:
    await _fill(server.client)
    assert await _keys(server.client, serializable=serializable, limit=2) == b"a b"
    call = server.client.get(b"a", revision=99, serializable=serializable)
    assert await refusal(call) == status.FUTURE_REVISION


# --- limit, count, more ---


@served()
async def test_more_is_set_while_a_limit_cuts_and_count_is_of_the_whole_range(
    server: Running,
) -> None:
    """TestV3RangeRequest, "limit": from one key to one more than there are."""
    await _fill(server.client)
    for limit in range(1, 8):
        for revision in (0, 9):
            reply = await server.client.get(ALL, ALL, limit=limit, revision=revision)
            assert (len(reply.kvs), reply.more, reply.count) == (min(limit, 6), limit < 6, 6)


@pytest.mark.parametrize("limit", [0, -1, -(2**63)])
@served()
async def test_a_limit_of_zero_or_below_is_none(server: Running, limit: int) -> None:
    await _fill(server.client)
    reply = await server.client.get(ALL, ALL, limit=limit)
    assert (len(reply.kvs), reply.more, reply.count) == (6, False, 6)


@served()
async def test_count_only_counts_and_beats_limit_and_keys_only(server: Running) -> None:
    """TestKVGet "count only" and TestV3RangeRequest."""
    await _fill(server.client)
    reply = await server.client.get(ALL, ALL, count_only=True, keys_only=True, limit=1)
    assert (len(reply.kvs), reply.more, reply.count) == (0, False, 6)
    past = await server.client.get(ALL, ALL, count_only=True, revision=3)
    assert past.count == 2


# --- filters ---


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"min_mod_revision": 7}, b"foo foo/abc fop"),
        ({"max_mod_revision": 3}, b"a b"),
        ({"min_mod_revision": 3, "max_mod_revision": 6}, b"b c"),
        ({"min_create_revision": 4, "max_create_revision": 4}, b"c"),
        ({"max_create_revision": 3}, b"a b"),
        ({"min_create_revision": 4, "max_mod_revision": 7}, b"c foo"),
        ({"min_mod_revision": 8, "max_mod_revision": 7}, b""),
        ({"max_mod_revision": -1}, b""),
        ({"min_create_revision": -5}, b"a b c foo foo/abc fop"),
    ],
)
@served()
async def test_revision_filters_drop_keys_and_leave_the_count(
    server: Running, filters: dict[str, int], found: bytes
) -> None:
    """TestV3RangeRequest "min/max mod and create rev": a negative bound counts as well."""
    await _fill(server.client)
    reply = await server.client.get(ALL, ALL, **filters)
    assert [kv.key for kv in reply.kvs] == found.split()
    assert (reply.count, reply.more) == (6, False)


@served()
async def test_a_filtered_out_single_key_is_counted(server: Running) -> None:
    await _fill(server.client)
    reply = await server.client.get(b"a", min_mod_revision=3)
    assert (len(reply.kvs), reply.count) == (0, 1)


@served()
async def test_filters_come_before_the_limit(server: Running) -> None:
    await _fill(server.client)
    reply = await server.client.get(ALL, ALL, min_mod_revision=6, limit=2)
    assert [kv.key for kv in reply.kvs] == [b"c", b"foo"]
    assert (reply.more, reply.count) == (True, 6)
    reply = await server.client.get(ALL, ALL, min_mod_revision=7, limit=3)
    assert (len(reply.kvs), reply.more) == (3, False)


# --- order ---


@pytest.mark.parametrize(
    ("target", "order", "found"),
    [
        (KEY, NONE, b"a b c foo foo/abc fop"),
        (KEY, ASCEND, b"a b c foo foo/abc fop"),
        (KEY, DESCEND, b"fop foo/abc foo c b a"),
        (VERSION, ASCEND, b"a b foo foo/abc fop c"),  # Ties stay in the order of keys,
        (VERSION, DESCEND, b"c a b foo foo/abc fop"),  # and do so both ways.
        (CREATE, NONE, b"a b c foo foo/abc fop"),
        (CREATE, DESCEND, b"fop foo/abc foo c b a"),
        (MOD, ASCEND, b"a b c foo foo/abc fop"),
        (MOD, DESCEND, b"fop foo/abc foo c b a"),
        (VALUE, ASCEND, b"a b c foo foo/abc fop"),
        (VALUE, DESCEND, b"a b c foo foo/abc fop"),
    ],
)
@served()
async def test_keys_are_sorted_by_target_and_order_with_ties_in_key_order(
    server: Running, target: int, order: int, found: bytes
) -> None:
    """TestKVGet and TestV3RangeRequest."""
    await _fill(server.client)
    assert await _keys(server.client, sort_target=target, sort_order=order) == found


@served()
async def test_values_are_sorted_as_bytes(server: Running) -> None:
    for key, value in ((b"a", b"\xff"), (b"b", b"2"), (b"c", b"10"), (b"d", b"")):
        await server.client.put(key, value)
    assert await _keys(server.client, sort_target=VALUE) == b"d c b a"
    assert await _keys(server.client, sort_target=VALUE, sort_order=DESCEND) == b"a b c d"


@served()
async def test_an_explicit_order_is_made_before_the_limit_cuts(server: Running) -> None:
    """TestV3RangeRequest "sort with limit"."""
    for key in (b"d", b"c", b"b", b"a"):
        await server.client.put(key)
    reply = await server.client.get(ALL, ALL, sort_target=MOD, sort_order=ASCEND, limit=1)
    assert [kv.key for kv in reply.kvs] == [b"d"]
    assert (reply.more, reply.count) == (True, 4)
    assert await _keys(server.client, sort_target=KEY, sort_order=DESCEND, limit=2) == b"d c"


@served()
async def test_without_an_order_a_limit_fetches_first_and_sorts_then(server: Running) -> None:
    """An oddity of etcd in all versions: limit + 1 keys in key order are sorted, then cut."""
    for key in (b"d", b"c", b"b", b"a"):
        await server.client.put(key)
    assert await _keys(server.client, sort_target=MOD, sort_order=NONE, limit=1) == b"b"
    assert await _keys(server.client, sort_target=MOD, sort_order=NONE) == b"d c b a"


@pytest.mark.parametrize("fields", [{"sort_order": 3}, {"sort_target": 5}, {"sort_order": -1}])
@served()
async def test_an_unknown_order_or_target_is_refused(
    server: Running, fields: dict[str, int]
) -> None:
    """etcd 3.6; in a transaction as well, whichever branch runs."""
    request = pb.RangeRequest(key=b"a", **fields)  # type: ignore[arg-type]  # enums are open
    assert await refusal(server.client.kv.Range(request)) == status.INVALID_SORT_OPTION
    nested = pb.TxnRequest(failure=[pb.RequestOp(request_range=request)])
    assert await refusal(server.client.kv.Txn(nested)) == status.INVALID_SORT_OPTION
    no_key = pb.RangeRequest(**fields)  # type: ignore[arg-type]  # as above
    assert await refusal(server.client.kv.Range(no_key)) == status.KEY_NOT_PROVIDED
