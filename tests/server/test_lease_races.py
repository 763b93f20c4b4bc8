"""What meets at one lease: two clients, two leases of a key, a revoke and a put, very many keys.

`TENURE_LEASE_KEYS=100000` makes the last of them as large as it was meant, in some 10 s.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)
from lease.wheel import TICK_S
from mvcc.backend.memory import MemoryBackend
from server.settings.config import Config
from server.status import RpcError
from tests.support.calls import Pipe
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server, in_flight, parsed

KEYS: Final = int(os.environ.get("TENURE_LEASE_KEYS", "20000"))
KEYS_AT_ONCE: Final = 10_000  # Put by one transaction.
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
ALL = RangeRequest(key=b"\0", range_end=b"\0", count_only=True)


def serving(config: Config | None = None) -> ServerInProcess:
    return ServerInProcess(MemoryBackend(), FakeClock(), config)


async def leases(server: ServerInProcess) -> list[int]:
    return [each.ID for each in (await server.call(LeaseLeasesRequest())).leases]


@in_loop
async def test_a_lease_that_two_clients_renew_lives_from_the_later_renewal_of_either() -> None:
    server = serving()
    await server.call(LeaseGrantRequest(ID=1, TTL=4))
    pipes = [Pipe(), Pipe()]
    for pipe in pipes:
        server.open(KEEP_ALIVE, pipe)
    for pipe in (pipes[0], pipes[1], pipes[0], pipes[1]):
        await server.clock.advance(3)
        pipe.write(LeaseKeepAliveRequest(ID=1).SerializeToString())
        await settle()
        assert LeaseKeepAliveResponse.FromString(pipe.sent[-1]).TTL == 4
    await server.clock.advance(4 - TICK_S)
    assert await leases(server) == [1]
    await server.clock.advance(2 * TICK_S)
    assert await leases(server) == []
    for pipe in pipes:
        pipe.write(LeaseKeepAliveRequest(ID=1).SerializeToString())
        await settle()
        assert LeaseKeepAliveResponse.FromString(pipe.sent[-1]).TTL == 0
    await server.stop()


@in_loop
async def test_a_key_moved_to_another_lease_outlives_the_first_and_goes_with_the_second() -> None:
    server = serving()
    for lease, ttl in ((1, 3), (2, 6)):
        await server.call(LeaseGrantRequest(ID=lease, TTL=ttl))
    await server.call(PutRequest(key=b"moved", lease=1))
    await server.call(PutRequest(key=b"stays", lease=1))
    before = await server.call(PutRequest(key=b"moved", lease=2))
    await server.clock.advance(3 + TICK_S)
    assert await leases(server) == [2]
    reply = await server.call(RangeRequest(key=b"\0", range_end=b"\0"))
    assert [(kv.key, kv.lease) for kv in reply.kvs] == [(b"moved", 2)]
    assert reply.header.revision == before.header.revision + 1
    await server.clock.advance(3)
    assert (await server.call(ALL)).count == 0
    await server.stop()


@in_loop
async def test_a_put_before_the_revoke_in_one_group_goes_with_the_lease() -> None:
    server = bare_server()
    await server.call(LeaseGrantRequest(ID=1, TTL=10))
    answers = await in_flight(server, PutRequest(key=b"k", lease=1), LeaseRevokeRequest(ID=1))
    server.flusher.release()
    await settle()
    put, revoke = (
        parsed(request, answer)
        for request, answer in zip((PutRequest(), LeaseRevokeRequest()), answers, strict=True)
    )
    assert revoke.header.revision == put.header.revision + 1
    assert (await server.call(ALL)).count == 0
    server.lessor.check_invariants(server.clock.now())
    await server.stop()


@in_loop
async def test_a_put_behind_the_revoke_in_one_group_is_refused_and_leaves_no_key() -> None:
    server = bare_server()
    await server.call(LeaseGrantRequest(ID=1, TTL=10))
    revoked, put = await in_flight(server, LeaseRevokeRequest(ID=1), PutRequest(key=b"k", lease=1))
    server.flusher.release()
    await settle()
    parsed(LeaseRevokeRequest(), revoked)
    with pytest.raises(RpcError) as refusal:
        parsed(PutRequest(), put)
    assert refusal.value.status.message == "etcdserver: requested lease not found"
    assert (await server.call(ALL)).count == 0
    server.lessor.check_invariants(server.clock.now())
    await server.stop()


@pytest.mark.slow
@in_loop
async def test_very_many_keys_of_one_lease_go_at_one_revision() -> None:
    server = serving(Config(ephemeral=True, max_txn_ops=KEYS_AT_ONCE))
    await server.call(LeaseGrantRequest(ID=1, TTL=10))
    for first in range(0, KEYS, KEYS_AT_ONCE):
        txn = TxnRequest()
        for number in range(first, first + KEYS_AT_ONCE):
            txn.success.add(request_put=PutRequest(key=b"%d" % number, lease=1))
        before = await server.call(txn)
    assert (await server.call(ALL)).count == KEYS
    await server.clock.advance(10 + TICK_S)
    reply = await server.call(ALL)
    assert (reply.count, await leases(server)) == (0, [])
    assert reply.header.revision == before.header.revision + 1
    server.lessor.check_invariants(server.clock.now())
    await server.stop()
