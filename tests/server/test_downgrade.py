"""Downgrade and MoveLeader: what one member answers to what is meant for many."""

from __future__ import annotations

import asyncio

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.memory import MemoryBackend
from server import status
from tests.support.client import Client, refusal
from tests.support.serving import Running, running, served

VALIDATE, ENABLE = pb.DowngradeRequest.VALIDATE, pb.DowngradeRequest.ENABLE
CANCEL = pb.DowngradeRequest.CANCEL


async def _downgrade(client: Client, action: int, version: str = "") -> pb.DowngradeResponse:
    request = pb.DowngradeRequest(
        action=action,  # type: ignore[arg-type]  # enums are open
        version=version,
    )
    return await client.maintenance.Downgrade(request)


async def _info(client: Client) -> tuple[bool, str]:
    reply = await client.maintenance.Status(pb.StatusRequest())
    assert reply.HasField("downgradeInfo")
    return reply.downgradeInfo.enabled, reply.downgradeInfo.targetVersion


@pytest.mark.parametrize("version", ["3.5", "3.5.0", "3.5.17", "3.5.0-rc.1", "03.5"])
@served()
async def test_one_minor_version_down_is_valid(server: Running, version: str) -> None:
    reply = await _downgrade(server.client, VALIDATE, version)
    assert reply.version == "3.6.0"
    assert reply.header.revision == 1
    assert await _info(server.client) == (False, "")


@pytest.mark.parametrize("action", [VALIDATE, ENABLE])
@pytest.mark.parametrize("version", ["3.4", "3.6", "3.6.0", "3.7", "4.5", "2.5.0"])
@served()
async def test_any_other_version_is_not(server: Running, action: int, version: str) -> None:
    refused = await refusal(_downgrade(server.client, action, version))
    assert refused == status.DOWNGRADE_VERSION


@pytest.mark.parametrize("action", [VALIDATE, ENABLE])
@pytest.mark.parametrize("version", ["", "junk", "3", "3.5.0.0", "v3.5", "3.-5"])
@served()
async def test_what_is_no_version_is_told_so(server: Running, action: int, version: str) -> None:
    refused = await refusal(_downgrade(server.client, action, version))
    assert refused == status.DOWNGRADE_VERSION_FORMAT


@served()
async def test_a_downgrade_is_on_until_it_is_cancelled(server: Running) -> None:
    client = server.client
    assert (await _downgrade(client, ENABLE, "3.5")).version == "3.6.0"
    assert await _info(client) == (True, "3.5.0")
    for action in (VALIDATE, ENABLE):
        refused = await refusal(_downgrade(client, action, "3.5"))
        assert refused == status.DOWNGRADE_IN_PROCESS
    assert (await _downgrade(client, CANCEL)).version == "3.6.0"
    assert await _info(client) == (False, "")
    await _downgrade(client, ENABLE, "3.5")


@served()
async def test_cancelling_none_is_answered_all_the_same(server: Running) -> None:
    """etcd 3.5 refuses it; 3.6 logs it."""
    assert (await _downgrade(server.client, CANCEL)).version == "3.6.0"


@served()
async def test_an_action_that_is_none_is_unknown(server: Running) -> None:
    assert await refusal(_downgrade(server.client, 3, "3.5")) == status.UNKNOWN_METHOD


def test_a_downgrade_and_the_size_of_what_notes_it_survive_a_restart() -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            before = server.core.recovered.state.store.in_use
            await _downgrade(server.client, ENABLE, "3.5")
            noted = server.core.recovered.state.store.in_use
            assert noted > before
        async with running(backend=backend) as server:
            assert server.core.recovered.state.store.in_use == noted
            assert await _info(server.client) == (True, "3.5.0")
            await _downgrade(server.client, CANCEL)
            assert server.core.recovered.state.store.in_use == before

    asyncio.run(scenario())


@served()
async def test_leadership_moves_to_the_only_member_and_nowhere_else(server: Running) -> None:
    maintenance = server.client.maintenance
    me = server.core.recovered.identity.member_id
    reply = await maintenance.MoveLeader(pb.MoveLeaderRequest(targetID=me))
    assert reply == pb.MoveLeaderResponse()
    for target in (0, 5):
        refused = await refusal(maintenance.MoveLeader(pb.MoveLeaderRequest(targetID=target)))
        assert refused == status.BAD_LEADER_TRANSFEREE
