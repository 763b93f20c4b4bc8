"""What a server knows after it was killed and started again, one fact a test."""

from __future__ import annotations

import grpc
import pytest

from etcdpb import rpc_pb2
from tests.process.conftest import Servers

pytestmark = pytest.mark.power

TTL: int = 600  # Seconds.
L1: int = 0x1111
L2: int = -0x2222  # Negative ones are legal, and stand behind all others in the bucket.


def test_leases_their_ttl_and_their_keys_are_there_after_a_kill(servers: Servers) -> None:
    server, client = servers.start()
    for lease_id in (L1, L2):
        client.grant(TTL, lease_id)
    client.put(b"b", b"", L1)
    client.put(b"a", b"", L1)
    client.put(b"c", b"", L2)
    server.kill()

    _, client = servers.start()
    assert client.leases() == {L1, L2}
    for lease_id, keys in ((L1, [b"a", b"b"]), (L2, [b"c"])):
        lease = client.time_to_live(lease_id)
        assert lease.grantedTTL == TTL
        assert TTL - 30 < lease.TTL <= TTL, "nearly all of it was left"
        assert list(lease.keys) == keys
        assert client.keep_alive(lease_id) == TTL


def test_a_revoke_after_a_restart_deletes_the_keys_and_no_others(servers: Servers) -> None:
    server, client = servers.start()
    client.grant(TTL, L1)
    client.grant(TTL, L2)
    client.put(b"stays attached", b"", L1)
    client.put(b"detached", b"", L1)
    client.put(b"detached", b"again")
    client.put(b"moved", b"", L1)
    before = client.put(b"moved", b"", L2)
    server.kill()

    _, client = servers.start()
    assert client.revoke(L1) == before + 1
    assert [kv.key for kv in client.everything().kvs] == [b"detached", b"moved"]
    assert client.leases() == {L2}
    assert client.revoke(L2) == before + 2
    assert [kv.key for kv in client.everything().kvs] == [b"detached"]


def test_a_revoked_lease_stays_revoked_and_its_id_is_free(servers: Servers) -> None:
    server, client = servers.start()
    client.grant(TTL, L1)
    client.put(b"k", b"", L1)
    client.revoke(L1)
    server.kill()

    _, client = servers.start()
    assert client.leases() == set()
    assert client.get(b"k") is None
    assert client.keep_alive(L1) == 0
    assert client.grant(TTL, L1) == L1
    assert list(client.time_to_live(L1).keys) == []


def test_revisions_go_on_where_they_were_and_the_past_can_be_read(servers: Servers) -> None:
    server, client = servers.start()
    assert client.put(b"k", b"1") == 2
    assert client.put(b"k", b"2") == 3
    assert client.delete(b"k").header.revision == 4
    server.kill()

    server, client = servers.start()
    assert client.everything().header.revision == 4, "also when the newest one is a deletion"
    old = client.call("KV", "Range", rpc_pb2.RangeRequest(key=b"k", revision=3))
    assert [(kv.value, kv.version) for kv in old.kvs] == [(b"2", 2)]
    assert client.put(b"k", b"3") == 5
    kv = client.get(b"k")
    assert kv is not None
    assert (kv.create_revision, kv.version) == (5, 1)


def test_the_member_keeps_its_identity_and_its_term_grows(servers: Servers) -> None:
    server, client = servers.start("--name=before")
    before = client.everything().header
    server.kill()

    flags = ("--name=after", "--initial-cluster-token=other")  # Only a first start looks at them.
    _, client = servers.start(*flags)
    after = client.everything().header
    assert (after.cluster_id, after.member_id) == (before.cluster_id, before.member_id)
    assert after.raft_term == before.raft_term + 1


def test_a_sweep_that_a_kill_interrupted_is_taken_up_again(servers: Servers) -> None:
    """The compaction is acknowledged before its rows are gone, and they go after all."""
    server, client = servers.start()
    rows = 3_000  # Three steps of a sweep, which pauses in between.
    for _ in range(rows // 100):
        request = rpc_pb2.TxnRequest()
        for number in range(100):
            request.success.add(request_put=rpc_pb2.PutRequest(key=b"%d" % number, value=b"v" * 99))
        client.call("KV", "Txn", request)
    newest = client.everything()
    before = client.call("Maintenance", "Status", rpc_pb2.StatusRequest())
    client.compact(newest.header.revision)
    server.kill()

    _, client = servers.start()
    with pytest.raises(grpc.RpcError) as refusal:
        client.compact(newest.header.revision, physical=True)  # Answered once the sweep is over.
    assert refusal.value.details() == "etcdserver: mvcc: required revision has been compacted"
    after = client.call("Maintenance", "Status", rpc_pb2.StatusRequest())
    assert after.dbSizeInUse < before.dbSizeInUse // 20
    assert client.everything().kvs == newest.kvs


def test_an_alarm_is_still_up(servers: Servers) -> None:
    server, client = servers.start()
    member = client.everything().header.member_id
    alarm = rpc_pb2.AlarmRequest(
        action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=member, alarm=rpc_pb2.NOSPACE
    )
    client.call("Maintenance", "Alarm", alarm)
    server.kill()

    _, client = servers.start()
    with pytest.raises(grpc.RpcError) as refusal:
        client.put(b"k", b"v")
    assert refusal.value.details() == "etcdserver: mvcc: database space exceeded"


def test_a_clean_end_loses_nothing_either(servers: Servers) -> None:
    server, client = servers.start()
    client.grant(TTL, L1)
    revision = client.put(b"k", b"v", L1)
    hash_before = client.hash_kv(revision).hash
    assert server.terminate() < 0

    _, client = servers.start()
    assert client.everything().header.revision == revision
    assert list(client.time_to_live(L1).keys) == [b"k"]
    assert client.hash_kv(revision).hash == hash_before
