"""Campaign, Proclaim, Leader, Observe and Resign: one leader at a time, and who hears of it."""

from __future__ import annotations

import pytest

from etcdpb.kv_pb2 import KeyValue
from etcdpb.v3election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ResignRequest,
)
from server import status
from server.services import tails
from server.status import Code, Status
from tests.support.client import Client, Talk, refusal, until
from tests.support.clock import FakeClock
from tests.support.serving import Running, served
from tests.support.waits import leave, queued, waiting


async def _campaign(client: Client, lease: int, value: bytes = b"") -> CampaignResponse:
    return await client.election.Campaign(CampaignRequest(name=b"e", lease=lease, value=value))


async def _proclaim(client: Client, leader: LeaderKey, value: bytes) -> int:
    """The revision of the reply."""
    reply = await client.election.Proclaim(ProclaimRequest(leader=leader, value=value))
    return reply.header.revision


async def _resign(client: Client, leader: LeaderKey) -> int:
    return (await client.election.Resign(ResignRequest(leader=leader))).header.revision


async def _leader(client: Client) -> KeyValue:
    return (await client.election.Leader(LeaderRequest(name=b"e"))).kv


def _observe(client: Client) -> Talk[LeaderRequest, LeaderResponse]:
    return client.election.Observe(LeaderRequest(name=b"e"))


async def _heard(talk: Talk[LeaderRequest, LeaderResponse]) -> tuple[bytes, bytes, int]:
    """Key, value and revision of the next word."""
    said = await talk.receive()
    return said.kv.key, said.kv.value, said.header.revision


@served()
async def test_the_first_to_campaign_leads(server: Running) -> None:
    client = server.client
    await client.grant(60, 0xAB)
    won = await _campaign(client, 0xAB, b"me")
    assert won.leader == LeaderKey(name=b"e", key=b"e/ab", rev=2, lease=0xAB)
    assert won.header.revision == 2
    leader = await _leader(client)
    assert (leader.key, leader.value, leader.lease) == (b"e/ab", b"me", 0xAB)


@served()
async def test_a_campaign_without_a_lease_is_given_one(server: Running) -> None:
    won = await _campaign(server.client, 0)
    assert won.leader.key == b"e/" + format(won.leader.lease, "x").encode()
    assert (await server.client.time_to_live(won.leader.lease)).grantedTTL == 60


@served()
async def test_the_next_leads_when_the_leader_resigns(server: Running) -> None:
    """TestElectionWait and TestResignElection of etcd's integration tests."""
    client = server.client
    for lease in (1, 2, 3):
        await client.grant(60, lease)
    first = await _campaign(client, 1, b"one")
    second = waiting(_campaign(client, 2, b"two"))
    await queued(client, b"e", 2)
    third = waiting(_campaign(client, 3, b"three"))
    await queued(client, b"e", 3)
    await _resign(client, first.leader)
    won = await second
    assert won.leader.key == b"e/2"
    assert won.header.revision == won.leader.rev  # Of the time when it took its place.
    assert not third.done()
    await _resign(client, won.leader)
    assert (await third).leader.key == b"e/3"


@served()
async def test_a_leader_that_campaigns_again_still_leads_and_says_its_new_value(
    server: Running,
) -> None:
    client = server.client
    await client.grant(60, 1)
    first = await _campaign(client, 1, b"one")
    again = await _campaign(client, 1, b"one")
    assert again.leader == first.leader
    assert again.header.revision == 2
    changed = await _campaign(client, 1, b"other")
    assert changed.leader == first.leader
    assert changed.header.revision == 2  # Of the campaign, which came before the new value.
    leader = await _leader(client)
    assert (leader.value, leader.create_revision, leader.mod_revision) == (b"other", 2, 3)


@served()
async def test_a_caller_who_leaves_is_no_candidate_any_more(server: Running) -> None:
    """TestElectionOnSessionRestart's counterpart: what waits and goes, leaves nothing."""
    client = server.client
    for lease in (1, 2):
        await client.grant(60, lease)
    await _campaign(client, 1)
    second = waiting(_campaign(server.connect(), 2))
    await queued(client, b"e", 2)
    await leave(second)
    await queued(client, b"e", 1)
    assert (await _leader(client)).key == b"e/1"
    await until(lambda: server.core.tails.count == 0)


@served(clock=FakeClock)
async def test_a_candidate_whose_lease_ended_does_not_come_to_lead(server: Running) -> None:
    """etcd answers such a campaign with a key that is gone, and there are two leaders."""
    client = server.client
    await client.grant(60, 1)
    await client.grant(5, 2)
    first = await _campaign(client, 1)
    second = waiting(refusal(_campaign(client, 2)))
    await queued(client, b"e", 2)
    await server.time.advance(6)
    await queued(client, b"e", 1)
    await _resign(client, first.leader)
    assert await second == status.ELECTION_NOT_LEADER


@served()
async def test_a_campaign_with_a_lease_that_is_not_there_is_refused(server: Running) -> None:
    refused = await refusal(_campaign(server.client, 9))
    assert refused == Status(Code.UNKNOWN, "etcdserver: requested lease not found")


@served()
async def test_proclaiming_changes_the_value_and_nothing_else(server: Running) -> None:
    """TestElectionProclaim... of etcd's integration tests."""
    client = server.client
    await client.grant(60, 1)
    won = await _campaign(client, 1, b"one")
    assert await _proclaim(client, won.leader, b"two") == 3
    leader = await _leader(client)
    assert (leader.value, leader.version, leader.lease) == (b"two", 2, 1)


@served()
async def test_a_leader_without_a_lease_proclaims_with_a_new_one(server: Running) -> None:
    """As on etcd, whose session grants one wherever none is named."""
    client = server.client
    await client.grant(60, 1)
    won = await _campaign(client, 1, b"one")
    await _proclaim(client, LeaderKey(key=won.leader.key, rev=won.leader.rev), b"two")
    leader = await _leader(client)
    assert leader.lease not in (0, 1)
    assert (await client.time_to_live(leader.lease)).grantedTTL == 60


@pytest.mark.parametrize(("key", "revision"), [(b"e/1", 3), (b"e/2", 2), (b"", 2)])
@served()
async def test_only_the_leader_as_it_was_elected_may_proclaim(
    server: Running, key: bytes, revision: int
) -> None:
    client = server.client
    await client.grant(60, 1)
    await _campaign(client, 1, b"one")
    stale = LeaderKey(name=b"e", key=key, rev=revision, lease=1)
    expected = status.ELECTION_NOT_LEADER
    if not key:
        expected = Status(Code.UNKNOWN, status.KEY_NOT_PROVIDED.message)
    assert await refusal(_proclaim(client, stale, b"x")) == expected
    assert (await _leader(client)).value == b"one"


@served()
async def test_who_leads_no_more_resigns_in_vain(server: Running) -> None:
    """And is not refused."""
    client = server.client
    await client.grant(60, 1)
    won = await _campaign(client, 1)
    stale = LeaderKey(name=b"e", key=won.leader.key, rev=won.leader.rev + 1, lease=1)
    assert await _resign(client, stale) == 2
    assert (await _leader(client)).key == won.leader.key
    assert await _resign(client, won.leader) == 3
    assert await _resign(client, won.leader) == 3


@served()
async def test_resigning_grants_no_lease(server: Running) -> None:
    await _resign(server.client, LeaderKey(key=b"e/1", rev=2))
    assert len(server.core.recovered.state.lessor) == 0


@served()
async def test_proclaim_and_resign_need_to_be_told_the_leader(server: Running) -> None:
    election = server.client.election
    for call in (election.Proclaim(ProclaimRequest(value=b"x")), election.Resign(ResignRequest())):
        assert await refusal(call) == status.ELECTION_LEADER_MISSING


@served()
async def test_without_a_candidate_there_is_no_leader(server: Running) -> None:
    assert await refusal(_leader(server.client)) == status.ELECTION_NO_LEADER


@served()
async def test_who_observes_hears_the_leader_and_all_it_says_then_the_next(
    server: Running,
) -> None:
    """TestElectionObserve... and the doc of Observe in client/v3/concurrency/election.go."""
    client = server.client
    for lease in (1, 2):
        await client.grant(60, lease)
    first = await _campaign(client, 1, b"one")
    talk = _observe(server.connect())
    assert await _heard(talk) == (b"e/1", b"one", 2)
    for value in (b"two", b"three"):
        await _proclaim(client, first.leader, value)
    assert await _heard(talk) == (b"e/1", b"two", 3)
    assert await _heard(talk) == (b"e/1", b"three", 4)
    second = waiting(_campaign(client, 2, b"four"))
    await queued(client, b"e", 2)
    await _resign(client, first.leader)
    assert await _heard(talk) == (b"e/2", b"four", 6)
    await second
    talk.cancel()
    await until(lambda: server.core.tails.count == 0)


@served()
async def test_who_observes_no_leader_waits_for_the_first(server: Running) -> None:
    client = server.client
    await client.grant(60, 1)
    talk = _observe(server.connect())
    await until(lambda: server.core.tails.count == 1)
    await client.put(b"else")
    won = await _campaign(client, 1, b"one")
    assert await _heard(talk) == (b"e/1", b"one", 3)
    await _resign(client, won.leader)
    await until(lambda: server.core.tails.count == 1)
    again = await _campaign(client, 1, b"two")
    assert await _heard(talk) == (b"e/1", b"two", 5)
    assert again.leader.rev == 5
    talk.cancel()


@served()
async def test_one_who_observes_slowly_misses_nothing_that_is_not_compacted(
    server: Running,
) -> None:
    """More than a tail holds: the rest comes from history."""
    client = server.client
    await client.grant(60, 1)
    won = await _campaign(client, 1, b"")
    talk = _observe(server.connect())
    assert await _heard(talk) == (b"e/1", b"", 2)
    count = 10 * tails.HELD_REVISIONS_MAX
    await server.put_many(count, b"v" * 50_000, key=won.leader.key)
    heard = [(await talk.receive()).kv.version for _ in range(count)]
    assert heard == list(range(2, count + 2))
    talk.cancel()


@served()
async def test_no_more_may_observe_than_the_bound_says(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "TAILS_MAX", 1)
    first = _observe(server.connect())
    await until(lambda: server.core.tails.count == 1)
    second = _observe(server.client)
    assert await second.refusal() == status.TOO_MANY_REQUESTS
    first.cancel()


@served()
async def test_the_end_of_the_server_ends_what_is_observed(server: Running) -> None:
    talk = _observe(server.client)
    await until(lambda: server.core.tails.count == 1)
    await server.stop_serving()
    assert await talk.refusal() == status.SERVER_STOPPED
