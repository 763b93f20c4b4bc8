"""From rows to a running server: what comes back as it was, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from etcdpb.lease_pb2 import Lease as LeaseRecord
from etcdpb.rpc_pb2 import (
    AlarmRequest,
    AlarmType,
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    StatusRequest,
)
from lease.lessor import LeaseID
from lease.record import encode_key
from mvcc.backend.base import Backend, Column
from mvcc.backend.mark import Mark
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from server.identity import Identity
from server.logins import gate_maker
from server.recovery import FORMAT, RecoveryError, recover
from server.settings.config import Config, ConfigError
from server.status import CORRUPT
from tests.support.calls import Answer
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import IDENTITY, ServerInProcess

ALL = RangeRequest(key=b"\0", range_end=b"\0")

GATE: Final = gate_maker(Config(ephemeral=True), FakeClock(), lambda: 0.0)


def _server(backend: Backend | None = None, mark: Mark | None = None) -> ServerInProcess:
    if backend is None:
        backend = MemoryBackend()
    return ServerInProcess(backend, FakeClock(), mark=mark, serve=False)


def _put(backend: Backend, column: Column, key: bytes, value: bytes) -> None:
    batch = backend.batch()
    batch.put(column, key, value)
    backend.write(batch)


def _delete(backend: Backend, column: Column, key: bytes) -> None:
    batch = backend.batch()
    batch.delete(column, key)
    backend.write(batch)


def _recover(backend: Backend, mark: Mark | None = None) -> None:
    recover(backend, _no_bootstrap, ttl_min=2, revoke_rate=0, mark=mark, gate=GATE)


def _no_bootstrap() -> Identity:
    raise AssertionError("an old store keeps its identity")


async def _all(server: ServerInProcess) -> list[bytes]:
    """Everything a client can see of the keys at the newest revision, header aside."""
    return [kv.SerializeToString() for kv in (await server.call(ALL)).kvs]


# What comes back


@in_loop
async def test_keys_leases_attachments_and_revision_come_back() -> None:
    server = _server()
    for lease in (1, -1, 2**63 - 1, -(2**63)):
        server.ask(LeaseGrantRequest(ID=lease, TTL=60))
        server.ask(PutRequest(key=b"key %d" % lease, value=b"v", lease=lease))
    server.ask(PutRequest(key=b"second", lease=-1))
    server.ask(PutRequest(key=b"key 1", lease=-1))  # Moved.
    server.ask(PutRequest(key=b"free", lease=-1))
    server.ask(PutRequest(key=b"free"))  # Detached.
    server.ask(PutRequest(key=b"gone", lease=-1))
    server.ask(DeleteRangeRequest(key=b"gone"))
    server.ask(PutRequest(key=b"gone"))  # There again, and nobody's.
    await settle()
    before, revision = await _all(server), server.store.current
    await server.restart()
    assert await _all(server) == before
    assert server.store.current == server.store.published == revision
    keys = {
        lease: list((await server.call(LeaseTimeToLiveRequest(ID=lease, keys=True))).keys)
        for lease in (1, -1, 2**63 - 1, -(2**63))
    }
    assert keys == {
        1: [],
        -1: [b"key -1", b"key 1", b"second"],
        2**63 - 1: [b"key 9223372036854775807"],
        -(2**63): [b"key -9223372036854775808"],
    }
    await server.call(LeaseRevokeRequest(ID=-1))
    assert server.store.current == revision + 1
    assert [kv.key for kv in (await server.call(ALL)).kvs] == [
        b"free",
        b"gone",
        b"key -9223372036854775808",
        b"key 9223372036854775807",
    ]
    server.lessor.check_invariants(server.clock.now())


@in_loop
async def test_a_revoked_lease_and_its_keys_stay_gone() -> None:
    server = _server()
    server.ask(LeaseGrantRequest(ID=1, TTL=60))
    server.ask(PutRequest(key=b"a", lease=1))
    await settle()
    await server.call(LeaseRevokeRequest(ID=1))
    await server.restart()
    assert (await server.call(ALL)).count == 0
    assert len((await server.call(LeaseLeasesRequest())).leases) == 0
    assert list(server.backend.scan(Column.LEASE)) == []


@in_loop
async def test_every_lease_gets_its_full_ttl_at_a_start() -> None:
    server = _server()
    await server.call(LeaseGrantRequest(ID=1, TTL=60))
    await server.clock.advance(50)
    await server.restart()
    response = await server.call(LeaseTimeToLiveRequest(ID=1))
    assert (response.TTL, response.grantedTTL) == (60, 60)


@in_loop
async def test_a_compaction_and_an_alarm_come_back() -> None:
    server = _server()
    for _ in range(3):
        server.ask(PutRequest(key=b"a"))
    server.ask(CompactionRequest(revision=3))
    alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=9, alarm=AlarmType.CORRUPT)
    await server.call(alarm)
    await server.restart()
    assert server.store.compact_revision == 3
    assert server.ask(RangeRequest(key=b"a", revision=2)).error is not None
    put = server.ask(PutRequest(key=b"a"))
    await settle()
    assert put.status == CORRUPT


@in_loop
async def test_the_ids_are_kept_and_each_start_is_a_term() -> None:
    server = _server()
    terms = []
    for _ in range(3):
        header = (await server.call(StatusRequest())).header
        assert header.cluster_id == IDENTITY.cluster_id
        assert header.member_id == IDENTITY.member_id
        terms.append(header.raft_term)
        await server.restart()
    assert terms == [2, 3, 4]


def test_an_old_store_keeps_its_identity_whatever_the_flags_say() -> None:
    backend = MemoryBackend()
    first = recover(backend, lambda: IDENTITY, ttl_min=2, revoke_rate=0, mark=None, gate=GATE)
    again = recover(backend, _no_bootstrap, ttl_min=2, revoke_rate=0, mark=None, gate=GATE)
    assert first.identity == again.identity == IDENTITY
    assert (first.is_new, again.is_new) == (True, False)
    assert (first.term, again.term) == (2, 3)


def test_a_refused_bootstrap_leaves_a_new_store_new() -> None:
    def refuse() -> Identity:
        raise ConfigError("more than one member")

    backend = MemoryBackend()
    with pytest.raises(ConfigError):
        recover(backend, refuse, ttl_min=2, revoke_rate=0, mark=None, gate=GATE)
    assert recover(backend, lambda: IDENTITY, ttl_min=2, revoke_rate=0, mark=None, gate=GATE).is_new


@in_loop
async def test_the_size_is_that_of_the_rows_before_and_after_a_restart() -> None:
    server = _server()

    def rows_bytes() -> int:
        rows = (row for column in Column for row in server.backend.scan(column))
        return sum(len(key) + len(value) for key, value in rows)

    await server.call(LeaseGrantRequest(ID=1, TTL=60))
    server.ask(LeaseGrantRequest(ID=2, TTL=60))  # Within one group: granted and revoked,
    server.ask(LeaseRevokeRequest(ID=2))
    server.ask(LeaseRevokeRequest(ID=1))  # revoked, granted shorter and revoked again,
    server.ask(LeaseGrantRequest(ID=1, TTL=600_000_000))
    server.ask(LeaseRevokeRequest(ID=1))
    server.ask(LeaseGrantRequest(ID=1, TTL=6))  # and granted once more.
    server.ask(PutRequest(key=b"a", value=b"v", lease=1))
    server.ask(DeleteRangeRequest(key=b"a"))
    await settle()
    assert server.store.in_use == rows_bytes()
    await server.call(CompactionRequest(revision=2))
    assert server.store.in_use == rows_bytes()
    await server.restart()
    assert server.store.in_use == rows_bytes()


# What is refused


async def _one_leased_key() -> Backend:
    server = _server()
    server.ask(LeaseGrantRequest(ID=-2, TTL=60))
    server.ask(PutRequest(key=b"orphan", lease=-2))
    await settle()
    return server.backend


@in_loop
async def test_a_key_whose_lease_has_no_record_is_refused_and_named() -> None:
    backend = await _one_leased_key()
    _recover(backend)
    _delete(backend, Column.LEASE, encode_key(LeaseID(-2)))
    with pytest.raises(RecoveryError, match=r"fffffffffffffffe.*b'orphan'"):
        _recover(backend)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (encode_key(LeaseID(-2)), b"\xff", "no leasepb.Lease"),
        (encode_key(LeaseID(-2)), b"", "of lease 0"),
        (encode_key(LeaseID(3)), LeaseRecord(ID=4, TTL=60).SerializeToString(), "of lease 4"),
        (encode_key(LeaseID(3)), LeaseRecord(ID=3).SerializeToString(), "a TTL of 0 s"),
        (b"short", LeaseRecord(ID=3, TTL=60).SerializeToString(), "5 bytes"),
    ],
)
def test_a_lease_record_that_nobody_wrote_is_refused_and_named(
    key: bytes, value: bytes, reason: str
) -> None:
    @in_loop
    async def scenario() -> None:
        backend = await _one_leased_key()
        _put(backend, Column.LEASE, key, value)
        with pytest.raises(RecoveryError, match=reason) as refusal:
            _recover(backend)
        assert key.hex() in str(refusal.value)

    scenario()


@in_loop
async def test_a_damaged_row_of_any_column_is_refused_and_named() -> None:
    damages: list[Callable[[Backend], None]] = [
        lambda backend: _put(backend, Column.KEY, b"no revision", b""),
        lambda backend: _put(backend, Column.ALARM, b"\xff", b""),
        lambda backend: _put(backend, Column.AUTH_USERS, b"ann", b"\xff"),
        lambda backend: _put(backend, Column.AUTH_ROLES, b"role", b"\xff"),
        lambda backend: _put(backend, Column.AUTH, b"authRevision", b"short"),
        lambda backend: _put(backend, Column.META, b"term", b"short"),
    ]
    for damage in damages:
        backend = await _one_leased_key()
        damage(backend)
        with pytest.raises(RecoveryError, match="corrupt record"):
            _recover(backend)


@in_loop
async def test_a_row_that_is_missing_in_the_middle_is_refused() -> None:
    server = _server()
    for _ in range(3):
        await server.call(PutRequest(key=b"a"))
    rows = [key for key, _ in server.backend.scan(Column.KEY)]
    _delete(server.backend, Column.KEY, rows[1])
    with pytest.raises(RecoveryError, match=r"does not follow revision 2\.0"):
        _recover(server.backend)


@in_loop
async def test_a_newer_format_is_refused_and_left_alone() -> None:
    backend = await _one_leased_key()
    _put(backend, Column.META, b"format", (FORMAT + 1).to_bytes(8, "big"))
    before = [list(backend.scan(column)) for column in Column]
    with pytest.raises(RecoveryError, match=f"format {FORMAT + 1}.*knows {FORMAT}"):
        _recover(backend)
    assert [list(backend.scan(column)) for column in Column] == before


@in_loop
async def test_a_store_shorter_than_what_was_acknowledged_is_refused(tmp_path: Path) -> None:
    mark = Mark.open(tmp_path / "mark")
    server = _server(mark=mark)
    for _ in range(3):
        await server.call(PutRequest(key=b"a"))
    assert mark.revision == 4
    assert mark.sequence == server.backend.sequence()
    _recover(server.backend, mark)
    shorter = MemoryBackend()
    for column in Column:
        for key, value in list(server.backend.scan(column)):
            _put(shorter, column, key, value)
    _delete(shorter, Column.KEY, list(shorter.scan(Column.KEY))[-1][0])
    with pytest.raises(RecoveryError, match="revision 3"):
        _recover(shorter, mark)
    mark.close()


@in_loop
async def test_the_mark_is_set_before_an_answer_leaves_and_not_before_the_fsync(
    tmp_path: Path,
) -> None:
    mark = Mark.open(tmp_path / "mark")
    server = _server(mark=mark)
    server.flusher.hold()
    seen: list[int] = []
    server.ask(PutRequest(key=b"a"), Answer(lambda _: seen.append(mark.revision)))
    await settle()
    assert mark.revision == 0
    server.flusher.release()
    await settle()
    assert seen == [2]
    mark.close()


@in_loop
async def test_a_store_on_disk_comes_back_too(tmp_path: Path) -> None:
    backend = RocksBackend.open(tmp_path / "store")
    server = _server(backend)
    server.ask(LeaseGrantRequest(ID=-1, TTL=60))
    server.ask(PutRequest(key=b"a", lease=-1))
    await settle()
    before = await _all(server)
    backend.close()
    backend = RocksBackend.open(tmp_path / "store")
    server = _server(backend)
    assert await _all(server) == before
    await server.call(LeaseRevokeRequest(ID=-1))
    assert await _all(server) == []
    backend.close()
