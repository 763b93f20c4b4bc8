"""Time becomes revokes: never early, at most a tick late, in slices that others get between."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
)
from lease.lessor import LeaseID
from lease.wheel import TICK_S
from mvcc.backend.memory import MemoryBackend
from mvcc.keyrange import KeyRange
from mvcc.watcher import Sink, Watcher
from server.commands.lease import SLICE_LEASES_MAX, SLICE_S, ExpireDue, GrantLease
from server.lease_clock import GRACE_S
from server.settings.config import Config
from tests.support.calls import Answer
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop, run_in_loop
from tests.support.server import ServerInProcess

L1, L2, L3 = LeaseID(1), LeaseID(2), LeaseID(3)
ALL = RangeRequest(key=b"\0", range_end=b"\0", count_only=True)


def _server(**settings: int) -> ServerInProcess:
    config = Config(ephemeral=True, **settings)  # type: ignore[arg-type]  # fields by name
    return ServerInProcess(MemoryBackend(), FakeClock(), config)


class _Deletions(Sink):
    """A watcher's sink that notes when each revision of deletes became visible."""

    def __init__(self, server: ServerInProcess) -> None:
        self.at: list[float] = []
        self._now = server.clock.now
        keys = KeyRange(b"", None)
        server.core.hub.add(Watcher(0, keys, self, start_revision=0, no_put=True))

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:  # noqa: ARG002
        self.at.append(self._now())
        return True


async def _grant(server: ServerInProcess, lease: int, ttl: int, key: bytes = b"") -> None:
    """Grant, and attach one key."""
    server.ask(LeaseGrantRequest(ID=lease, TTL=ttl))
    await server.call(PutRequest(key=key or b"key %d" % lease, lease=lease))


# When


@in_loop
async def test_a_lease_lives_up_to_its_deadline_and_is_gone_a_tick_later() -> None:
    for offset in (0, 0.25, 0.5, 0.75):  # Ticks: where between two of them the grant falls.
        server = _server()
        await server.clock.advance(offset * TICK_S)
        await _grant(server, L1, 2)
        deadline = server.clock.now() + 2
        deleted = _Deletions(server)
        await server.clock.advance(2 - 2**-10)
        assert deleted.at == []
        assert (await server.call(ALL)).count == 1
        await server.clock.advance(TICK_S + 2**-10)
        (at,) = deleted.at
        assert deadline <= at <= deadline + TICK_S
        assert (await server.call(LeaseTimeToLiveRequest(ID=L1))).TTL == -1
        await server.stop()


@in_loop
async def test_leases_go_in_the_order_of_their_deadlines_each_at_a_revision_of_its_own() -> None:
    server = _server()
    for lease, ttl in ((L3, 4), (L1, 2), (L2, 3)):
        server.ask(LeaseGrantRequest(ID=lease, TTL=ttl))
        server.ask(PutRequest(key=b"a%d" % lease, lease=lease))
        server.ask(PutRequest(key=b"b%d" % lease, lease=lease))
    await settle()
    deleted = _Deletions(server)
    begin = server.clock.now()
    await server.clock.advance(5)
    assert server.store.current == 7 + 3
    assert [round(at - begin) for at in deleted.at] == [2, 3, 4]
    await server.stop()


@in_loop
async def test_while_none_can_be_due_the_engine_is_left_alone() -> None:
    server = _server()
    await _grant(server, L1, 9_000_000)
    before = server.engine.stats().commands
    await server.clock.advance(300)
    assert server.engine.stats().commands == before
    await server.stop()


@in_loop
async def test_without_leases_the_engine_is_left_alone() -> None:
    server = _server()
    await server.clock.advance(10)
    assert server.engine.stats().commands == 0
    await server.stop()


# Slices


@in_loop
async def test_a_slice_is_bounded_in_leases() -> None:
    server = ServerInProcess(MemoryBackend(), FakeClock(), serve=False)
    for lease in range(1, SLICE_LEASES_MAX + 8):
        server.engine.submit(GrantLease(LeaseID(lease), 2), Answer(), lambda _: b"")
    await settle()
    await server.clock.advance(3)
    server.engine.horizon()
    await server.clock.advance(GRACE_S)
    sizes = [
        len(await server.engine.run(ExpireDue(server.clock.now, limit)))
        for limit in (5, 10 * SLICE_LEASES_MAX, 10 * SLICE_LEASES_MAX)
    ]
    assert sizes == [5, SLICE_LEASES_MAX, 2]


@in_loop
async def test_a_slice_is_bounded_in_time() -> None:
    server = ServerInProcess(MemoryBackend(), FakeClock(), serve=False)
    for lease in range(1, 101):
        server.engine.submit(GrantLease(LeaseID(lease), 2), Answer(), lambda _: b"")
    await settle()
    await server.clock.advance(3)
    server.engine.horizon()
    await server.clock.advance(GRACE_S)
    readings = 0

    def slow_clock() -> float:
        nonlocal readings
        readings += 1
        return readings * SLICE_S / 2

    first = await server.engine.run(ExpireDue(slow_clock, 100))
    assert 0 < len(first) < 50, "it looks at the clock now and then, and stops"
    assert [lease for lease, _ in first] == list(range(1, len(first) + 1))
    rest = await server.engine.run(ExpireDue(server.clock.now, 100))
    assert len(first) + len(rest) == 100


@in_loop
async def test_other_commands_get_in_between_two_slices() -> None:
    server = _server()
    count = 3 * SLICE_LEASES_MAX
    for lease in range(1, count + 1):
        server.engine.submit(GrantLease(LeaseID(lease), 2), Answer(), lambda _: b"")
    await settle()
    await server.clock.advance(2 - TICK_S / 2)
    assert len(server.lessor) == count
    server.flusher.hold()
    await server.clock.advance(TICK_S)
    left = [len(server.lessor)]
    puts = []
    for _ in range(2):  # One put waits while a slice is in flight, and goes before the next.
        puts.append(server.ask(PutRequest(key=b"a")))
        server.flusher.release()
        await settle()
        left.append(len(server.lessor))
        assert [put.is_done for put in puts] == [True] * (len(puts) - 1) + [False]
    server.flusher.let_go()
    await settle()
    assert all(put.is_done for put in puts)
    assert left == [2 * SLICE_LEASES_MAX, SLICE_LEASES_MAX, 0]
    await server.stop()


@in_loop
async def test_twenty_thousand_leases_due_together_all_go_within_a_tick() -> None:
    server = _server()
    count = 20_000
    for lease in range(1, count + 1):
        # Half of a group's commands at a time, as the queue is bounded.
        server.ask(LeaseGrantRequest(ID=lease, TTL=10))
        server.ask(PutRequest(key=b"%d" % lease, lease=lease))
        if lease % 1000 == 0:
            await settle()
    assert (await server.call(ALL)).count == count
    deleted = _Deletions(server)
    deadline = server.clock.now() + 10
    await server.clock.advance(10 + TICK_S)
    assert len(server.lessor) == 0
    assert (await server.call(ALL)).count == 0
    assert len(deleted.at) == count
    assert deadline <= min(deleted.at)
    assert max(deleted.at) <= deadline + TICK_S
    server.lessor.check_invariants(server.clock.now())
    await server.stop()


# The cap


@pytest.mark.parametrize("rate", [1, 3, 20, 30, 70])
def test_a_cap_on_revokes_holds_in_every_second(rate: int) -> None:
    async def scenario() -> None:
        server = _server(lease_revoke_rate=rate)
        count = 2 * rate + 1
        for lease in range(1, count + 1):
            server.ask(LeaseGrantRequest(ID=lease, TTL=2))
            server.ask(PutRequest(key=b"%d" % lease, lease=lease))
        await settle()
        deleted = _Deletions(server)
        await server.clock.advance(2 + 4)
        assert len(deleted.at) == count
        for begin in deleted.at:
            in_a_second = sum(begin <= at < begin + 1 - TICK_S / 2 for at in deleted.at)
            assert in_a_second <= rate
        # And it is used: the last goes two seconds after the first.
        assert deleted.at[-1] - deleted.at[0] == pytest.approx(2, abs=2 * TICK_S)
        await server.stop()

    run_in_loop(scenario())


# A slow disk


@in_loop
async def test_a_disk_that_takes_longer_than_a_stall_does_not_put_expiry_off_for_ever() -> None:
    """The loop runs all the while: nobody's keepalive waits in a socket."""
    server = _server()
    await _grant(server, L1, 2)
    await _grant(server, L2, 100)
    server.flusher.hold()
    for _ in range(8):  # Writes, one group after the other; each fsync takes 0.6 s.
        server.ask(PutRequest(key=b"busy"))
        await server.clock.advance(0.6)
        if server.flusher.is_waiting:
            server.flusher.release()
            await settle()
    server.flusher.let_go()
    await settle()
    assert (await server.call(LeaseTimeToLiveRequest(ID=L1))).TTL == -1
    assert (await server.call(LeaseTimeToLiveRequest(ID=L2))).TTL > 90
    await server.stop()
