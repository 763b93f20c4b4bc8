"""Leases: granting, revoking, listing, and the keys that go with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import Client, refusal
from tests.support.clock import FakeClock
from tests.support.ops import nested, put, txn
from tests.support.serving import Running, running, served

TTL_MAX: Final = 9_000_000_000
SMALLEST, LARGEST = -(2**63), 2**63 - 1


async def _leases(client: Client) -> list[int]:
    reply = await client.lease.LeaseLeases(pb.LeaseLeasesRequest())
    return [each.ID for each in reply.leases]


# --- grant ---


@pytest.mark.parametrize(
    ("asked", "granted"),
    [(60, 60), (3, 3), (2, 2), (1, 2), (0, 2), (-1, 2), (SMALLEST, 2), (TTL_MAX, TTL_MAX)],
)
@served()
async def test_a_short_ttl_is_raised_to_the_floor_and_the_reply_says_so(
    server: Running, asked: int, granted: int
) -> None:
    """minTTL in server/etcdserver/server.go: one and a half election timeouts."""
    reply = await server.client.grant(asked, 7)
    assert (reply.ID, reply.TTL, reply.error) == (7, granted, "")
    assert (await server.client.time_to_live(7)).grantedTTL == granted


@served(election_timeout_ms=5000)
async def test_the_floor_follows_the_election_timeout(server: Running) -> None:
    assert (await server.client.grant(1)).TTL == 8


@pytest.mark.parametrize("ttl", [TTL_MAX + 1, LARGEST])
@served()
async def test_a_ttl_above_the_largest_is_refused_even_where_the_id_is_taken(
    server: Running, ttl: int
) -> None:
    """TestLessorMaxTTL; Grant in server/lease/lessor.go looks at the TTL first."""
    await server.client.grant(60, 7)
    for lease_id in (0, 7, 8):
        assert await refusal(server.client.grant(ttl, lease_id)) == status.LEASE_TTL_TOO_LARGE
    assert await _leases(server.client) == [7]


@served()
async def test_an_id_is_granted_once(server: Running) -> None:
    """TestV3LeaseGrantByID."""
    assert (await server.client.grant(60, 1)).ID == 1
    assert await refusal(server.client.grant(60, 1)) == status.LEASE_EXISTS
    assert (await server.client.grant(60, 2)).ID == 2
    await server.client.revoke(1)
    assert (await server.client.grant(60, 1)).ID == 1


@served()
async def test_the_server_picks_ids_that_are_positive_and_differ(server: Running) -> None:
    replies = await asyncio.gather(*[server.client.grant(60) for _ in range(100)])
    ids = {reply.ID for reply in replies}
    assert len(ids) == 100
    assert min(ids) > 0


@served()
async def test_neither_grant_nor_keepalive_nor_an_empty_revoke_moves_the_revision(
    server: Running,
) -> None:
    await server.client.put(b"a")
    headers = [(await server.client.grant(60, 7)).header]
    keeping = server.client.lease.LeaseKeepAlive()
    await keeping.send(pb.LeaseKeepAliveRequest(ID=7))
    headers.append((await keeping.receive()).header)
    headers.append((await server.client.time_to_live(7)).header)
    headers.append((await server.client.lease.LeaseLeases(pb.LeaseLeasesRequest())).header)
    headers.append((await server.client.revoke(7)).header)
    assert [header.revision for header in headers] == [2] * 5
    assert {header.member_id for header in headers} == {headers[0].member_id} != {0}
    assert {header.raft_term for header in headers} == {2}


# --- revoke ---


@served()
async def test_a_revoke_deletes_all_keys_at_one_revision(server: Running) -> None:
    """TestV3LeaseRevoke; its header has the revision after."""
    await server.client.grant(60, 7)
    for key in (b"b", b"a", b"c"):
        await server.client.put(key, lease=7)
    await server.client.put(b"other")
    assert (await server.client.revoke(7)).header.revision == 6
    reply = await server.client.get(b"\0", b"\0")
    assert [kv.key for kv in reply.kvs] == [b"other"]
    assert (await server.client.time_to_live(7)).TTL == -1
    assert (await server.client.put(b"x")).header.revision == 7


@pytest.mark.parametrize("lease_id", [0, 1, -1, LARGEST, SMALLEST])
@served()
async def test_what_does_not_exist_cannot_be_revoked(server: Running, lease_id: int) -> None:
    assert await refusal(server.client.revoke(lease_id)) == status.LEASE_NOT_FOUND


@served()
async def test_a_lease_is_revoked_once(server: Running) -> None:
    await server.client.grant(60, 7)
    await server.client.revoke(7)
    assert await refusal(server.client.revoke(7)) == status.LEASE_NOT_FOUND


@served()
async def test_the_same_lease_put_again_stays_attached_once(server: Running) -> None:
    """A second put of the same lease: version 2, one key."""
    await server.client.grant(60, 7)
    for _ in range(2):
        await server.client.put(b"a", lease=7)
    assert (await server.client.get(b"a")).kvs[0].version == 2
    assert list((await server.client.time_to_live(7, keys=True)).keys) == [b"a"]


@served()
async def test_a_key_belongs_to_the_lease_of_its_last_put(server: Running) -> None:
    """TestV3LeaseSwitch: revoking the old lease leaves it, revoking the new one deletes it."""
    await server.client.grant(60, 7)
    await server.client.grant(60, 8)
    await server.client.put(b"a", lease=7)
    await server.client.put(b"a", lease=8)
    assert list((await server.client.time_to_live(7, keys=True)).keys) == []
    await server.client.revoke(7)
    assert (await server.client.get(b"a")).count == 1
    await server.client.revoke(8)
    assert (await server.client.get(b"a")).count == 0


@served()
async def test_a_deleted_key_leaves_its_lease_and_comes_back_without_it(
    server: Running,
) -> None:
    await server.client.grant(60, 7)
    for key in (b"a", b"b", b"c"):
        await server.client.put(key, lease=7)
    await server.client.delete(b"a")
    await server.client.delete(b"b", b"c")
    assert list((await server.client.time_to_live(7, keys=True)).keys) == [b"c"]
    await server.client.put(b"a")
    await server.client.revoke(7)
    assert (await server.client.get(b"a")).count == 1
    assert (await server.client.get(b"c")).count == 0


@served()
async def test_a_key_put_and_deleted_in_one_transaction_is_on_no_lease(
    server: Running,
) -> None:
    await server.client.grant(60, 7)
    deleting = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a"))
    request = txn([nested([put(b"a", lease=7)]), nested([deleting])])
    await server.client.kv.Txn(request)
    assert list((await server.client.time_to_live(7, keys=True)).keys) == []
    await server.client.put(b"a")
    await server.client.revoke(7)
    assert (await server.client.get(b"a")).count == 1


# --- time to live, leases ---


@served(clock=FakeClock)
async def test_the_time_left_is_cut_to_whole_seconds(server: Running) -> None:
    """A second after a grant of 5 there are 4; in the last second there are 0."""
    await server.client.grant(5, 7)
    left = []
    for step in (0.1, 0.8, 0.2, 3.0, 0.8):
        await server.time.advance(step)
        left.append((await server.client.time_to_live(7)).TTL)
    assert left == [4, 4, 3, 0, 0]


@served()
async def test_keys_are_told_if_asked_for(server: Running) -> None:
    """TestLeaseTimeToLive of clientv3."""
    await server.client.grant(60, 7)
    for key in (b"foo2", b"foo1"):
        await server.client.put(key, lease=7)
    asked = await server.client.time_to_live(7, keys=True)
    assert sorted(asked.keys) == [b"foo1", b"foo2"]
    assert 0 < asked.TTL <= asked.grantedTTL == 60
    assert asked.ID == 7
    assert list((await server.client.time_to_live(7)).keys) == []


@pytest.mark.parametrize("lease_id", [0, 9, -9])
@served()
async def test_a_lease_that_is_not_there_has_minus_1_to_live_and_is_no_error(
    server: Running, lease_id: int
) -> None:
    """TestV3GetNonExistLease: header and id are there."""
    reply = await server.client.time_to_live(lease_id, keys=True)
    assert (reply.ID, reply.TTL, reply.grantedTTL, list(reply.keys)) == (lease_id, -1, 0, [])
    assert reply.header.revision == 1


@served(clock=FakeClock)
async def test_leases_are_listed_soonest_first_and_equals_in_the_order_of_their_grants(
    server: Running,
) -> None:
    """TestV3LeaseLeases: of none, one and several, what was granted."""
    assert await _leases(server.client) == []
    for lease_id, ttl in ((5, 60), (4, 30), (3, 60), (-2, 60), (1, 90)):
        await server.client.grant(ttl, lease_id)
    assert await _leases(server.client) == [4, 5, 3, -2, 1]
    await server.client.revoke(3)
    assert await _leases(server.client) == [4, 5, -2, 1]


# --- restarts ---


def test_ids_of_any_sign_survive_a_restart(tmp_path: Path) -> None:
    """TestV3LeaseNegativeID: etcd once lost the negative ones (etcd#12535)."""

    async def scenario() -> None:
        ids = (-1, LARGEST, SMALLEST, 1)
        async with running(directory=tmp_path) as server:
            for number, lease_id in enumerate(ids):
                await server.client.grant(60 + number, lease_id)
                await server.client.put(b"%d" % number, lease=lease_id)
        async with running(directory=tmp_path) as server:
            assert await _leases(server.client) == list(ids)
            for number, lease_id in enumerate(ids):
                told = await server.client.time_to_live(lease_id, keys=True)
                assert (told.grantedTTL, list(told.keys)) == (60 + number, [b"%d" % number])
                assert await refusal(server.client.grant(60, lease_id)) == status.LEASE_EXISTS
                reply = await server.client.revoke(lease_id)
                assert reply.header.revision == 6 + number
            assert (await server.client.get(b"\0", b"\0")).count == 0

    asyncio.run(scenario())


def test_a_revoke_is_as_good_after_a_restart_as_before(tmp_path: Path) -> None:
    """TestV3LeaseRecoverAndRevoke and TestV3LeaseRevokeAndRecover."""

    async def scenario() -> None:
        async with running(directory=tmp_path) as server:
            for lease_id in (7, 8):
                await server.client.grant(60, lease_id)
                await server.client.put(b"%d" % lease_id, lease=lease_id)
            await server.client.revoke(7)
        async with running(directory=tmp_path) as server:
            assert await _leases(server.client) == [8]
            assert (await server.client.get(b"7")).count == 0
            await server.client.revoke(8)
            assert (await server.client.get(b"8")).count == 0
        async with running(directory=tmp_path) as server:
            assert await _leases(server.client) == []
            assert await server.client.revision() == 5

    asyncio.run(scenario())


def test_which_lease_a_key_is_on_survives_a_restart(tmp_path: Path) -> None:
    """TestV3LeaseRecoverKeyWithDetachedLease and TestV3LeaseRecoverKeyWithMutipleLease."""

    async def scenario() -> None:
        async with running(directory=tmp_path) as server:
            for lease_id in (7, 8):
                await server.client.grant(60, lease_id)
            await server.client.put(b"detached", lease=7)
            await server.client.put(b"detached")
            await server.client.put(b"moved", lease=7)
            await server.client.put(b"moved", lease=8)
            await server.client.put(b"deleted", lease=7)
            await server.client.delete(b"deleted")
            await server.client.put(b"kept", lease=7)
            await server.client.put(b"kept", b"v", ignore_lease=True)
        async with running(directory=tmp_path) as server:
            assert list((await server.client.time_to_live(7, keys=True)).keys) == [b"kept"]
            assert list((await server.client.time_to_live(8, keys=True)).keys) == [b"moved"]
            await server.client.revoke(7)
            assert (await server.client.get(b"kept")).count == 0
            assert (await server.client.get(b"moved")).count == 1
            assert (await server.client.get(b"detached")).count == 1
            await server.client.revoke(8)
            assert (await server.client.get(b"moved")).count == 0

    asyncio.run(scenario())


# --- all at once ---


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_lease_exists_from_the_moment_its_grant_is_answered(
    tmp_path: Path, on_disk: bool
) -> None:
    """TestV3LeaseRenewStress and TestV3LeaseTimeToLiveStress: 300 workers, grant and at once a
    keepalive, a question, a put and a revoke.
    """

    async def work(client: Client) -> None:
        lease_id = (await client.grant(60)).ID
        keeping = client.lease.LeaseKeepAlive()
        await keeping.send(pb.LeaseKeepAliveRequest(ID=lease_id))
        assert (await keeping.receive()).TTL == 60
        await keeping.half_close()
        assert await keeping.rest() == []
        assert (await client.time_to_live(lease_id)).grantedTTL == 60
        await client.put(b"%d" % lease_id, lease=lease_id)
        await client.revoke(lease_id)
        assert (await client.time_to_live(lease_id)).TTL == -1

    async def scenario() -> None:
        async with running(directory=tmp_path if on_disk else None) as server:
            await asyncio.gather(*[work(server.client) for _ in range(300)])
            stats = server.core.recovered.state.lessor.stats()
            assert (stats.leases, stats.keys) == (0, 0)
            assert await server.client.revision() == 601

    asyncio.run(scenario())
