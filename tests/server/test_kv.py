"""Put, DeleteRange and what they leave behind, as a client sees them."""

from __future__ import annotations

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from server.status import Status
from tests.support.client import refusal
from tests.support.serving import Running, served

ALL = b"\0"
ABSENT = b"absent"


async def _fill(server: Running, *keys: bytes) -> None:
    for key in keys:
        await server.client.put(key, b"value of " + key)


# --- revisions and headers ---


@served()
async def test_an_empty_store_has_revision_1_and_the_nth_put_has_revision_n_plus_1(
    server: Running,
) -> None:
    """TestKVPut and TestV3RangeRequest of etcd's integration tests."""
    assert await server.client.revision() == 1
    for number in range(1, 4):
        key = b"key %d" % number
        reply = await server.client.put(key, b"v")
        assert reply.header.revision == number + 1
        (kv,) = (await server.client.get(key)).kvs
        assert (kv.create_revision, kv.mod_revision, kv.version) == (number + 1, number + 1, 1)


@served()
async def test_an_overwrite_keeps_the_create_revision_and_counts_the_version(
    server: Running,
) -> None:
    """TestKVPut of tests/common/kv_test.go."""
    for value in (b"1", b"2", b"2"):  # The same value again is a revision all the same.
        await server.client.put(b"a", value)
    (kv,) = (await server.client.get(b"a")).kvs
    assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (b"2", 2, 4, 3)


@served()
async def test_every_header_names_cluster_member_term_and_current_revision(
    server: Running,
) -> None:
    """TestKVGet of tests/common/kv_test.go; a read of the past has the present's revision too."""
    put = await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    past = await server.client.get(b"a", revision=2)
    assert (put.header.revision, past.header.revision) == (2, 3)
    assert put.header.cluster_id != 0
    assert put.header.member_id != 0
    assert put.header.raft_term == 2
    for header in (put.header, past.header):
        assert header.cluster_id == put.header.cluster_id
        assert header.member_id == put.header.member_id
        assert header.raft_term == put.header.raft_term


@served()
async def test_a_key_that_was_deleted_begins_anew(server: Running) -> None:
    await server.client.put(b"a", b"1")
    await server.client.put(b"a", b"2")
    await server.client.delete(b"a")
    reply = await server.client.put(b"a", b"3", prev_kv=True)
    assert not reply.HasField("prev_kv")
    (kv,) = (await server.client.get(b"a")).kvs
    assert (kv.create_revision, kv.mod_revision, kv.version) == (5, 5, 1)


@served()
async def test_an_empty_value_is_a_value(server: Running) -> None:
    await server.client.put(b"a", b"")
    reply = await server.client.get(b"a")
    assert (reply.count, reply.kvs[0].value) == (1, b"")


@served()
async def test_any_bytes_are_a_key(server: Running) -> None:
    keys = [b"\0", b"\0\0", b"\xff", b"\xff\xff", bytes(range(256))]
    await _fill(server, *keys)
    reply = await server.client.get(ALL, ALL)
    assert [kv.key for kv in reply.kvs] == sorted(keys)


# --- prev_kv ---


@served()
async def test_prev_kv_is_the_version_before_whole_with_its_lease(server: Running) -> None:
    """TestKVPutWithPrevKV of the integration tests."""
    lease = (await server.client.grant(60)).ID
    assert not (await server.client.put(b"a", b"1", prev_kv=True, lease=lease)).HasField("prev_kv")
    reply = await server.client.put(b"a", b"2", prev_kv=True)
    assert (reply.prev_kv.key, reply.prev_kv.value, reply.prev_kv.lease) == (b"a", b"1", lease)
    assert (reply.prev_kv.mod_revision, reply.prev_kv.version) == (2, 1)


@served()
async def test_prev_kv_is_absent_unless_asked_for(server: Running) -> None:
    await server.client.put(b"a", b"1")
    assert not (await server.client.put(b"a", b"2")).HasField("prev_kv")
    reply = await server.client.put(b"a", ignore_value=True)
    assert not reply.HasField("prev_kv")
    assert not (await server.client.delete(b"a")).prev_kvs


@served()
async def test_a_delete_returns_the_deleted_in_key_order_if_asked(server: Running) -> None:
    """TestV3DeleteRange of the integration tests: as many prev_kvs as were deleted."""
    await _fill(server, b"c", b"a", b"b", b"d")
    reply = await server.client.delete(b"a", b"d", prev_kv=True)
    assert reply.deleted == 3
    assert [(kv.key, kv.value) for kv in reply.prev_kvs] == [
        (key, b"value of " + key) for key in (b"a", b"b", b"c")
    ]


# --- delete ---


@pytest.mark.parametrize(
    ("key", "range_end", "left"),
    [
        (b"a", b"", [b"aa", b"b", b"c"]),
        (b"a", b"b", [b"b", b"c"]),
        (b"aa", ALL, [b"a"]),
        (ALL, ALL, []),
        (b"b", b"b", [b"a", b"aa", b"b", b"c"]),
        (b"c", b"a", [b"a", b"aa", b"b", b"c"]),
        (b"x", b"", [b"a", b"aa", b"b", b"c"]),
    ],
)
@served()
async def test_a_delete_takes_its_range_and_leaves_the_rest(
    server: Running, key: bytes, range_end: bytes, left: list[bytes]
) -> None:
    """TestV3DeleteRange and TestKVDelete: by key, by range, from a key on; nothing is fine too."""
    await _fill(server, b"a", b"aa", b"b", b"c")
    reply = await server.client.delete(key, range_end)
    assert reply.deleted == 4 - len(left)
    after = await server.client.get(ALL, ALL)
    assert [kv.key for kv in after.kvs] == left
    assert reply.header.revision == after.header.revision == (5 if len(left) == 4 else 6)


# --- leases of keys ---


@served()
async def test_a_put_with_a_lease_shows_it_and_a_plain_put_takes_it_off(server: Running) -> None:
    """TestKVPutWithLease, and TestV3PutIgnoreLease's last step: the old lease leaves the key."""
    lease = (await server.client.grant(60)).ID
    await server.client.put(b"a", b"1", lease=lease)
    assert (await server.client.get(b"a")).kvs[0].lease == lease
    await server.client.put(b"a", b"2")
    assert (await server.client.get(b"a")).kvs[0].lease == 0
    await server.client.revoke(lease)
    assert (await server.client.get(b"a")).count == 1


@pytest.mark.parametrize("lease", [1, 500, -1, -(2**63), 2**63 - 1])
@served()
async def test_a_put_with_a_lease_that_does_not_exist_is_refused_and_stores_nothing(
    server: Running, lease: int
) -> None:
    """TestV3PutOnNonExistLease."""
    assert await refusal(server.client.put(b"a", lease=lease)) == status.LEASE_NOT_FOUND
    assert (await server.client.get(b"a")).count == 0
    assert await server.client.revision() == 1


# --- ignore_value, ignore_lease ---


@served()
async def test_a_put_of_its_own_misses_its_lease_before_the_key(server: Running) -> None:
    """In a transaction it is the other way about (server/etcdserver/txn/txn.go: Put, checkPut)."""
    request = pb.PutRequest(key=b"absent", lease=9, ignore_value=True)
    assert await refusal(server.client.kv.Put(request)) == status.LEASE_NOT_FOUND


@served()
async def test_ignore_value_keeps_the_value_and_takes_the_lease_of_the_request(
    server: Running,
) -> None:
    """TestKVPutWithIgnoreValue and TestV3PutIgnoreValue."""
    lease = (await server.client.grant(60)).ID
    await server.client.put(b"a", b"kept")
    for asked in (lease, 0):
        await server.client.put(b"a", ignore_value=True, lease=asked)
        (kv,) = (await server.client.get(b"a")).kvs
        assert (kv.value, kv.lease) == (b"kept", asked)
    assert kv.version == 3


@served()
async def test_ignore_lease_keeps_the_lease_and_takes_the_value_of_the_request(
    server: Running,
) -> None:
    """TestKVPutWithIgnoreLease and TestV3PutIgnoreLease; the key still goes with its lease."""
    lease = (await server.client.grant(60)).ID
    await server.client.put(b"a", b"1", lease=lease)
    await server.client.put(b"a", b"2", ignore_lease=True)
    (kv,) = (await server.client.get(b"a")).kvs
    assert (kv.value, kv.lease) == (b"2", lease)
    await server.client.revoke(lease)
    assert (await server.client.get(b"a")).count == 0


@served()
async def test_ignoring_both_only_makes_a_revision(server: Running) -> None:
    lease = (await server.client.grant(60)).ID
    await server.client.put(b"a", b"1", lease=lease)
    reply = await server.client.put(b"a", ignore_value=True, ignore_lease=True, prev_kv=True)
    assert reply.prev_kv.value == b"1"
    (kv,) = (await server.client.get(b"a")).kvs
    assert (kv.value, kv.lease, kv.version, kv.mod_revision) == (b"1", lease, 2, 3)


@pytest.mark.parametrize("ignored", ["ignore_value", "ignore_lease"])
@served()
async def test_nothing_can_be_kept_of_a_key_that_does_not_exist(
    server: Running, ignored: str
) -> None:
    """TestV3PutIgnoreValue, TestV3PutIgnoreLease; a deleted key does not exist either."""
    request = pb.PutRequest(key=ABSENT, **{ignored: True})  # type: ignore[arg-type]  # both bool
    assert await refusal(server.client.kv.Put(request)) == status.KEY_NOT_FOUND
    await server.client.put(ABSENT)
    await server.client.delete(ABSENT)
    assert await refusal(server.client.kv.Put(request)) == status.KEY_NOT_FOUND
    assert await server.client.revision() == 3


# --- what is refused, and which refusal comes first ---


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pb.PutRequest(), status.KEY_NOT_PROVIDED),
        (pb.PutRequest(value=b"v", ignore_value=True), status.KEY_NOT_PROVIDED),
        (pb.PutRequest(key=b"a", value=b"v", ignore_value=True), status.VALUE_PROVIDED),
        (
            pb.PutRequest(key=b"a", value=b"v", ignore_value=True, lease=9, ignore_lease=True),
            status.VALUE_PROVIDED,
        ),
        (pb.PutRequest(key=b"a", lease=9, ignore_lease=True), status.LEASE_PROVIDED),
        # Existence is looked at last, and the lease's before the key's.
        (pb.PutRequest(key=ABSENT, lease=9, ignore_value=True), status.LEASE_NOT_FOUND),
    ],
)
@served()
async def test_a_put_is_refused_for_the_first_thing_wrong_with_it(
    server: Running, request_: pb.PutRequest, expected: Status
) -> None:
    """checkPutRequest in server/etcdserver/api/v3rpc/key.go, then the apply's own checks."""
    assert await refusal(server.client.kv.Put(request_)) == expected
    assert await server.client.revision() == 1


@pytest.mark.parametrize("range_end", [b"", ALL, b"z"])
@served()
async def test_no_request_goes_without_a_key(server: Running, range_end: bytes) -> None:
    """tests/e2e/ctl_v3_kv_test.go; an open range does not make up for the missing key."""
    refused = status.KEY_NOT_PROVIDED
    assert await refusal(server.client.get(b"", range_end)) == refused
    assert await refusal(server.client.delete(b"", range_end)) == refused
