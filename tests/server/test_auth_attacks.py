"""Ways around the rights of a user, beside the questions of the auth matrix: each is shut.

Who may do what in it: see `tests.support.attacked`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb import v3election_pb2 as epb
from etcdpb import v3lock_pb2 as lpb
from etcdpb.rpc_pb2 import Compare, RequestOp, TxnRequest
from server import status
from tests.support.attacked import DENIED, DENIED_BY_ERRAND, FOREIGN, FROM_KEY, OWN, SECRET, made
from tests.support.client import refusal
from tests.support.serving import Running, served
from tests.support.users import CHEAP
from tests.support.waits import leave, queued, waiting


def _put(key: bytes, **fields: Any) -> RequestOp:
    return RequestOp(request_put=pb.PutRequest(key=key, **fields))


def _range(key: bytes, range_end: bytes = b"", **fields: Any) -> RequestOp:
    return RequestOp(request_range=pb.RangeRequest(key=key, range_end=range_end, **fields))


def _delete(key: bytes, range_end: bytes = b"", **fields: Any) -> RequestOp:
    request = pb.DeleteRangeRequest(key=key, range_end=range_end, **fields)
    return RequestOp(request_delete_range=request)


FORBIDDEN: Final = (
    _range(b"b/key"),
    _range(b"b/key", count_only=True),
    _range(b"b/key", keys_only=True),
    _range(b"b/key", limit=1, revision=2),
    _range(b"w"),
    _range(b"a/", FROM_KEY),
    _range(b"a/", b"a0\0"),
    _range(b"a", b"a0"),
    _range(b"\0", b"\0"),
    _put(b"b/key"),
    _put(b"r"),
    _put(b"w", prev_kv=True),
    _put(b"a/1", lease=FOREIGN),
    _put(b"a0"),
    _put(b"a"),
    _delete(b"b/key"),
    _delete(b"r"),
    _delete(b"w", prev_kv=True),
    _delete(b"a/", FROM_KEY),
    _delete(b"a/", b"b/key"),
    _delete(b"\0", b"\0"),
)


def _wrapped(operation: RequestOp, depth: int, *, in_failure: bool) -> TxnRequest:
    """The operation, so many transactions deep; in branches that are taken, or are not."""
    for _ in range(depth):
        operation = RequestOp(request_txn=_branch(operation, in_failure=in_failure))
    return _branch(operation, in_failure=in_failure)


def _branch(operation: RequestOp, *, in_failure: bool) -> TxnRequest:
    return TxnRequest(failure=[operation]) if in_failure else TxnRequest(success=[operation])


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("in_failure", [False, True])
@served(bcrypt_cost=CHEAP)
async def test_nothing_that_is_forbidden_is_let_through_by_a_transaction_however_deep(
    server: Running, depth: int, in_failure: bool
) -> None:
    world = await made(server)
    before = await world.root.revision()
    for operation in FORBIDDEN:
        request = _wrapped(operation, depth, in_failure=in_failure)
        assert await refusal(world.ann.kv.Txn(request)) == DENIED, operation
        # Nor behind something that is allowed.
        request.success.insert(0, _range(b"r"))
        assert await refusal(world.ann.kv.Txn(request)) == DENIED, operation
    assert await world.root.revision() == before


@pytest.mark.parametrize(
    "compare",
    [
        Compare(key=b"b/key", target=Compare.VALUE, value=SECRET),
        Compare(key=b"b/key", target=Compare.VERSION, version=1),
        Compare(key=b"b/key", target=Compare.MOD, mod_revision=3),
        Compare(key=b"b/key", target=Compare.CREATE, create_revision=0),
        Compare(key=b"b/key", target=Compare.LEASE, lease=FOREIGN),
        Compare(key=b"w", target=Compare.VALUE, value=SECRET),
        Compare(key=b"a/", range_end=FROM_KEY, target=Compare.VERSION, version=1),
        Compare(key=b"a/", range_end=b"a0\0", target=Compare.VERSION, version=1),
    ],
)
@pytest.mark.parametrize("depth", [0, 2])
@served(bcrypt_cost=CHEAP)
async def test_a_condition_on_a_key_that_may_not_be_read_tells_nothing(
    server: Running, compare: Compare, depth: int
) -> None:
    """By the branch that is taken a value could be guessed letter by letter."""
    world = await made(server)
    request = TxnRequest(compare=[compare], success=[_put(b"a/1")], failure=[_put(b"a/2")])
    for _ in range(depth):
        request = TxnRequest(failure=[RequestOp(request_txn=request)])
    assert await refusal(world.ann.kv.Txn(request)) == DENIED


@served(bcrypt_cost=CHEAP)
async def test_a_range_in_pieces_is_a_range(server: Running) -> None:
    world = await made(server)
    for key, end in ((b"b/key", b""), (b"a/", FROM_KEY), (b"\0", b"\0"), (b"w", b"")):
        talk = world.ann.kv.RangeStream(pb.RangeRequest(key=key, range_end=end))
        assert await talk.refusal() == DENIED
    nobodys = server.client.kv.RangeStream(pb.RangeRequest(key=b"a/"))
    assert await nobodys.refusal() == status.USER_EMPTY


@served(bcrypt_cost=CHEAP)
async def test_what_was_readable_once_is_not_readable_at_an_old_revision(server: Running) -> None:
    """Rights are those of now, whatever revision is asked for."""
    world = await made(server)
    assert (await world.ann.get(b"r", revision=5)).kvs[0].value == b"readable"
    taken = pb.AuthRoleRevokePermissionRequest(role="role", key=b"r")
    await world.root.auth.RoleRevokePermission(taken)
    assert await refusal(world.ann.get(b"r", revision=5)) == DENIED
    assert await refusal(world.ann.get(b"r", serializable=True)) == DENIED


# --- leases ---


@served(bcrypt_cost=CHEAP)
async def test_a_lease_is_no_way_to_end_a_key_or_to_keep_it(server: Running) -> None:
    world = await made(server)
    assert await refusal(world.ann.revoke(FOREIGN)) == DENIED
    assert await refusal(world.ann.put(b"a/1", lease=FOREIGN)) == DENIED
    assert await refusal(world.ann.put(b"w", lease=FOREIGN)) == DENIED
    assert await refusal(world.ann.time_to_live(FOREIGN, keys=True)) == DENIED
    talk = world.ann.lease.LeaseKeepAlive()
    await talk.send(pb.LeaseKeepAliveRequest(ID=FOREIGN))
    assert await talk.refusal() == DENIED
    leases = world.ann.lease.LeaseLeases(pb.LeaseLeasesRequest())
    assert await refusal(leases) == DENIED
    assert (await world.root.get(b"b/key")).kvs[0].lease == FOREIGN


@served(bcrypt_cost=CHEAP)
async def test_to_end_a_lease_is_to_write_its_keys_and_to_see_them_is_to_read_them(
    server: Running,
) -> None:
    """`r` may be read only, `w` written only."""
    world = await made(server)
    await world.root.put(b"r", lease=FOREIGN)
    await world.root.put(b"b/key", SECRET)  # It has no lease any more.
    assert list((await world.ann.time_to_live(FOREIGN, keys=True)).keys) == [b"r"]
    assert await refusal(world.ann.put(b"a/1", lease=FOREIGN)) == DENIED
    assert await refusal(world.ann.revoke(FOREIGN)) == DENIED
    talk = world.ann.lease.LeaseKeepAlive()
    await talk.send(pb.LeaseKeepAliveRequest(ID=FOREIGN))
    assert await talk.refusal() == DENIED
    await world.root.put(b"w", SECRET, lease=OWN)
    assert await refusal(world.ann.time_to_live(OWN, keys=True)) == DENIED
    assert await refusal(world.ann.lease.LeaseLeases(pb.LeaseLeasesRequest())) == DENIED
    await world.ann.put(b"a/1", lease=OWN)
    await world.ann.revoke(OWN)


@served(bcrypt_cost=CHEAP)
async def test_a_key_that_joins_ones_own_lease_is_no_longer_ones_own_to_end(
    server: Running,
) -> None:
    """root puts its key with ann's lease; from then on the lease is not ann's either."""
    world = await made(server)
    await world.ann.put(b"a/1", lease=OWN)
    await world.root.put(b"b/other", SECRET, lease=OWN)
    for request in (
        world.ann.revoke(OWN),
        world.ann.put(b"a/2", lease=OWN),
        world.ann.time_to_live(OWN, keys=True),
    ):
        assert await refusal(request) == DENIED
    assert (await world.root.get(b"b/other")).count == 1


@served(bcrypt_cost=CHEAP)
async def test_a_lease_does_not_lead_a_transaction_around_the_check(server: Running) -> None:
    """Its keys are looked at before any of it is done, so none can be moved out of the way."""
    world = await made(server)
    moving = TxnRequest(success=[_put(b"a/leased"), _put(b"a/1", lease=FOREIGN)])
    assert await refusal(world.ann.kv.Txn(moving)) == DENIED
    ignoring = TxnRequest(success=[_put(b"r", ignore_lease=True)])
    assert await refusal(world.ann.kv.Txn(ignoring)) == DENIED


@served(bcrypt_cost=CHEAP)
async def test_the_ids_of_leases_can_be_probed_as_on_etcd(server: Running) -> None:
    """No right is asked for a TTL without keys, nor for a grant (docs/threats.md)."""
    world = await made(server)
    assert (await world.ann.time_to_live(FOREIGN)).grantedTTL == 600
    assert await refusal(world.ann.grant(60, FOREIGN)) == status.LEASE_EXISTS


# --- watches ---


@pytest.mark.parametrize(
    ("key", "range_end", "fields"),
    [
        (b"b/key", b"", {}),
        (b"w", b"", {}),
        (b"w", b"", {"prev_kv": True}),
        (b"w", b"", {"filters": [pb.WatchCreateRequest.NOPUT]}),
        (b"a/", FROM_KEY, {}),
        (b"a/", b"a0\0", {}),
        (b"a/", b"b0", {"start_revision": 2}),
        (b"", FROM_KEY, {}),
        (b"", b"", {}),
        (b"a", b"b", {"progress_notify": True}),
    ],
)
@served(bcrypt_cost=CHEAP)
async def test_a_watch_that_is_wider_than_the_right_sees_nothing_at_all(
    server: Running, key: bytes, range_end: bytes, fields: dict[str, Any]
) -> None:
    world = await made(server)
    watching = world.ann.watching()
    await watching.ask(key, range_end, **fields)
    told = await watching.receive()
    assert (told.created, told.canceled, told.watch_id, len(told.events)) == (True, True, -1, 0)
    assert told.cancel_reason.endswith(DENIED.message)
    # The stream goes on for what is allowed, and only for that.
    await watching.create(b"a/", b"a0", prev_kv=True)
    await world.root.put(b"b/key", SECRET)
    await world.root.put(b"w", SECRET)
    await world.root.put(b"a/1", b"1")
    assert [event.kv.key for event in await watching.receive_events(1)] == [b"a/1"]


# --- locks and elections ---


@served(bcrypt_cost=CHEAP)
async def test_a_lock_or_an_election_does_nothing_that_its_caller_may_not(server: Running) -> None:
    world = await made(server)
    leader = epb.LeaderKey(name=b"b", key=b"b/key", rev=3, lease=FOREIGN)
    lock, election = world.ann.lock, world.ann.election
    asked: list[Awaitable[object]] = [
        lock.Lock(lpb.LockRequest(name=b"b")),
        lock.Lock(lpb.LockRequest(name=b"a/x", lease=FOREIGN)),
        lock.Unlock(lpb.UnlockRequest(key=b"b/key")),
        lock.Unlock(lpb.UnlockRequest(key=b"r")),
        election.Campaign(epb.CampaignRequest(name=b"b", value=b"x")),
        election.Campaign(epb.CampaignRequest(name=b"a/x", value=b"x", lease=FOREIGN)),
        election.Proclaim(epb.ProclaimRequest(leader=leader, value=b"x")),
        election.Resign(epb.ResignRequest(leader=leader)),
        election.Leader(epb.LeaderRequest(name=b"b")),
    ]
    for request in asked:
        assert await refusal(request) == DENIED_BY_ERRAND
    assert await election.Observe(epb.LeaderRequest(name=b"b")).refusal() == DENIED_BY_ERRAND
    stored = (await world.root.get(b"b/key")).kvs[0]
    assert (stored.value, stored.lease) == (SECRET, FOREIGN)


@served(bcrypt_cost=CHEAP)
async def test_a_place_in_a_queue_is_given_back_by_the_server_and_nobody_elses_is(
    server: Running,
) -> None:
    """The server gives back in its own name; what it deletes is the place that it made itself."""
    world = await made(server)
    await world.root.put(b"a/q/0", SECRET)
    second = waiting(world.ann.lock.Lock(lpb.LockRequest(name=b"a/q", lease=OWN)))
    await queued(world.root, b"a/q", 2)
    await leave(second)
    await queued(world.root, b"a/q", 1)
    assert (await world.root.get(b"a/q/0")).kvs[0].value == SECRET
