"""Cluster of one: what a single member can do, and with which words it refuses the rest."""

from __future__ import annotations

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from server import status
from server.recovery import RecoveryError
from server.settings.urls import parse_urls
from tests.support.client import Client, refusal
from tests.support.loop import run_in_loop
from tests.support.serving import Running, running, served

STRANGER = 5


async def _member(client: Client, *, linearizable: bool = False) -> pb.Member:
    listed = await client.cluster.MemberList(pb.MemberListRequest(linearizable=linearizable))
    (member,) = listed.members
    return member


async def _update(client: Client, member_id: int, *urls: str) -> pb.MemberUpdateResponse:
    return await client.cluster.MemberUpdate(pb.MemberUpdateRequest(ID=member_id, peerURLs=urls))


@pytest.mark.parametrize("linearizable", [False, True])
@served(
    name="one",
    advertise_client_urls=parse_urls("http://a:1,http://b:2"),
    initial_advertise_peer_urls=parse_urls("http://p:3"),
    initial_cluster="one=http://p:3",
)
async def test_the_one_member_is_as_the_flags_say(server: Running, linearizable: bool) -> None:
    request = pb.MemberListRequest(linearizable=linearizable)
    listed = await server.client.cluster.MemberList(request)
    assert (listed.header.revision, listed.header.raft_term) == (0, 2)
    (member,) = listed.members
    assert member == pb.Member(
        ID=listed.header.member_id,
        name="one",
        peerURLs=["http://p:3"],
        clientURLs=["http://a:1", "http://b:2"],
    )


@served()
async def test_the_members_peer_urls_are_changed_to_whatever_is_asked(server: Running) -> None:
    """Clients dial the client URLs; of the others etcd 3.5 takes any text, and no text, too."""
    client = server.client
    me = await _member(client)
    for urls in (["http://a:1", "http://b:2"], ["no url"], []):
        updated = await _update(client, me.ID, *urls)
        assert updated.header.revision == 0
        (member,) = updated.members
        assert list(member.peerURLs) == urls
        assert (member.name, member.clientURLs) == (me.name, me.clientURLs)
        assert await _member(client) == member


def test_changed_peer_urls_survive_a_restart_and_its_flags() -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            me = await _member(server.client)
            await _update(server.client, me.ID, "http://a:1")
            in_use = server.core.recovered.state.store.in_use
        flags = parse_urls("http://b:2")
        async with running(
            backend=backend, initial_advertise_peer_urls=flags, initial_cluster=""
        ) as server:
            assert list((await _member(server.client)).peerURLs) == ["http://a:1"]
            assert server.core.recovered.state.store.in_use == in_use

    run_in_loop(scenario())


@pytest.mark.parametrize("row", [b"{", b"7", b"\xff"])
def test_a_decision_that_cannot_be_read_is_refused_at_the_start(row: bytes) -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend):
            pass
        batch = backend.batch()
        batch.put(Column.CLUSTER, b"peerURLs", row)
        backend.write(batch)
        with pytest.raises(RecoveryError, match="cluster"):
            async with running(backend=backend):
                pass

    run_in_loop(scenario())


@pytest.mark.parametrize(
    "urls",
    [
        [],
        [""],
        ["junk"],
        ["http://a:1/path"],
        ["ftp://a:1"],
        ["http://a"],
        ["http://a:1", "junk"],
    ],
)
@served()
async def test_a_member_at_no_address_is_not_added(server: Running, urls: list[str]) -> None:
    request = pb.MemberAddRequest(peerURLs=urls)
    assert await refusal(server.client.cluster.MemberAdd(request)) == status.MEMBER_BAD_URLS


@pytest.mark.parametrize("is_learner", [False, True])
@served()
async def test_a_second_member_is_not_added(server: Running, is_learner: bool) -> None:
    """etcd adds it, and stands still until that member has started."""
    add = server.client.cluster.MemberAdd
    for url, expected in (
        ("http://localhost:2380", status.PEER_URL_EXISTS),
        (" http://localhost:2380 ", status.PEER_URL_EXISTS),
        ("http://localhost:2381", status.NOT_ENOUGH_STARTED),
    ):
        request = pb.MemberAddRequest(peerURLs=[url], isLearner=is_learner)
        assert await refusal(add(request)) == expected
    await server.client.put(b"a")


@served()
async def test_the_only_member_stays_and_is_no_learner(server: Running) -> None:
    cluster, me = server.client.cluster, (await _member(server.client)).ID
    remove, promote = pb.MemberRemoveRequest(ID=me), pb.MemberPromoteRequest(ID=me)
    assert await refusal(cluster.MemberRemove(remove)) == status.NOT_ENOUGH_STARTED
    assert await refusal(cluster.MemberPromote(promote)) == status.MEMBER_NOT_LEARNER


@served()
async def test_a_member_that_is_not_there_is_told_so(server: Running) -> None:
    cluster = server.client.cluster
    for call in (
        cluster.MemberRemove(pb.MemberRemoveRequest(ID=STRANGER)),
        cluster.MemberPromote(pb.MemberPromoteRequest(ID=STRANGER)),
        _update(server.client, STRANGER, "http://a:1"),
    ):
        assert await refusal(call) == status.MEMBER_NOT_FOUND
