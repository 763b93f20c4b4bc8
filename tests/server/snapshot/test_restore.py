"""From a snapshot to a data directory: all that it holds is served, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Column
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from mvcc.compaction import META_FINISHED, META_SCHEDULED
from mvcc.revision import encode
from server.datadir import DataDir
from server.identity import bootstrap_identity
from server.settings.config import Config, ConfigError
from server.settings.urls import parse_urls
from server.snapshot.restore import BATCH_ROWS, Restored, restore
from server.snapshot.writer import Row
from tests.server.snapshot.rows import deleted, facts, lease, put, snapshot, user
from tests.server.snapshot.support import ETCD_3_4, ETCD_3_5, Taken
from tests.support.client import refusal
from tests.support.loop import run_in_loop
from tests.support.serving import Running, running
from tests.support.stored import stored_sequence

TAKEN = pytest.mark.parametrize("taken", [ETCD_3_5, ETCD_3_4], ids=["3.5.1", "3.4.23"])


def _restore(path: Path, data_dir: Path, **options: Any) -> Restored:
    return restore(path, Config(data_dir=data_dir), **options)


def _rows(data_dir: Path, column: Column) -> list[Row]:
    backend = RocksBackend.open(DataDir(data_dir).store)
    try:
        return list(backend.scan(column))
    finally:
        backend.close()


def _served(data_dir: Path, scenario: Callable[[Running], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(directory=DataDir(data_dir).store) as server:
            await scenario(server)

    run_in_loop(run())


# --- from a real etcd ---


@TAKEN
def test_what_a_real_etcd_held_is_there(tmp_path: Path, taken: Taken) -> None:
    restored = _restore(taken.path, tmp_path / "d")
    assert (restored.revision, restored.keys, restored.leases) == (9, 4, 1)
    assert [key for key, _ in _rows(tmp_path / "d", Column.AUTH_USERS)] == [b"eve", b"root"]
    assert [key for key, _ in _rows(tmp_path / "d", Column.AUTH_ROLES)] == [b"reader"]


@TAKEN
def test_what_it_has_compacted_is_not_swept_again(tmp_path: Path, taken: Taken) -> None:
    _restore(taken.path, tmp_path / "d")
    meta = dict(_rows(tmp_path / "d", Column.META))
    assert meta[META_SCHEDULED] == meta[META_FINISHED] == (5).to_bytes(8, "big")


@TAKEN
def test_its_users_log_in_and_the_hash_of_all_keys_is_the_one_it_gave(
    tmp_path: Path, taken: Taken
) -> None:
    _restore(taken.path, tmp_path / "d")

    async def scenario(server: Running) -> None:
        client = server.client
        login = await client.auth.Authenticate(
            pb.AuthenticateRequest(name="root", password="secret")
        )
        token = [("token", login.token)]
        reply = await client.maintenance.HashKV(pb.HashKVRequest(), metadata=token)
        assert (reply.hash, reply.compact_revision) == (taken.hash_kv, 5)
        assert reply.header.revision == 9
        apple = pb.RangeRequest(key=b"fruit/apple", revision=6)
        assert (await client.kv.Range(apple, metadata=token)).kvs[0].value == b"red"
        alive = await client.lease.LeaseTimeToLive(
            pb.LeaseTimeToLiveRequest(ID=taken.lease, keys=True), metadata=token
        )
        assert (alive.grantedTTL, list(alive.keys)) == (600, [b"fruit/pear", b"held"])

    _served(tmp_path / "d", scenario)


@TAKEN
def test_without_a_password_nobody_reads_what_a_real_etcd_kept_from_them(
    tmp_path: Path, taken: Taken
) -> None:
    _restore(taken.path, tmp_path / "d")

    async def scenario(server: Running) -> None:
        status = await refusal(server.client.kv.Range(pb.RangeRequest(key=b"fruit/apple")))
        assert status.message == "etcdserver: user name is empty"

    _served(tmp_path / "d", scenario)


# --- revisions and history ---


def test_an_empty_snapshot_is_an_empty_store(tmp_path: Path) -> None:
    restored = _restore(snapshot(tmp_path / "s"), tmp_path / "d")
    assert (restored.revision, restored.keys, restored.leases) == (1, 0, 0)


def test_history_up_to_the_last_compaction_is_served(tmp_path: Path) -> None:
    keys = [put(2, b"a"), put(3, b"a", create=2, version=2), put(4, b"b"), deleted(5, b"b")]
    path = snapshot(tmp_path / "s", keys, about=facts(scheduled=2, finished=2))
    assert _restore(path, tmp_path / "d").revision == 5

    async def scenario(server: Running) -> None:
        seen = [
            [kv.value for kv in (await server.client.get(b"a", b"z", revision=at)).kvs]
            for at in range(2, 6)
        ]
        assert seen == [[b"v2"], [b"v3"], [b"v3", b"v4"], [b"v3"]]
        status = await refusal(server.client.get(b"a", revision=1))
        assert status.message == "etcdserver: mvcc: required revision has been compacted"

    _served(tmp_path / "d", scenario)


def test_a_compaction_that_etcd_had_not_finished_is_finished_here(tmp_path: Path) -> None:
    keys = [put(2, b"a"), put(3, b"a", create=2, version=2), put(4, b"b")]
    path = snapshot(tmp_path / "s", keys, about=facts(scheduled=4, finished=2))
    _restore(path, tmp_path / "d")

    async def scenario(server: Running) -> None:
        await server.client.put(b"c", b"")
        # It waits for the sweep that the start has begun, which comes first.
        await server.client.kv.Compact(pb.CompactionRequest(revision=5, physical=True))

    _served(tmp_path / "d", scenario)
    assert [key for key, _ in _rows(tmp_path / "d", Column.KEY)] == [
        *(encode(3, 0), encode(4, 0), encode(5, 0)),
    ]


def test_the_revision_of_a_store_whose_newest_rows_are_compacted_does_not_go_back(
    tmp_path: Path,
) -> None:
    path = snapshot(tmp_path / "s", [put(2, b"a")], about=facts(scheduled=9, finished=9))
    assert _restore(path, tmp_path / "d").revision == 9


def test_a_raised_revision_is_compacted_and_the_next_change_follows_it(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "s", [put(2, b"a"), put(3, b"b")])
    assert _restore(path, tmp_path / "d", bump_revision=1000).revision == 1003

    async def scenario(server: Running) -> None:
        assert (await server.client.put(b"c", b"")).header.revision == 1004
        assert len((await server.client.get(b"a", b"z")).kvs) == 3
        status = await refusal(server.client.get(b"a", revision=1002))
        assert status.message == "etcdserver: mvcc: required revision has been compacted"

    _served(tmp_path / "d", scenario)


def test_the_row_that_etcdutl_raised_a_revision_with_becomes_the_compacted_revision(
    tmp_path: Path,
) -> None:
    """It has no key, so it is no row here; what follows it stays."""
    keys = [put(2, b"a"), (encode(1002, 0), b""), put(1003, b"b")]
    for scheduled in (1002, -1):
        path = snapshot(tmp_path / "s", keys, about=facts(scheduled=scheduled))
        restored = _restore(path, tmp_path / f"d{scheduled}")
        assert (restored.revision, restored.keys) == (1003, 2)


def test_more_rows_than_are_written_at_once_are_all_there(tmp_path: Path) -> None:
    keys = [put(main, b"%d" % main) for main in range(2, BATCH_ROWS + 3)]
    restored = _restore(snapshot(tmp_path / "s", keys), tmp_path / "d")
    assert restored.keys == len(keys) == BATCH_ROWS + 1
    assert _rows(tmp_path / "d", Column.KEY) == keys


# --- leases ---


def test_every_lease_is_there_whatever_the_sign_of_its_id(tmp_path: Path) -> None:
    leases = [lease(1), lease(2**63 - 1), lease(-(2**63)), lease(-1)]
    path = snapshot(tmp_path / "s", [put(2, b"a", lease=-1)], leases)
    restored = _restore(path, tmp_path / "d")
    assert (restored.leases, restored.keys_without_lease) == (4, 0)


def test_a_key_whose_lease_has_no_record_lives_on_without_it(tmp_path: Path) -> None:
    """etcd logs an error and never deletes it; here such a row would be taken for a loss."""
    keys = [
        put(2, b"kept", lease=7),
        put(3, b"was", lease=8),
        put(4, b"lost", lease=8),
        put(5, b"was", create=3, version=2),
        put(6, b"gone", lease=8),
        deleted(7, b"gone"),
    ]
    restored = _restore(snapshot(tmp_path / "s", keys, [lease(7)]), tmp_path / "d")
    assert (restored.keys_without_lease, restored.keys, restored.leases) == (1, 3, 1)

    async def scenario(server: Running) -> None:
        kvs = (await server.client.get(b"a", b"z")).kvs
        assert [(kv.key, kv.lease) for kv in kvs] == [(b"kept", 7), (b"lost", 0), (b"was", 0)]
        assert kvs[1].value == b"v4"

    _served(tmp_path / "d", scenario)


# --- who it is ---


def test_the_ids_follow_from_the_flags_as_at_a_first_start(tmp_path: Path) -> None:
    config = Config(
        data_dir=tmp_path / "d",
        name="m",
        initial_cluster="m=http://a:1",
        initial_cluster_token="t",
        initial_advertise_peer_urls=parse_urls("http://a:1"),
    )
    restored = restore(snapshot(tmp_path / "s"), config)
    assert restored.identity == bootstrap_identity(config)

    async def scenario(server: Running) -> None:
        header = (await server.client.get(b"a")).header
        assert header.member_id == restored.identity.member_id
        assert header.cluster_id == restored.identity.cluster_id

    _served(tmp_path / "d", scenario)


def test_a_cluster_of_others_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path / "d", initial_cluster="a=http://a:1")
    with pytest.raises(ConfigError, match="couldn't find local name"):
        restore(snapshot(tmp_path / "s"), config)
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def test_the_term_goes_on_from_the_snapshots(tmp_path: Path) -> None:
    """Patroni refuses a server whose term has gone back."""
    _restore(snapshot(tmp_path / "s", about=facts(term=41)), tmp_path / "d")

    async def scenario(server: Running) -> None:
        assert (await server.client.get(b"a")).header.raft_term > 41

    _served(tmp_path / "d", scenario)


def test_the_mark_says_that_all_of_it_was_acknowledged(tmp_path: Path) -> None:
    """So a store that loses rows of it later is refused."""
    _restore(snapshot(tmp_path / "s", [put(2, b"a"), put(3, b"b")]), tmp_path / "d")
    data = DataDir(tmp_path / "d")
    mark = Mark.open(data.mark)
    assert (mark.revision, mark.sequence) == (3, stored_sequence(data.store))
    mark.close()


def test_users_are_copied_byte_for_byte(tmp_path: Path) -> None:
    users = [user(b"eve"), user(b"root")]
    _restore(snapshot(tmp_path / "s", users=users), tmp_path / "d")
    assert _rows(tmp_path / "d", Column.AUTH_USERS) == users


def test_progress_is_told_up_to_the_end_of_each_part(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    _restore(
        snapshot(tmp_path / "s", [put(2, b"a")]),
        tmp_path / "d",
        progress=lambda *each: told.append(each),
    )
    assert [what for what, done, total in told if done == total] == [
        "checking the hash",
        "copying",
        "reading it back",
    ]
