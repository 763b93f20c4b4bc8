"""grpc-python: elections that the server holds."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from compat.differences import differs
from compat.grpc_python import Client, election, refused, rpc
from compat.targets import Target
from compat.waiting import wait_until

UNKNOWN = grpc.StatusCode.UNKNOWN
NOT_LEADER = (UNKNOWN, "election: not leader")
NO_LEADER = (UNKNOWN, "election: no leader")


def campaign(client: Client, name: str, value: str, lease: int = 0) -> Any:
    """A Campaign call that is under way."""
    request = election.CampaignRequest(name=name.encode(), value=value.encode(), lease=lease)
    return client.Election.Campaign.future(request, timeout=20)


def proclaim(client: Client, leader: election.LeaderKey, value: str) -> Any:
    request = election.ProclaimRequest(leader=leader, value=value.encode())
    return client.Election.Proclaim(request, timeout=20)


def resign(client: Client, leader: election.LeaderKey) -> Any:
    return client.Election.Resign(election.ResignRequest(leader=leader), timeout=20)


def leader_of(client: Client, name: str) -> Any:
    return client.Election.Leader(election.LeaderRequest(name=name.encode()), timeout=20).kv


def queued(client: Client, name: str) -> int:
    return client.get(f"{name}/", range_end=f"{name}0".encode(), count_only=True).count


def test_the_first_leads_and_the_next_when_it_resigns(client: Client, prefix: str) -> None:
    name, lease = f"{prefix}election", client.grant(60).ID
    won = campaign(client, name, "one", lease).result()
    key = f"{name}/{lease:x}".encode()
    assert won.leader == election.LeaderKey(
        name=name.encode(), key=key, rev=won.header.revision, lease=lease
    )
    told = leader_of(client, name)
    assert (told.key, told.value, told.lease) == (key, b"one", lease)
    second = campaign(client, name, "two")
    wait_until(lambda: queued(client, name) == 2)
    resign(client, won.leader)
    after = second.result()
    assert after.header.revision == after.leader.rev
    assert leader_of(client, name).value == b"two"
    resign(client, after.leader)
    with pytest.raises(grpc.RpcError) as error:
        leader_of(client, name)
    assert refused(error) == NO_LEADER


def test_campaigning_again_says_the_new_value(client: Client, prefix: str) -> None:
    name, lease = f"{prefix}election", client.grant(60).ID
    first = campaign(client, name, "one", lease).result()
    again = campaign(client, name, "other", lease).result()
    assert again.leader == first.leader
    assert again.header.revision == first.header.revision
    told = leader_of(client, name)
    assert (told.value, told.version) == (b"other", 2)


def test_a_cancelled_campaign_is_none(connect: Callable[..., Client], prefix: str) -> None:
    client, name = connect(), f"{prefix}election"
    campaign(client, name, "one").result()
    call = campaign(connect(), name, "two")
    wait_until(lambda: queued(client, name) == 2)
    call.cancel()
    wait_until(lambda: queued(client, name) == 1)
    assert leader_of(client, name).value == b"one"


def test_only_the_leader_as_elected_proclaims(client: Client, prefix: str) -> None:
    name = f"{prefix}election"
    leader = campaign(client, name, "one").result().leader
    proclaim(client, leader, "two")
    assert leader_of(client, name).value == b"two"
    stale = election.LeaderKey()
    stale.CopyFrom(leader)
    stale.rev += 1
    with pytest.raises(grpc.RpcError) as error:
        proclaim(client, stale, "three")
    assert refused(error) == NOT_LEADER
    resign(client, stale)  # In vain, and not refused.
    assert leader_of(client, name).value == b"two"


def test_a_leader_without_a_lease_proclaims_with_a_new_one(client: Client, prefix: str) -> None:
    name = f"{prefix}election"
    leader = campaign(client, name, "one").result().leader
    proclaim(client, election.LeaderKey(key=leader.key, rev=leader.rev), "two")
    assert leader_of(client, name).lease not in (0, leader.lease)


def test_the_leader_must_be_named(client: Client) -> None:
    for method, request in (
        (client.Election.Proclaim, election.ProclaimRequest()),
        (client.Election.Resign, election.ResignRequest()),
    ):
        with pytest.raises(grpc.RpcError) as error:
            method(request)
        assert refused(error) == (UNKNOWN, '"leader" field must be provided')


def test_a_lease_that_is_not_there_is_refused(client: Client, prefix: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        campaign(client, f"{prefix}election", "one", 4_811).result()
    assert refused(error) == (UNKNOWN, "etcdserver: requested lease not found")


def test_who_observes_hears_every_word_in_order(client: Client, prefix: str) -> None:
    name = f"{prefix}election"
    observing = client.Election.Observe(election.LeaderRequest(name=name.encode()), timeout=40)
    first = campaign(client, name, "one").result()
    heard = next(observing)
    assert (heard.kv.key, heard.kv.value) == (first.leader.key, b"one")
    assert heard.header.revision == first.header.revision
    for value in ("two", "three"):
        revision = proclaim(client, first.leader, value).header.revision
        heard = next(observing)
        assert (heard.kv.value, heard.header.revision) == (value.encode(), revision)
    second = campaign(client, name, "four")
    wait_until(lambda: queued(client, name) == 2)
    resign(client, first.leader)
    heard = next(observing)
    assert (heard.kv.key, heard.kv.value) == (second.result().leader.key, b"four")
    observing.cancel()


def test_a_candidate_whose_lease_is_gone_does_not_come_to_lead(
    connect: Callable[..., Client], prefix: str, target: Target
) -> None:
    client, name = connect(), f"{prefix}election"
    first = campaign(client, name, "one").result()
    lease = client.grant(60).ID
    second = campaign(client, name, "two", lease)
    wait_until(lambda: queued(client, name) == 2)
    client.Lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease))
    resign(client, first.leader)
    if differs("campaign-without-a-lease", target):
        with pytest.raises(grpc.RpcError) as error:
            second.result()
        assert refused(error) == NOT_LEADER
    else:
        assert second.result().leader.lease == lease
    assert queued(client, name) == 0
