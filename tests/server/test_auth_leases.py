"""Leases of keys that not everybody may write: who may use, end and see them."""

from __future__ import annotations

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import Client, refusal
from tests.support.clock import FakeClock, settle
from tests.support.serving import Running, served
from tests.support.users import (
    BOTH,
    CHEAP,
    READ,
    ROOT,
    add_role,
    add_user,
    as_user,
    enable,
    grant,
    permit,
)

L1, L2 = 1, 2


async def _ann_and_root(server: Running) -> tuple[Client, Client]:
    """Ann may read and write below `a/`."""
    await add_role(server.client, "role", permit(BOTH, b"a/", b"a0"))
    await add_user(server.client, "ann", "role")
    await enable(server.client)
    return await as_user(server, "ann"), await as_user(server, ROOT)


@served(bcrypt_cost=CHEAP)
async def test_a_lease_is_for_those_who_may_write_all_its_keys(server: Running) -> None:
    ann, root = await _ann_and_root(server)
    await ann.grant(600, L1)
    await ann.put(b"a/1", lease=L1)
    await root.put(b"b", lease=L1)
    assert await refusal(ann.put(b"a/2", lease=L1)) == status.PERMISSION_DENIED
    assert await refusal(ann.put(b"a/1", lease=L1)) == status.PERMISSION_DENIED
    assert await refusal(ann.revoke(L1)) == status.PERMISSION_DENIED
    await ann.put(b"a/1")  # It has no lease any more.
    await root.delete(b"b")
    await ann.put(b"a/2", lease=L1)
    await root.grant(600, L2)
    await root.put(b"b", lease=L2)
    await root.put(b"b", lease=L1)
    await ann.put(b"a/3", lease=L2)
    assert await refusal(ann.put(b"a/4", lease=L1)) == status.PERMISSION_DENIED
    await root.put(b"b", lease=L2)
    await ann.revoke(L1)
    assert await refusal(ann.revoke(L2)) == status.PERMISSION_DENIED


@served(bcrypt_cost=CHEAP)
async def test_rights_that_change_are_looked_at_anew(server: Running) -> None:
    ann, root = await _ann_and_root(server)
    await root.grant(600, L1)
    await root.put(b"b", lease=L1)
    assert await refusal(ann.put(b"a/1", lease=L1)) == status.PERMISSION_DENIED
    await grant(root, "role", permit(BOTH, b"b"))
    await ann.put(b"a/1", lease=L1)
    await grant(root, "role", permit(READ, b"b"))
    assert await refusal(ann.put(b"a/1", lease=L1)) == status.PERMISSION_DENIED


@served(bcrypt_cost=CHEAP)
async def test_keys_that_came_while_nobody_was_asked_count_too(server: Running) -> None:
    ann, root = await _ann_and_root(server)
    await ann.grant(600, L1)
    await ann.put(b"a/1", lease=L1)
    await root.auth.AuthDisable(pb.AuthDisableRequest())
    await server.client.put(b"b", lease=L1)
    await server.client.auth.AuthEnable(pb.AuthEnableRequest())
    ann = await as_user(server, "ann")
    assert await refusal(ann.put(b"a/1", lease=L1)) == status.PERMISSION_DENIED


@served(bcrypt_cost=CHEAP)
async def test_a_keepalive_that_is_denied_ends_the_stream(server: Running) -> None:
    """checkLeaseRenew in server/etcdserver/v3_server.go: before, whoever knew an id could."""
    ann, root = await _ann_and_root(server)
    await root.grant(600, L1)
    await root.grant(600, L2)
    await root.put(b"a/1", lease=L1)
    await root.put(b"b", lease=L2)
    talk = ann.lease.LeaseKeepAlive()
    await talk.send(pb.LeaseKeepAliveRequest(ID=L1))
    assert (await talk.receive()).TTL == 600
    await talk.send(pb.LeaseKeepAliveRequest(ID=99))
    assert (await talk.receive()).TTL == 0
    await talk.send(pb.LeaseKeepAliveRequest(ID=L2))
    assert await talk.refusal() == status.PERMISSION_DENIED
    talk = server.client.lease.LeaseKeepAlive()
    await talk.send(pb.LeaseKeepAliveRequest(ID=99))
    assert await talk.refusal() == status.USER_EMPTY


@served(bcrypt_cost=CHEAP)
async def test_a_stream_that_goes_on_is_asked_each_time(server: Running) -> None:
    ann, root = await _ann_and_root(server)
    await root.grant(600, L1)
    await root.put(b"a/1", lease=L1)
    talk = ann.lease.LeaseKeepAlive()
    await talk.send(pb.LeaseKeepAliveRequest(ID=L1))
    assert (await talk.receive()).TTL == 600
    await root.auth.RoleDelete(pb.AuthRoleDeleteRequest(role="role"))
    await talk.send(pb.LeaseKeepAliveRequest(ID=L1))
    assert await talk.refusal() == status.PERMISSION_DENIED


@served(bcrypt_cost=CHEAP)
async def test_only_who_may_read_the_keys_is_told_of_them(server: Running) -> None:
    """CVE-2023-32082, and LeaseLeases by the same rule."""
    ann, root = await _ann_and_root(server)
    await root.grant(600, L1)
    await root.put(b"a/1", lease=L1)
    assert list((await ann.time_to_live(L1, keys=True)).keys) == [b"a/1"]
    request = pb.LeaseLeasesRequest()
    assert [each.ID for each in (await ann.lease.LeaseLeases(request)).leases] == [L1]
    await root.put(b"b", lease=L1)
    assert await refusal(ann.time_to_live(L1, keys=True)) == status.PERMISSION_DENIED
    assert (await ann.time_to_live(L1)).grantedTTL == 600
    assert (await ann.time_to_live(99, keys=True)).TTL == -1
    assert await refusal(ann.lease.LeaseLeases(request)) == status.PERMISSION_DENIED
    assert await refusal(server.client.time_to_live(99)) == status.USER_EMPTY


@served(bcrypt_cost=CHEAP, clock=FakeClock)
async def test_a_lease_expires_whatever_its_keys_are(server: Running) -> None:
    """The server asks on its own account (etcd 3.5.5: an expiry must not use up a user's token)."""
    _, root = await _ann_and_root(server)
    await root.grant(5, L1)
    await root.put(b"b", lease=L1)
    await server.time.advance(5.2)
    await settle()
    assert (await root.get(b"b")).count == 0


@served(bcrypt_cost=CHEAP)
async def test_a_watch_is_asked_when_it_is_made_and_not_again(server: Running) -> None:
    """server/etcdserver/api/v3rpc/watch.go: isWatchPermitted."""
    await add_role(server.client, "role", permit(READ, b"a", b"b"))
    await add_user(server.client, "ann", "role")
    before = server.client.watching()
    await before.create(b"x")
    await enable(server.client)
    ann, root = await as_user(server, "ann"), await as_user(server, ROOT)
    own = ann.watching()
    await own.create(b"a")
    await own.ask(b"a", b"c")
    denied = await own.receive()
    assert (denied.created, denied.canceled, denied.watch_id) == (True, True, -1)
    assert denied.cancel_reason == (
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    )
    nobodys = server.client.watching()
    await nobodys.ask(b"a")
    assert (await nobodys.receive()).cancel_reason == (
        "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
    )
    await root.auth.RoleDelete(pb.AuthRoleDeleteRequest(role="role"))
    await root.put(b"a")
    await root.put(b"x")
    assert [event.kv.key for event in await own.receive_events(1)] == [b"a"]
    assert [event.kv.key for event in await before.receive_events(1)] == [b"x"]
    await own.ask(b"a")
    assert (await own.receive()).canceled
