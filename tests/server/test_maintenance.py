"""Status and Alarm: what operators and clients' probes read."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.memory import MemoryBackend
from server import status
from tests.support.client import Client, refusal
from tests.support.ops import delete, get, nested, put, txn
from tests.support.serving import Running, running, served

GET, ACTIVATE = pb.AlarmRequest.GET, pb.AlarmRequest.ACTIVATE
DEACTIVATE = pb.AlarmRequest.DEACTIVATE
NONE, NOSPACE, CORRUPT = pb.AlarmType.NONE, pb.AlarmType.NOSPACE, pb.AlarmType.CORRUPT
MEMBER: Final = 5  # Any: member ids of alarms are not validated.


async def _status(client: Client) -> pb.StatusResponse:
    return await client.maintenance.Status(pb.StatusRequest())


async def _alarm(
    client: Client, action: int, alarm: int = NONE, member: int = 0
) -> list[tuple[int, int]]:
    request = pb.AlarmRequest(
        action=action,  # type: ignore[arg-type]  # enums are open
        memberID=member,
        alarm=alarm,  # type: ignore[arg-type]  # as above
    )
    reply = await client.maintenance.Alarm(request)
    return [(each.memberID, each.alarm) for each in reply.alarms]


# --- Status ---


@served()
async def test_status_answers_as_the_etcd_it_stands_for(server: Running) -> None:
    """kube-apiserver parses the version, and needs 3.5.13 or newer to ask for progress."""
    reply = await _status(server.client)
    assert (reply.version, reply.storageVersion) == ("3.6.14", "3.6.0")
    assert reply.leader == reply.header.member_id != 0
    assert (reply.raftTerm, reply.isLearner, list(reply.errors)) == (2, False, [])
    assert reply.raftTerm == reply.header.raft_term
    assert reply.header.revision == 1
    assert reply.dbSize >= reply.dbSizeInUse


@served()
async def test_the_raft_index_grows_with_every_change_and_stays_without(server: Running) -> None:
    first = await _status(server.client)
    await server.client.put(b"a", b"v" * 100)
    second = await _status(server.client)
    assert second.raftIndex >= second.raftAppliedIndex > first.raftIndex
    assert second.dbSizeInUse >= first.dbSizeInUse + 100
    await server.client.get(b"a")
    assert (await _status(server.client)).raftIndex == second.raftIndex


@served()
async def test_a_compaction_frees_what_is_in_use_and_leaves_the_size(server: Running) -> None:
    """As bbolt's file: the size shrinks by defragmentation only."""
    for _ in range(5):
        await server.client.put(b"a", b"v" * 100)
    before = await _status(server.client)
    await server.client.compact(6, physical=True)
    after = await _status(server.client)
    assert after.dbSizeInUse < before.dbSizeInUse - 400
    assert after.dbSize == before.dbSize


@served()
async def test_errors_name_each_alarm_in_gos_text_form(server: Running) -> None:
    """A trailing space, and a zero member left out, as the text form of AlarmMember has it."""
    await _alarm(server.client, ACTIVATE, NOSPACE, MEMBER)
    await _alarm(server.client, ACTIVATE, CORRUPT, 2**64 - 1)
    await _alarm(server.client, ACTIVATE, NOSPACE, 0)
    assert list((await _status(server.client)).errors) == [
        "memberID:5 alarm:NOSPACE ",
        "memberID:18446744073709551615 alarm:CORRUPT ",
        "alarm:NOSPACE ",
    ]


def test_term_and_index_do_not_go_back_over_a_restart_and_the_ids_stay() -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            await server.client.put(b"a")
            before = await _status(server.client)
        async with running(backend=backend) as server:
            after = await _status(server.client)
        assert after.raftTerm == before.raftTerm + 1
        assert after.raftIndex >= before.raftIndex
        assert after.header.member_id == before.header.member_id
        assert after.header.cluster_id == before.header.cluster_id
        assert after.header.revision == before.header.revision == 2
        assert after.dbSizeInUse == before.dbSizeInUse

    asyncio.run(scenario())


# --- Alarm ---


@served()
async def test_alarms_are_listed_by_type_or_all(server: Running) -> None:
    client = server.client
    assert await _alarm(client, GET) == []
    assert await _alarm(client, ACTIVATE, NOSPACE, MEMBER) == [(MEMBER, NOSPACE)]
    assert await _alarm(client, ACTIVATE, NOSPACE, MEMBER) == [(MEMBER, NOSPACE)]
    assert await _alarm(client, ACTIVATE, CORRUPT, 6) == [(6, CORRUPT)]
    assert await _alarm(client, GET) == [(MEMBER, NOSPACE), (6, CORRUPT)]
    assert await _alarm(client, GET, NOSPACE) == [(MEMBER, NOSPACE)]
    assert await _alarm(client, GET, CORRUPT) == [(6, CORRUPT)]


@served()
async def test_an_alarm_ends_for_the_member_and_type_named(server: Running) -> None:
    """Ending one that does not stand succeeds and ends none."""
    client = server.client
    await _alarm(client, ACTIVATE, NOSPACE, MEMBER)
    await _alarm(client, ACTIVATE, NOSPACE, 6)
    assert await _alarm(client, DEACTIVATE, NOSPACE, 7) == []
    assert await _alarm(client, DEACTIVATE, CORRUPT, MEMBER) == []
    assert await _alarm(client, DEACTIVATE, NOSPACE, MEMBER) == [(MEMBER, NOSPACE)]
    assert await _alarm(client, GET) == [(6, NOSPACE)]
    assert await _alarm(client, DEACTIVATE, NOSPACE, MEMBER) == []


@pytest.mark.parametrize("action", [ACTIVATE, DEACTIVATE])
@served()
async def test_no_alarm_is_neither_raised_nor_ended(server: Running, action: int) -> None:
    await _alarm(server.client, ACTIVATE, NOSPACE, MEMBER)
    assert await _alarm(server.client, action, NONE, MEMBER) == []
    assert await _alarm(server.client, GET) == [(MEMBER, NOSPACE)]


@served()
async def test_an_unknown_action_does_nothing(server: Running) -> None:
    """etcd 3.5 ends its process over it."""
    await _alarm(server.client, ACTIVATE, NOSPACE, MEMBER)
    assert await _alarm(server.client, 3, NOSPACE, MEMBER) == []
    assert await _alarm(server.client, GET) == [(MEMBER, NOSPACE)]


@served()
async def test_a_space_alarm_of_any_member_blocks_what_needs_space_until_it_ends(
    server: Running,
) -> None:
    """TestV3AlarmDeactivate: raised by hand for an arbitrary member, with room to spare."""
    client = server.client
    lease = (await client.grant(60)).ID
    await client.put(b"a")
    await _alarm(client, ACTIVATE, NOSPACE, 123)
    refused = status.NO_SPACE
    assert await refusal(client.put(b"a")) == refused
    assert await refusal(client.grant(60)) == refused
    assert await refusal(client.kv.Txn(txn([get(b"a")], failure=[put(b"a")]))) == refused
    await client.kv.Txn(txn([get(b"a"), nested([delete(b"b")])]))
    assert (await client.delete(b"a")).deleted == 1
    await client.revoke(lease)
    await client.compact(2)
    await _alarm(client, DEACTIVATE, NOSPACE, 123)
    await client.put(b"a")
    await client.grant(60)


@served()
async def test_under_a_space_alarm_a_faulty_request_is_told_its_fault(server: Running) -> None:
    """The alarm speaks at the apply; the form of the request was checked before."""
    await _alarm(server.client, ACTIVATE, NOSPACE, MEMBER)
    assert await refusal(server.client.put(b"")) == status.KEY_NOT_PROVIDED
    assert await refusal(server.client.put(b"a", lease=9)) == status.NO_SPACE
    twice = txn([put(b"a"), put(b"a")])
    assert await refusal(server.client.kv.Txn(twice)) == status.DUPLICATE_KEY


@served()
async def test_a_corruption_alarm_blocks_every_write_and_no_read(server: Running) -> None:
    """TestV3CorruptAlarm: corrupt beats no space; reads are not applied, so they answer."""
    client = server.client
    lease = (await client.grant(60)).ID
    await client.put(b"a")
    await _alarm(client, ACTIVATE, NOSPACE, MEMBER)
    await _alarm(client, ACTIVATE, CORRUPT, MEMBER)
    refused = status.CORRUPT
    assert await refusal(client.put(b"a")) == refused
    assert await refusal(client.delete(b"a")) == refused
    assert await refusal(client.kv.Txn(txn([delete(b"a")]))) == refused
    assert await refusal(client.compact(2)) == refused
    assert await refusal(client.grant(60)) == refused
    assert await refusal(client.revoke(lease)) == refused
    assert (await client.get(b"a")).count == 1
    assert (await client.kv.Txn(txn([get(b"a")]))).succeeded
    assert (await client.time_to_live(lease)).grantedTTL == 60
    await _alarm(client, DEACTIVATE, CORRUPT, MEMBER)
    assert (await client.delete(b"a")).deleted == 1


def test_alarms_listed_many_times_do_not_hinder_a_restart() -> None:
    """TestAlarmlistOnMemberRestart."""

    async def scenario() -> None:
        backend = MemoryBackend()
        async with running(backend=backend) as server:
            for _ in range(6):
                assert await _alarm(server.client, GET) == []
            await _alarm(server.client, ACTIVATE, CORRUPT, 2**64 - 1)
        async with running(backend=backend) as server:
            assert await _alarm(server.client, GET) == [(2**64 - 1, CORRUPT)]

    asyncio.run(scenario())
