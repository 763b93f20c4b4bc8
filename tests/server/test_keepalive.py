"""Keepalives and expiry: a lease is never early, and late by no more than a tick."""

from __future__ import annotations

from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import Client, Talk, refusal, until
from tests.support.clock import FakeClock
from tests.support.serving import Running, served

LATE_S: Final = 0.1  # An idle server revokes within one tick of the deadline.

Keeping = Talk[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]


async def _renew(keeping: Keeping, lease_id: int) -> int:
    await keeping.send(pb.LeaseKeepAliveRequest(ID=lease_id))
    reply = await keeping.receive()
    assert lease_id == reply.ID
    return reply.TTL


async def _exists(client: Client, lease_id: int) -> bool:
    return (await client.time_to_live(lease_id)).TTL >= 0


# --- renewing ---


@served(clock=FakeClock)
async def test_a_lease_lives_as_long_as_it_is_renewed_and_no_longer(server: Running) -> None:
    """TestV3LeaseKeepAlive: three renewals, each after most of the TTL; then the key goes."""
    await server.client.grant(5, 7)
    await server.client.put(b"a", lease=7)
    keeping = server.client.lease.LeaseKeepAlive()
    for _ in range(3):
        await server.time.advance(4.5)
        assert await _renew(keeping, 7) == 5
    await server.time.advance(4.9)
    assert (await server.client.get(b"a")).count == 1
    await server.time.advance(0.1 + LATE_S)
    assert (await server.client.get(b"a")).count == 0
    assert await _renew(keeping, 7) == 0


@pytest.mark.parametrize("lease_id", [0, 9, -9])
@served()
async def test_a_lease_that_is_not_there_is_answered_with_ttl_0_and_the_stream_goes_on(
    server: Running, lease_id: int
) -> None:
    await server.client.grant(60, 7)
    keeping = server.client.lease.LeaseKeepAlive()
    assert await _renew(keeping, lease_id) == 0
    assert await _renew(keeping, 7) == 60


@served()
async def test_a_revoked_lease_is_answered_with_ttl_0(server: Running) -> None:
    """TestV3LeaseRevoke's end; the header is of a time not before the revoke."""
    await server.client.grant(60, 7)
    await server.client.put(b"a", lease=7)
    keeping = server.client.lease.LeaseKeepAlive()
    assert await _renew(keeping, 7) == 60
    await server.client.revoke(7)
    await keeping.send(pb.LeaseKeepAliveRequest(ID=7))
    reply = await keeping.receive()
    assert (reply.TTL, reply.header.revision) == (0, 3)


@served()
async def test_replies_come_in_the_order_of_the_requests_over_any_leases(
    server: Running,
) -> None:
    for lease_id in range(1, 11):
        await server.client.grant(50 + lease_id, lease_id)
    keeping = server.client.lease.LeaseKeepAlive()
    asked = [number % 12 for number in range(200)]
    for lease_id in asked:
        await keeping.send(pb.LeaseKeepAliveRequest(ID=lease_id))
    for lease_id in asked:
        reply = await keeping.receive()
        assert lease_id == reply.ID
        assert (50 + lease_id if 1 <= lease_id <= 10 else 0) == reply.TTL


@served()
async def test_after_a_half_close_all_is_answered_and_the_stream_ends_well(
    server: Running,
) -> None:
    """python-etcd3 asks once and half-closes; jetcd asks twice."""
    await server.client.grant(60, 7)
    for times in (0, 1, 2):
        keeping = server.client.lease.LeaseKeepAlive()
        for _ in range(times):
            await keeping.send(pb.LeaseKeepAliveRequest(ID=7))
        await keeping.half_close()
        assert [reply.TTL for reply in await keeping.rest()] == [60] * times
    await until(lambda: server.streams == 0)


@served(clock=FakeClock)
async def test_one_reply_is_enough_to_have_lived_the_full_ttl_from_it(server: Running) -> None:
    """The deadline counts from the last acknowledged renewal."""
    await server.client.grant(5, 7)
    await server.time.advance(3)
    keeping = server.client.lease.LeaseKeepAlive()
    assert await _renew(keeping, 7) == 5
    keeping.cancel()
    await server.time.advance(4.9)
    assert await _exists(server.client, 7)
    assert (await server.client.time_to_live(7)).TTL == 0
    await server.time.advance(0.1 + LATE_S)
    assert not await _exists(server.client, 7)


@served()
async def test_a_server_that_is_not_primary_knows_no_deadlines(server: Running) -> None:
    """Code Unknown, as the error stands in no table of etcd's; leases are still listed."""
    await server.client.grant(60, 7)
    server.core.recovered.state.lessor.demote()
    keeping = server.client.lease.LeaseKeepAlive()
    await keeping.send(pb.LeaseKeepAliveRequest(ID=7))
    assert await keeping.refusal() == status.NOT_PRIMARY
    assert await refusal(server.client.time_to_live(7)) == status.NOT_PRIMARY
    listed = await server.client.lease.LeaseLeases(pb.LeaseLeasesRequest())
    assert [each.ID for each in listed.leases] == [7]


# --- expiry ---


@pytest.mark.parametrize("ttl", [2, 3, 10])
@served(clock=FakeClock)
async def test_a_lease_is_never_early_and_late_by_a_tick_at_most(server: Running, ttl: int) -> None:
    """TestV3LeaseExpire; etcd is up to half a second late on an idle server."""
    await server.client.grant(ttl, 7)
    await server.client.put(b"a", lease=7)
    await server.time.advance(ttl - 0.01)
    assert (await server.client.get(b"a")).count == 1
    await server.time.advance(0.01 + LATE_S)
    reply = await server.client.get(b"a")
    assert (reply.count, reply.header.revision) == (0, 3)
    assert (await server.client.time_to_live(7)).grantedTTL == 0
    assert await refusal(server.client.put(b"a", lease=7)) == status.LEASE_NOT_FOUND
    assert await refusal(server.client.revoke(7)) == status.LEASE_NOT_FOUND


@served(clock=FakeClock)
async def test_leases_due_together_go_together_each_at_a_revision_of_its_own(
    server: Running,
) -> None:
    for lease_id in range(1, 101):
        await server.client.grant(5, lease_id)
        await server.client.put(b"%03d" % lease_id, lease=lease_id)
    watching = server.client.watching()
    await watching.create(b"\0", b"\0")
    await server.time.advance(5 + LATE_S)
    revisions = [event.kv.mod_revision for event in await watching.receive_events(100)]
    assert revisions == list(range(102, 202))
    assert server.core.recovered.state.lessor.stats().leases == 0


@served(clock=FakeClock)
async def test_an_expired_lease_without_keys_leaves_no_trace(server: Running) -> None:
    await server.client.grant(2, 7)
    await server.time.advance(2 + LATE_S)
    assert (await server.client.grant(2, 7)).header.revision == 1


@served(clock=FakeClock)
async def test_a_renewal_that_comes_too_late_ends_the_lease_now_and_holds_up_nobody(
    server: Running,
) -> None:
    """etcd lets it wait for the expiry, and all behind it on the stream with it."""
    await server.client.grant(2, 7)
    await server.client.put(b"a", lease=7)
    await server.client.grant(60, 8)
    keeping = server.client.lease.LeaseKeepAlive()
    assert await _renew(keeping, 8) == 60
    await server.time.advance(1.9)
    server.time.jump(0.2)  # Due, and the expirer has not looked yet.
    assert server.core.recovered.state.lessor.stats().leases == 2
    for lease_id in (7, 8):
        await keeping.send(pb.LeaseKeepAliveRequest(ID=lease_id))
    assert [(await keeping.receive()).TTL for _ in range(2)] == [0, 60]
    assert (await server.client.get(b"a")).count == 0


@served(clock=FakeClock)
async def test_what_is_due_and_not_yet_gone_still_exists(server: Running) -> None:
    """It is listed, can be put on and revoked, and has 0 seconds left."""
    await server.client.grant(2, 7)
    await server.time.advance(1.9)
    server.time.jump(0.2)
    told = await server.client.time_to_live(7)
    assert (told.TTL, told.grantedTTL) == (0, 2)
    listed = await server.client.lease.LeaseLeases(pb.LeaseLeasesRequest())
    assert [each.ID for each in listed.leases] == [7]
    assert await refusal(server.client.grant(2, 7)) == status.LEASE_EXISTS
    await server.client.put(b"a", lease=7)
    await server.client.revoke(7)
    assert (await server.client.get(b"a")).count == 0


@served(clock=FakeClock)
async def test_after_a_stall_who_asked_in_time_is_heard_before_anything_expires(
    server: Running,
) -> None:
    """The process stood still past the deadline; the keepalive waited in the socket."""
    await server.client.grant(5, 7)
    await server.client.grant(5, 8)
    keeping = server.client.lease.LeaseKeepAlive()
    assert await _renew(keeping, 7) == 5
    await server.time.advance(4)
    server.time.jump(60)
    assert await _renew(keeping, 7) == 5
    await server.time.advance(1)
    assert await _exists(server.client, 7)
    assert not await _exists(server.client, 8)
    await server.time.advance(4 + LATE_S)
    assert not await _exists(server.client, 7)


@served(clock=FakeClock, lease_revoke_rate=10)
async def test_a_cap_spreads_what_is_due_together(server: Running) -> None:
    """--lease-revoke-rate: no more than that in any second, and all of them in the end."""
    for lease_id in range(1, 31):
        await server.client.grant(5, lease_id)
    lessor = server.core.recovered.state.lessor
    await server.time.advance(5 + LATE_S)
    assert len(lessor) == 20
    await server.time.advance(0.8)
    assert len(lessor) == 20
    await server.time.advance(0.2)
    assert len(lessor) == 10
    await server.time.advance(2)
    assert len(lessor) == 0
