"""When PING is acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

from hyperframe.frame import PingFrame

from server.transport.frames import ACK, PING, frame
from server.transport.peer import PINGS_HELD_MAX
from server.transport.pings import PACE_S, PingPace
from tests.server.transport.sockets import native, raw
from tests.server.transport.support import Peer, parsed
from tests.support.clock import FakeClock, settle
from tests.support.loop import in_loop
from tests.support.serving import running


def ping(number: int) -> bytes:
    return frame(PING, 0, 0, number.to_bytes(8, "big"))


def acknowledged(frames: list[Any]) -> list[int]:
    """The numbers of the pings that were, in order."""
    pings = [each for each in frames if isinstance(each, PingFrame)]
    assert all("ACK" in each.flags for each in pings)
    return [int.from_bytes(each.opaque_data, "big") for each in pings]


def taken(peer: Peer) -> list[int]:
    return acknowledged(parsed(peer.connection.take()))


def test_the_first_is_at_once_and_those_behind_it_together_when_it_is_time() -> None:
    peer = Peer()
    assert acknowledged(peer.send(ping(1))) == [1]
    assert acknowledged(peer.send(ping(2), ping(3))) == []
    assert peer.pinged == [peer.connection]
    assert peer.connection.acknowledge()
    assert taken(peer) == [2, 3]
    assert acknowledged(peer.send(ping(4))) == []
    assert peer.connection.acknowledge()
    assert taken(peer) == [4]
    assert not peer.connection.acknowledge()
    assert acknowledged(peer.send(ping(5))) == [5]
    assert peer.pinged == [peer.connection] * 2


def test_no_more_are_held_than_the_bound_says() -> None:
    peer = Peer()
    peer.send(ping(0))
    for number in range(1, PINGS_HELD_MAX):
        assert acknowledged(peer.send(ping(number))) == []
    assert acknowledged(peer.send(ping(PINGS_HELD_MAX))) == list(range(1, PINGS_HELD_MAX + 1))
    assert acknowledged(peer.send(ping(99))) == []
    assert len(peer.pinged) == 1


def test_an_acknowledgement_is_not_acknowledged() -> None:
    peer = Peer()
    assert acknowledged(peer.send(frame(PING, ACK, 0, bytes(8)))) == []
    assert peer.pinged == []
    assert acknowledged(peer.send(ping(1))) == [1]


def test_nothing_is_sent_on_a_connection_that_is_over() -> None:
    peer = Peer()
    peer.send(ping(1), ping(2))
    peer.connection.lost()
    assert not peer.connection.acknowledge()
    assert taken(peer) == []


def test_a_server_that_ends_leaves_nobody_waiting() -> None:
    """And keeps the pace while it serves."""

    async def scenario() -> None:
        clock = FakeClock()
        async with running(transport="native", clock=clock) as server, raw(server) as client:
            await client.send(ping(1), ping(2))
            assert acknowledged([await client.next(PING)]) == [1]
            await clock.advance(PACE_S)
            assert acknowledged([await client.next(PING)]) == [2]
            pace = native(server).ping_pace
            assert pace._task is not None
        await settle()
        assert pace._task.done()

    asyncio.run(scenario())


@in_loop
async def test_each_connection_is_acknowledged_once_a_while() -> None:
    clock = FakeClock()
    pace = PingPace(clock)
    peers = [Peer(), Peer()]
    for peer in peers:
        peer.send(ping(1), ping(2))
        pace.add(peer.connection)
    assert [taken(peer) for peer in peers] == [[], []]
    await clock.advance(PACE_S)
    assert [taken(peer) for peer in peers] == [[2], [2]]
    peers[0].send(ping(3))
    await clock.advance(PACE_S)
    assert [taken(peer) for peer in peers] == [[3], []]
    await clock.advance(PACE_S)
    await settle()
    assert clock.sleepers == 0, "while nobody pings, nothing is waited for"
    assert [acknowledged(peer.send(ping(4))) for peer in peers] == [[4], [4]]
    pace.add(peers[0].connection)
    pace.close()
    await settle()
    assert clock.sleepers == 0
