"""python-etcd3: members, status, hash, alarms, defragmentation, and the life of a connection."""

import re

import grpc
import pytest

from compat.python_etcd3 import Connect, etcd3, refused
from compat.targets import Server
from compat.waiting import wait_until


def test_the_only_member_leads(client: etcd3.Etcd3Client, server: Server, prefix: str) -> None:
    client.put(f"{prefix}key", "value")  # An empty store of Tenure's has no size.
    [member] = client.members
    assert list(member.client_urls) == [server.url]
    assert member.id != 0
    status = client.status()
    assert status.leader.id == member.id
    assert re.fullmatch(r"\d+\.\d+\.\d+", status.version)
    assert status.db_size > 0
    assert status.raft_index > 0
    assert status.raft_term >= 1
    assert list(member.active_alarms) == []


def test_every_answer_has_the_same_cluster_and_member(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    [member] = client.members
    headers = [
        client.put(f"{prefix}key", "1").header,
        client.get_response(f"{prefix}key").header,
        client.delete(f"{prefix}key", return_response=True).header,
        client.get_lease_info(client.lease(600).id).header,
    ]
    assert len({header.cluster_id for header in headers}) == 1
    assert {header.member_id for header in headers} == {member.id}
    revisions = [header.revision for header in headers]
    first = revisions[0]
    assert revisions == [first, first, first + 1, first + 1]
    assert all(header.raft_term >= 1 for header in headers)


@pytest.mark.usefixtures("fresh_server")
def test_the_hash_is_a_number_and_survives_defragmentation(client: etcd3.Etcd3Client) -> None:
    client.put("key", "value")
    assert 0 < client.hash() < 2**32
    client.defragment()
    assert client.get("key")[0] == b"value"


@pytest.mark.usefixtures("fresh_server")
def test_an_alarm_stops_writes_that_need_room_and_nothing_else(client: etcd3.Etcd3Client) -> None:
    lease = client.lease(600)
    client.put("held", "x", lease=lease)
    client.put("free", "x")
    [member] = client.members
    [alarm] = client.create_alarm(member.id)
    assert alarm.member_id == member.id
    assert [each.member_id for each in client.list_alarms()] == [member.id]
    for call, *arguments in ((client.put, "more", "x"), (client.lease, 600)):
        with pytest.raises(grpc.RpcError) as error:
            call(*arguments)
        assert refused(error) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "etcdserver: mvcc: database space exceeded",
        )
    assert [answer.TTL for answer in lease.refresh()] == [600]
    assert client.get("free")[0] == b"x"
    assert client.delete("free") is True
    lease.revoke()
    assert client.get("held") == (None, None)
    client.disarm_alarm(member.id)
    assert list(client.list_alarms()) == []
    client.put("more", "x")


def test_a_client_finds_the_server_again_after_a_restart(
    connect: Connect, fresh_server: Server
) -> None:
    client = connect()
    lease = client.lease(600)
    client.put("key", "value", lease=lease)
    fresh_server.stop()
    with pytest.raises(etcd3.exceptions.ConnectionFailedError):
        client.get("key")
    fresh_server.start()

    def is_back() -> bool:
        # grpc waits a while before it tries an address again that has just refused it.
        try:
            client.get("key")
        except etcd3.exceptions.ConnectionFailedError:
            return False
        return True

    wait_until(is_back)
    value, metadata = client.get("key")
    assert (value, metadata.lease_id) == (b"value", lease.id)
    assert 0 < lease.remaining_ttl <= 600


def test_no_server_is_a_connection_that_failed(connect: Connect, fresh_server: Server) -> None:
    fresh_server.stop()
    with pytest.raises(etcd3.exceptions.ConnectionFailedError):
        connect().get("key")
