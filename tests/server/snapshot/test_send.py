"""Maintenance.Snapshot over the wire: pieces, one revision, and everything else goes on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path

import httpx

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.rocks import RocksBackend
from mvcc.revision import encode
from server import status
from server.datadir import DataDir
from server.settings.config import Config
from server.snapshot import save
from server.snapshot.buckets import read_meta
from server.snapshot.restore import restore
from server.snapshot.save import PIECE_BYTES, SNAPSHOTS_MAX
from tests.server.http.support import web
from tests.server.snapshot.support import read_all
from tests.support.calls import Pipe
from tests.support.client import until
from tests.support.clock import settle
from tests.support.loop import in_loop
from tests.support.server import bare_server, in_flight
from tests.support.serving import Running, served

Buckets = dict[bytes, list[tuple[bytes, bytes]]]


async def _download(server: Running) -> list[pb.SnapshotResponse]:
    return await server.client.maintenance.Snapshot(pb.SnapshotRequest()).rest()


def _file(replies: list[pb.SnapshotResponse]) -> bytes:
    return b"".join(reply.blob for reply in replies)


def _buckets(tmp_path: Path, replies: list[pb.SnapshotResponse]) -> Buckets:
    return read_all(tmp_path / "db", _file(replies[:-1]))


@served()
async def test_the_file_comes_in_pieces_and_its_hash_behind_it(server: Running) -> None:
    """etcdctl wants the size of all to be 32 more than a multiple of 512 (hasChecksum)."""
    await server.put_many(50, bytes(10_000))
    replies = await _download(server)
    pieces, last = replies[:-1], replies[-1]
    data = _file(pieces)
    assert [len(each.blob) for each in pieces[:-1]] == [PIECE_BYTES] * (len(pieces) - 1)
    assert 0 < len(pieces[-1].blob) <= PIECE_BYTES == 32 * 1024
    left = len(data)
    for each in pieces:
        left -= len(each.blob)
        assert each.remaining_bytes == left
    assert left == 0
    assert (last.blob, last.remaining_bytes) == (hashlib.sha256(data).digest(), 0)
    assert len(_file(replies)) % 512 == 32
    assert {each.version for each in replies} == {"3.6.0"}
    assert not any(each.HasField("header") for each in replies)


@served()
async def test_every_bucket_of_etcd_is_there(server: Running, tmp_path: Path) -> None:
    client = server.client
    await client.lease.LeaseGrant(pb.LeaseGrantRequest(ID=7, TTL=60))
    await client.kv.Put(pb.PutRequest(key=b"a", value=b"1", lease=7))
    await client.auth.UserAdd(pb.AuthUserAddRequest(name="eve", password="pw"))
    await client.auth.RoleAdd(pb.AuthRoleAddRequest(name="reader"))
    buckets = _buckets(tmp_path, await _download(server))
    assert list(buckets) == [
        *(b"alarm", b"auth", b"authRoles", b"authUsers", b"cluster"),
        *(b"key", b"lease", b"members", b"members_removed", b"meta"),
    ]
    for name, column in (
        (b"key", Column.KEY),
        (b"lease", Column.LEASE),
        (b"auth", Column.AUTH),
        (b"authUsers", Column.AUTH_USERS),
        (b"authRoles", Column.AUTH_ROLES),
    ):
        assert buckets[name] == list(server.backend.scan(column))
    assert len(buckets[b"key"]) == len(buckets[b"lease"]) == len(buckets[b"authUsers"]) == 1


@served(name="m", initial_cluster="m=http://localhost:2380")
async def test_what_etcd_stores_of_itself_is_there(server: Running, tmp_path: Path) -> None:
    await server.put_many(3)
    await server.client.kv.Compact(pb.CompactionRequest(revision=3, physical=True))
    header = (await server.client.get(b"a")).header
    buckets = _buckets(tmp_path, await _download(server))
    member_id = header.member_id
    assert buckets[b"members"] == [
        (
            f"{member_id:016x}".encode(),
            b'{"id":%d,"peerURLs":["http://localhost:2380"],"name":"m",'
            b'"clientURLs":["http://localhost:2379"]}' % member_id,
        )
    ]
    assert buckets[b"cluster"] == [(b"clusterVersion", b"3.6.0")]
    meta = dict(buckets[b"meta"])
    assert meta[b"confState"] == b'{"voters":[%d],"auto_leave":false}' % member_id
    assert int.from_bytes(meta[b"consistent_index"], "big") == server.backend.sequence()
    assert meta[b"scheduledCompactRev"] == meta[b"finishedCompactRev"] == encode(3, 0)
    stored = read_meta(meta.items())
    assert (stored.scheduled_compact, stored.finished_compact) == (3, 3)
    assert (stored.term, stored.storage_version) == (header.raft_term, "3.6.0")


@served()
async def test_the_member_is_where_it_was_moved_to(server: Running, tmp_path: Path) -> None:
    cluster = server.client.cluster
    member_id = (await cluster.MemberList(pb.MemberListRequest())).members[0].ID
    urls = ["http://10.0.0.1:2380"]
    await cluster.MemberUpdate(pb.MemberUpdateRequest(ID=member_id, peerURLs=urls))
    [(_, stored)] = _buckets(tmp_path, await _download(server))[b"members"]
    assert json.loads(stored)["peerURLs"] == urls


@served()
async def test_a_store_that_was_never_compacted_says_nothing_of_it(
    server: Running, tmp_path: Path
) -> None:
    buckets = _buckets(tmp_path, await _download(server))
    assert [name for name, _ in buckets[b"meta"]] == [
        *(b"confState", b"consistent_index", b"storageVersion", b"term"),
    ]


@web()
async def test_the_gateway_sends_it_a_line_a_piece(
    server: Running, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await server.put_many(50, bytes(10_000))
    answer = await client.post("/v3/maintenance/snapshot", content=b"{}")
    assert answer.status_code == 200
    results = [json.loads(line)["result"] for line in answer.text.splitlines()]
    data, hashed = b"".join(map(_blob, results[:-1])), _blob(results[-1])
    assert hashed == hashlib.sha256(data).digest()
    assert results[0]["remaining_bytes"] == str(len(data) - PIECE_BYTES)
    assert "remaining_bytes" not in results[-1]  # Zero, and so left out.
    assert {each["version"] for each in results} == {"3.6.0"}
    assert len(read_all(tmp_path / "db", data)[b"key"]) == 50


def _blob(result: dict[str, str]) -> bytes:
    return base64.b64decode(result["blob"])


@served(on_disk=True)
async def test_a_snapshot_is_one_revision_whatever_is_written_meanwhile(
    server: Running, tmp_path: Path
) -> None:
    await server.put_many(2000, bytes(1000), key=b"old")
    stream = server.client.maintenance.Snapshot(pb.SnapshotRequest())
    replies = [await stream.receive()]  # It has begun: what comes now is too late for it.
    for number in range(50):
        await server.client.put(b"new%d" % number, b"v")
        if number % 10 == 0:
            replies.append(await stream.receive())
    await server.client.lease.LeaseGrant(pb.LeaseGrantRequest(ID=7, TTL=60))
    replies += await stream.rest()
    buckets = _buckets(tmp_path, replies)
    assert [int.from_bytes(key[:8], "big") for key, _ in buckets[b"key"]] == list(range(2, 2002))
    assert buckets[b"lease"] == []


@in_loop
async def test_it_waits_for_the_group_in_flight_and_shows_that_moment(tmp_path: Path) -> None:
    """What a power cut could undo is in no snapshot, nor is what comes while it is laid out."""
    server = bare_server()
    await in_flight(server, pb.PutRequest(key=b"a"))
    pipe = Pipe()
    pipe.write(b"")
    pipe.half_close()
    task = server.open("/etcdserverpb.Maintenance/Snapshot", pipe)
    await settle()
    assert pipe.sent == []
    server.ask(pb.PutRequest(key=b"b"))
    server.flusher.release()
    await task
    assert server.flusher.is_waiting, "the next group is in flight"
    replies = [pb.SnapshotResponse.FromString(each) for each in pipe.sent]
    assert [key for key, _ in _buckets(tmp_path, replies)[b"key"]] == [encode(2, 0)]


@served(on_disk=True)
async def test_what_is_sent_is_restored_and_hashes_the_same(
    server: Running, tmp_path: Path
) -> None:
    for number in range(300):
        await server.client.put(b"key%d" % (number % 40), b"v%d" % number)
    await server.client.kv.DeleteRange(pb.DeleteRangeRequest(key=b"key1", range_end=b"key2"))
    hashed = await server.client.maintenance.HashKV(pb.HashKVRequest())
    (tmp_path / "s").write_bytes(_file(await _download(server)))
    restored = await asyncio.to_thread(restore, tmp_path / "s", Config(data_dir=tmp_path / "d"))
    assert restored.revision == hashed.header.revision
    backend = RocksBackend.open(DataDir(tmp_path / "d").store)
    assert list(backend.scan(Column.KEY)) == list(server.backend.scan(Column.KEY))
    backend.close()


@served()
async def test_so_many_are_sent_at_once_and_one_more_is_refused(server: Running) -> None:
    """Each keeps files from being deleted. A place that is left is free again."""
    await server.put_many(2000, bytes(1500))  # More than a transport sends ahead.
    client = server.client.maintenance
    streams = [client.Snapshot(pb.SnapshotRequest()) for _ in range(SNAPSHOTS_MAX)]
    for stream in streams:
        await stream.receive()
    assert await client.Snapshot(pb.SnapshotRequest()).refusal() == status.TOO_MANY_REQUESTS
    streams[0].cancel()
    await until(lambda: server.streams < SNAPSHOTS_MAX)
    await client.Snapshot(pb.SnapshotRequest()).receive()
    for stream in streams[1:]:
        stream.cancel()


@served()
async def test_others_are_answered_while_a_snapshot_is_laid_out(server: Running) -> None:
    await server.put_many(20_000)
    stream = server.client.maintenance.Snapshot(pb.SnapshotRequest())
    begun = asyncio.ensure_future(stream.receive())
    answered = 0
    while not begun.done():
        await server.client.get(b"a")
        answered += 1
    assert answered > 1
    await stream.rest()


@served()
async def test_a_key_that_bbolt_has_no_place_for_is_named(server: Running) -> None:
    name = "e" * 40_000
    await server.client.auth.UserAdd(pb.AuthUserAddRequest(name=name, password="pw"))
    refused = await server.client.maintenance.Snapshot(pb.SnapshotRequest()).refusal()
    assert refused.code == status.Code.FAILED_PRECONDITION
    assert refused.message == (f"snapshot: {b'e' * 32!r}: a key of 40000 bytes is not in 1..32768")


def test_the_bounds_are_those_that_the_documentation_names() -> None:
    assert (save.SNAPSHOTS_MAX, save.PIECE_BYTES) == (8, 32_768)


@served()
async def test_an_empty_store_has_a_snapshot(server: Running, tmp_path: Path) -> None:
    assert _buckets(tmp_path, await _download(server))[b"key"] == []
