"""Leases on a bad day: a CORRUPT alarm, and a lease with more keys than anyone should give one."""

from __future__ import annotations

import logging

import pytest

from etcdpb import rpc_pb2 as pb
from lease.lessor import LeaseID
from server import status
from server.commands.lease import BIG_LEASE_KEYS, RevokeLease
from server.log import fields_of
from tests.support.clock import FakeClock
from tests.support.serving import Running, served


@served(clock=FakeClock)
async def test_nothing_expires_while_a_corrupt_alarm_stands(server: Running) -> None:
    """etcd refuses its own revokes then, too (server/etcdserver/apply)."""
    await server.client.grant(5, 7)
    await server.client.put(b"a", lease=7)
    alarm = pb.AlarmRequest(action="ACTIVATE", memberID=1, alarm="CORRUPT")
    await server.client.maintenance.Alarm(alarm)
    await server.time.advance(60)
    assert (await server.client.get(b"a")).count == 1
    keeping = server.client.lease.LeaseKeepAlive()
    await keeping.send(pb.LeaseKeepAliveRequest(ID=7))
    assert await keeping.refusal() == status.CORRUPT

    alarm.action = pb.AlarmRequest.DEACTIVATE
    await server.client.maintenance.Alarm(alarm)
    await server.time.advance(2)
    assert (await server.client.get(b"a")).count == 0


@pytest.mark.parametrize(("keys", "warned"), [(BIG_LEASE_KEYS, 0), (BIG_LEASE_KEYS + 1, 1)])
@served()
async def test_the_revoke_of_a_very_big_lease_is_told_in_the_log(
    server: Running, keys: int, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    await server.client.grant(60, -1)
    state = server.core.recovered.state
    state.lessor.attach(LeaseID(-1), (b"%d" % number for number in range(keys)))
    with caplog.at_level(logging.WARNING, "server.commands.lease"):
        await server.core.engine.run(RevokeLease(LeaseID(-1)))
    lines = [fields_of(record) for record in caplog.records]
    assert lines == [{"lease-id": "f" * 16, "keys": keys}] * warned
