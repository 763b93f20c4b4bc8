"""What the numbers say after this and that has happened, whichever transport it came by."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb.v3lock_pb2 import LockRequest
from lease.lessor import LeaseID
from server.commands.tally import Tally
from server.status import Code
from tests.server.metrics import Page, scrape
from tests.support.client import Client, refusal, until
from tests.support.clock import FakeClock
from tests.support.serving import Running, served


def page(server: Running) -> Page:
    return scrape(server.core.metrics)


# --- keys ---


@served()
async def test_puts_deletes_ranges_and_transactions_are_counted_as_etcd_counts_them(
    server: Running,
) -> None:
    client = server.client
    await client.put(b"a", b"1")
    await client.put(b"ab", b"23")
    await client.get(b"a")
    await client.delete(b"a", b"b")  # Two keys, one delete.
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"c"))
    read = pb.RequestOp(request_range=pb.RangeRequest(key=b"c"))
    await client.kv.Txn(pb.TxnRequest(success=[put]))  # One operation is no transaction.
    await client.kv.Txn(pb.TxnRequest(success=[put, read]))
    await client.kv.Txn(pb.TxnRequest(success=[read, read]))
    seen = page(server)
    assert seen["etcd_mvcc_put_total"] == 4
    assert seen["etcd_mvcc_delete_total"] == 1
    assert seen["etcd_mvcc_range_total"] == 4
    assert seen["etcd_mvcc_txn_total"] == 2
    assert seen["etcd_debugging_mvcc_total_put_size_in_bytes"] == 8
    assert seen["etcd_debugging_mvcc_keys_total"] == 1
    assert seen["etcd_debugging_mvcc_current_revision"] == 6


@served()
async def test_a_refused_put_is_none(server: Running) -> None:
    await refusal(server.client.put(b"a", lease=12345))
    assert page(server)["etcd_mvcc_put_total"] == 0


@served()
async def test_a_compaction_is_seen(server: Running) -> None:
    assert page(server)["etcd_debugging_mvcc_compact_revision"] == -1
    await server.client.put(b"a")
    await server.client.compact(2)
    assert page(server)["etcd_debugging_mvcc_compact_revision"] == 2


@served(quota_backend_bytes=12345)
async def test_sizes_are_those_of_the_status(server: Running) -> None:
    await server.client.put(b"a", b"1" * 1000)
    status = await server.client.maintenance.Status(pb.StatusRequest())
    seen = page(server)
    assert seen["etcd_mvcc_db_total_size_in_bytes"] == status.dbSize > 1000
    assert seen["etcd_mvcc_db_total_size_in_use_in_bytes"] == status.dbSizeInUse
    assert seen["etcd_server_quota_backend_bytes"] == 12345
    assert seen["etcd_server_proposals_committed_total"] == status.raftIndex
    assert seen["etcd_server_proposals_applied_total"] == status.raftAppliedIndex


# --- leases ---


@served()
async def test_the_life_of_leases_is_counted(server: Running) -> None:
    client = server.client
    for lease_id, ttl in ((1, 4), (2, 5), (3, 9_000_000)):
        await client.grant(ttl, lease_id)
    await client.put(b"a", lease=1)
    await client.put(b"b", lease=1)
    seen = page(server)
    assert seen["etcd_debugging_lease_granted_total"] == 3
    assert seen['etcd_debugging_lease_ttl_total_bucket{le="2"}'] == 0
    assert seen['etcd_debugging_lease_ttl_total_bucket{le="4"}'] == 1
    assert seen['etcd_debugging_lease_ttl_total_bucket{le="8"}'] == 2
    assert seen['etcd_debugging_lease_ttl_total_bucket{le="8.388608e+06"}'] == 2
    assert seen["etcd_debugging_lease_ttl_total_count"] == 3
    assert seen["etcd_debugging_lease_ttl_total_sum"] == 9_000_009
    assert seen["tenure_lease_live"] == 3
    assert seen["tenure_lease_keyless"] == 2
    assert seen["tenure_lease_keys"] == 2
    await client.revoke(1)
    seen = page(server)
    assert seen["etcd_debugging_lease_revoked_total"] == 1
    assert seen["etcd_debugging_server_lease_expired_total"] == 0
    assert seen["etcd_mvcc_delete_total"] == 2
    assert seen["etcd_mvcc_txn_total"] == 1
    assert seen["tenure_lease_live"] == 2
    await client.put(b"c", lease=2)
    await client.revoke(2)
    seen = page(server)
    assert seen["etcd_mvcc_delete_total"] == 3
    assert seen["etcd_mvcc_txn_total"] == 1  # One key: one operation.


@served()
async def test_renewals_that_succeed_are_counted(server: Running) -> None:
    await server.client.grant(60, 1)
    stream = server.client.lease.LeaseKeepAlive()
    for lease_id in (1, 1, 2):
        await stream.send(pb.LeaseKeepAliveRequest(ID=lease_id))
        await stream.receive()
    await stream.half_close()
    assert await stream.receive_or_end() is None
    seen = page(server)
    assert seen["etcd_debugging_lease_renewed_total"] == 2
    assert seen.calls("msg_received", "Lease", "LeaseKeepAlive", "bidi_stream") == 3
    assert seen.calls("msg_sent", "Lease", "LeaseKeepAlive", "bidi_stream") == 3
    assert seen.handled("Lease", "LeaseKeepAlive", "bidi_stream") == {"OK": 1}


@served(clock=FakeClock)
async def test_a_lease_that_expires_is_counted_with_how_late_it_went(server: Running) -> None:
    await server.client.grant(5, 1)
    await server.time.advance(5.1)
    await until(lambda: not server.core.recovered.state.lessor.stats().leases)
    seen = page(server)
    assert seen["etcd_debugging_server_lease_expired_total"] == 1
    assert seen["etcd_debugging_lease_revoked_total"] == 1
    assert seen["tenure_lease_expiry_lag_seconds_count"] == 1
    assert seen['tenure_lease_expiry_lag_seconds_bucket{le="0.1"}'] == 1
    assert seen["tenure_lease_expiry_lag_seconds_sum"] <= 0.1


@pytest.mark.parametrize(
    ("keys", "bound"), [(0, "0"), (1, "1"), (2, "2"), (3, "4"), (4, "4"), (5, "8")]
)
@served()
async def test_the_keys_of_a_lease_are_counted_when_it_ends(
    server: Running, keys: int, bound: str
) -> None:
    await server.client.grant(60, 1)
    for number in range(keys):
        await server.client.put(b"%d" % number, lease=1)
    await server.client.revoke(1)
    seen = page(server).values
    name = "tenure_lease_revoked_keys"
    buckets = {series: value for series, value in seen.items() if f"{name}_bucket" in series}
    assert next(series for series, value in buckets.items() if value) == (
        f'{name}_bucket{{le="{bound}"}}'
    )
    assert seen[f"{name}_sum"] == keys


def test_the_last_bucket_of_keys_is_of_all_above() -> None:
    tally = Tally()
    for keys in (2**17, 2**17 + 1, 2**40):
        tally.revoke(keys)
    assert tally.keys_counts[-2:] == [1, 2]


@served()
async def test_leases_whose_change_is_not_on_disk_yet_are_pending(server: Running) -> None:
    unsettled = server.core.recovered.state.unsettled
    unsettled.add(LeaseID(1))
    assert page(server)["tenure_lease_pending"] == 1
    unsettled.clear()
    await server.client.grant(60, 1)
    assert page(server)["tenure_lease_pending"] == 0


# --- calls ---


@served()
async def test_calls_are_counted_by_how_they_ended(server: Running) -> None:
    request = pb.PutRequest(key=b"a")
    reply = await server.client.kv.Put(request)
    await refusal(server.client.put(b""))
    await refusal(server.client.put(b"a", lease=5))
    seen = page(server)
    assert seen.handled("KV", "Put") == {"OK": 1, "InvalidArgument": 1, "NotFound": 1}
    assert seen.calls("started", "KV", "Put") == 3
    assert seen.calls("msg_received", "KV", "Put") == 3
    assert seen.calls("msg_sent", "KV", "Put") == 1
    assert seen["etcd_network_client_grpc_sent_bytes_total"] == reply.ByteSize()
    assert seen["etcd_network_client_grpc_received_bytes_total"] == request.ByteSize() + 5


@served()
async def test_a_method_nobody_has_is_in_no_series(server: Running) -> None:
    before = page(server).values.keys()
    unknown = await refusal(server.client.raw("/etcdserverpb.KV/Nothing"))
    assert unknown.code is Code.UNIMPLEMENTED
    seen = page(server)
    assert seen.values.keys() == before
    assert sum(value for name, value in seen.values.items() if name.startswith("grpc_")) == 0


@served()
async def test_what_a_service_asks_of_another_is_no_call_of_a_client(server: Running) -> None:
    await server.client.lock.Lock(LockRequest(name=b"a"))
    labels = 'grpc_method="Lock",grpc_service="v3lockpb.Lock",grpc_type="unary"}'
    seen = page(server)
    assert seen[f"grpc_server_started_total{{{labels}"] == 1
    assert seen[f"grpc_server_msg_sent_total{{{labels}"] == 1
    assert seen["etcd_mvcc_put_total"] == 1
    assert seen.calls("started", "KV", "Txn") == 0


@served()
async def test_a_watch_that_its_client_ends_is_canceled_and_no_failure(server: Running) -> None:
    watching = server.client.watching()
    await watching.create(b"a")
    await watching.create(b"b")
    seen = page(server)
    assert seen["etcd_debugging_mvcc_watch_stream_total"] == 1
    assert seen["etcd_debugging_mvcc_watcher_total"] == 2
    assert seen["etcd_debugging_mvcc_slow_watcher_total"] == 0
    watching.talk.cancel()
    await until(lambda: not server.streams)
    seen = page(server)
    assert seen.handled("Watch", "Watch", "bidi_stream") == {"Canceled": 1}
    assert seen["etcd_debugging_mvcc_watch_stream_total"] == 0
    assert seen["etcd_debugging_mvcc_watcher_total"] == 0


@served()
async def test_a_watch_whose_connection_is_lost_is_canceled(server: Running) -> None:
    other = Client(server.target)
    await other.watching().create(b"a")
    await other.close()
    await until(lambda: not server.streams)
    assert page(server).handled("Watch", "Watch", "bidi_stream") == {"Canceled": 1}


# --- the rest ---


@served(on_disk=True)
async def test_each_fsync_is_timed_and_so_is_each_group(server: Running) -> None:
    for _ in range(3):
        await server.client.put(b"a")
    seen = page(server)
    assert seen["etcd_disk_wal_fsync_duration_seconds_count"] == 3
    assert seen["etcd_disk_backend_commit_duration_seconds_count"] == 3
    fsyncs_s = seen["etcd_disk_wal_fsync_duration_seconds_sum"]
    assert 0 < fsyncs_s < seen["etcd_disk_backend_commit_duration_seconds_sum"]


@served()
async def test_an_alarm_is_there_while_it_stands(server: Running) -> None:
    assert "etcd_debugging_server_alarms" not in page(server).types
    member = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=0xAB, alarm=pb.CORRUPT)
    await server.client.maintenance.Alarm(member)
    series = 'etcd_debugging_server_alarms{alarm_type="CORRUPT",server_id="ab"}'
    assert page(server)[series] == 1


@served()
async def test_the_member_says_who_it_is(server: Running) -> None:
    identity = server.core.recovered.identity
    seen = page(server)
    assert seen[f'etcd_server_id{{server_id="{identity.member_id:x}"}}'] == 1
    assert seen['etcd_server_version{server_version="3.6.14"}'] == 1
    assert seen['etcd_cluster_version{cluster_version="3.6"}'] == 1


def _age_s() -> float:
    """Of this process. Its start is the 22nd field, in ticks since the machine's."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


@served()
async def test_the_process_is_this_one(server: Running) -> None:
    before = page(server)
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    seen = page(server)
    for file in files:
        os.close(file)
    assert seen["process_open_fds"] == seen["os_fd_used"] == before["os_fd_used"] + 3
    assert seen["process_resident_memory_bytes"] > 1 << 20
    assert seen["process_virtual_memory_bytes"] > seen["process_resident_memory_bytes"]
    assert seen["process_cpu_seconds_total"] > 0
    assert seen["process_start_time_seconds"] == pytest.approx(time.time() - _age_s(), abs=5)


@served()
async def test_reading_the_numbers_changes_none(server: Running) -> None:
    await server.client.put(b"a")
    await asyncio.sleep(0)
    skipped = ("process_", "os_fd")
    first, second = (
        {name: value for name, value in page(server).values.items() if not name.startswith(skipped)}
        for _ in range(2)
    )
    assert first == second
