"""Ids the server picks, laid out as etcd's pkg/idutil lays them out."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import LeaseGrantRequest
from mvcc.backend.memory import MemoryBackend
from server.lease_ids import LeaseIDs
from tests.support.clock import FakeClock
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess


def test_an_id_is_the_members_then_the_start_then_a_counter() -> None:
    ids = LeaseIDs(member_id=0x1234_5678_9ABC_0370, unix_ms=0x99A2_036B_0023)
    assert [f"{ids.next():016x}" for _ in range(2)] == ["0370a2036b002301", "0370a2036b002302"]


def test_the_counter_carries_into_the_time() -> None:
    ids = LeaseIDs(member_id=1, unix_ms=0)
    for _ in range(0xFF):
        ids.next()
    assert ids.next() == 1 << 48 | 0x100


def test_no_id_is_negative() -> None:
    assert LeaseIDs(member_id=0xFFFF, unix_ms=0).next() == 0x7FFF << 48 | 1


@pytest.mark.parametrize("member_id", [0, 0x8000])
def test_no_id_is_zero_when_the_counter_wraps_around(member_id: int) -> None:
    ids = LeaseIDs(member_id, unix_ms=(1 << 40) - 1)
    assert [ids.next() for _ in range(0xFF)][-1] == (1 << 48) - 1
    assert ids.next() == 1


def test_two_starts_a_millisecond_apart_give_different_ids() -> None:
    starts = [LeaseIDs(7, unix_ms) for unix_ms in (1000, 1001)]
    first, second = ({ids.next() for _ in range(256)} for ids in starts)
    assert len(first) == len(second) == 256
    assert len(first & second) == 0


@in_loop
async def test_a_grant_without_an_id_is_given_one_that_is_free() -> None:
    server = ServerInProcess(MemoryBackend(), FakeClock(), serve=False)
    replies = [await server.call(LeaseGrantRequest(TTL=5)) for _ in range(3)]
    assert len({reply.ID for reply in replies}) == 3
    assert all(reply.ID > 0 for reply in replies)
    assert [lease.id for lease in server.lessor.leases()] == [reply.ID for reply in replies]
