"""Keepalives renewed a batch at a time: whatever happens between them, a client reads what it would
of the coroutine, and the leases live as long.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    PutRequest,
)
from server.call import AtOnce
from server.services import renewals
from server.services.renewals import Renewals
from server.transport.dispatch import StreamMethod
from tests.support.calls import Answer, Pipe
from tests.support.clock import settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server, in_flight

PATH: Final = "/etcdserverpb.Lease/LeaseKeepAlive"
LARGEST: Final = 2**63 - 1
SMALLEST: Final = -(2**63)


def naming(lease_id: int) -> bytes:
    return LeaseKeepAliveRequest(ID=lease_id).SerializeToString()


# A lease named in another way than a client's library does, and what names none.
ODD: Final = {
    "an id longer than it need be": b"\x08\x81\x00",
    "an id twice": b"\x08\x02\x08\x01",
    "a field that nobody knows": b"\x08\x01\x10\x05",
    "no id": b"",
    "id 0, spelled out": b"\x08\x00",
    "another field alone": b"\x10\x05",
    "a piece of an id": b"\x08\x81",
}


def at_once_of(server: ServerInProcess) -> Renewals:
    method = server.core.methods.get(PATH)
    assert isinstance(method, StreamMethod)
    assert isinstance(method.at_once, Renewals)
    return method.at_once


def renewed(at_once: AtOnce, messages: list[bytes]) -> list[bytes]:
    """The answers there are to what came together, as the transport asks for them."""
    if len(messages) > 1:
        return at_once(messages)
    reply = at_once.alone(messages[0])
    return [] if reply is None else [reply]


@dataclass
class Side:
    """A server, and all that the streams of its clients were told."""

    is_at_once: bool
    server: ServerInProcess = field(default_factory=bare_server)
    streams: list[tuple[list[bytes], Pipe, asyncio.Task[None]]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def keep_alive(self, messages: list[bytes]) -> None:
        """On a new stream, as a transport hands them on."""
        done = renewed(at_once_of(self.server), messages) if self.is_at_once else []
        pipe = Pipe()
        for message in messages[len(done) :]:
            pipe.write(message)
        pipe.half_close()
        self.streams.append((done, pipe, self.server.open(PATH, pipe)))

    def told(self) -> list[Any]:
        """What the clients have read: answers to keepalives, and to the rest."""
        said: list[Any] = []
        for done, pipe, task in self.streams:
            assert task.done()
            error = task.exception()
            assert error is None or isinstance(error, Exception)
            said.append((done + pipe.sent, error and type(error)))
        said.extend((answer.message, answer.error and answer.status) for answer in self.answers)
        return said

    def leases(self) -> list[tuple[int, int, float]]:
        self.server.lessor.check_invariants(self.server.clock.now())
        return [(each.id, each.ttl, each.expiry) for each in self.server.lessor.leases()]


ids = st.sampled_from((1, 2, 3, -1, LARGEST, SMALLEST, 99))
named = ids.map(naming) | st.sampled_from(tuple(ODD.values()))
acts = st.one_of(
    st.tuples(st.just("grant"), ids, st.integers(2, 300)),
    st.tuples(st.just("revoke"), ids),
    st.tuples(st.just("put"), ids),
    st.tuples(st.just("keep"), st.lists(named, min_size=1, max_size=6)),
    st.tuples(st.just("keep"), st.lists(ids.map(naming), min_size=1, max_size=6)),
    st.tuples(st.just("pass"), st.sampled_from((0.25, 0.5))),
    st.tuples(st.just("stall"), st.sampled_from((0.75, 3.0))),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
    st.tuples(st.just("demote")),
)


async def act(side: Side, what: str, *given: Any) -> None:
    server = side.server
    if what == "grant":
        side.answers.append(server.ask(LeaseGrantRequest(ID=given[0], TTL=given[1])))
    elif what == "revoke":
        side.answers.append(server.ask(LeaseRevokeRequest(ID=given[0])))
    elif what == "put":
        side.answers.append(server.ask(PutRequest(key=b"k", lease=given[0])))
    elif what == "keep":
        side.keep_alive(given[0])
    elif what == "pass":
        server.clock.jump(given[0])
        server.engine.horizon()
    elif what == "stall":
        server.clock.jump(given[0])
    elif what == "hold":
        server.flusher.hold()
    elif what == "release":
        server.flusher.let_go()
    else:
        server.lessor.demote()
    await settle()


GRANT: Final = ("grant", 1, 5)
KEEP: Final = ("keep", [naming(1), naming(1)])


@given(st.lists(acts, max_size=25))
@example([GRANT, KEEP, ("revoke", 1), ("grant", 1, 9), KEEP, KEEP])
@example([GRANT, KEEP, ("put", 1), KEEP, ("hold",), ("put", 1), KEEP, ("revoke", 1), KEEP])
@example([GRANT, KEEP, *[("pass", 0.5)] * 10, KEEP, KEEP])
@example([GRANT, KEEP, ("stall", 9.0), KEEP])
@example([GRANT, KEEP, ("demote",), KEEP])
@example([GRANT, ("hold",), ("revoke", 1), KEEP, ("grant", 1, 7), KEEP, ("release",), KEEP])
def test_whatever_happens_the_two_ways_say_and_do_the_same(steps: list[tuple[Any, ...]]) -> None:
    @in_loop
    async def compare() -> None:
        sides = [Side(is_at_once=True), Side(is_at_once=False)]
        for side in sides:
            for step in [*steps, ("release",)]:
                await act(side, *step)
        assert sides[0].told() == sides[1].told()
        assert sides[0].leases() == sides[1].leases()
        assert sides[0].server.engine.renewals == sides[1].server.engine.renewals

    compare()


def ttls(replies: list[bytes]) -> list[tuple[int, int]]:
    parsed = [LeaseKeepAliveResponse.FromString(each) for each in replies]
    return [(each.ID, each.TTL) for each in parsed]


@in_loop
async def test_a_batch_is_answered_up_to_the_first_that_is_out_of_the_ordinary() -> None:
    server = bare_server()
    for lease_id in (1, 2, -1, LARGEST, SMALLEST):
        await server.call(LeaseGrantRequest(ID=lease_id, TTL=60))
    at_once = at_once_of(server)
    every = [naming(each) for each in (1, -1, LARGEST, SMALLEST, 2, 1)]
    assert ttls(renewed(at_once, every)) == [
        (each, 60) for each in (1, -1, LARGEST, SMALLEST, 2, 1)
    ]
    for odd in ODD.values():
        assert ttls(renewed(at_once, [naming(1), odd, naming(2)])) == [(1, 60)]
        assert renewed(at_once, [odd]) == []
    assert ttls(renewed(at_once, [naming(2), naming(99), naming(1)])) == [(2, 60)]
    assert server.engine.renewals == 6 + len(ODD) + 1


@in_loop
async def test_a_lease_granted_again_under_its_id_is_answered_with_its_own_ttl() -> None:
    """Without a key, neither its grant nor its revoke is a revision."""
    server = bare_server()
    at_once = at_once_of(server)
    for ttl in (60, 70, 80):
        await server.call(LeaseGrantRequest(ID=1, TTL=ttl))
        await server.call(LeaseGrantRequest(ID=2, TTL=ttl))
        assert ttls(renewed(at_once, [naming(1)])) == ([] if ttl > 60 else [(1, 60)])
        assert ttls(renewed(at_once, [naming(1), naming(2)])) == [(1, ttl)] + [(2, 60)] * (
            ttl == 60
        )
        assert ttls(renewed(at_once, [naming(2)])) == [(2, ttl)]
        for lease_id in (1, 2):
            await server.call(LeaseRevokeRequest(ID=lease_id))
    assert server.store.published == 1


@in_loop
async def test_leases_that_come_and_go_leave_nothing_behind() -> None:
    server = bare_server()
    at_once = at_once_of(server)
    for lease_id in range(1, 50):
        await server.call(LeaseGrantRequest(ID=lease_id, TTL=60))
        assert ttls(renewed(at_once, [naming(lease_id)])) == [(lease_id, 60)]
        await server.call(LeaseRevokeRequest(ID=lease_id))
        assert renewed(at_once, [naming(lease_id)]) == []
    assert server.store.published == 1, "nothing else has made it forget"
    assert len(at_once._leases) == len(at_once._replies) == 0


@in_loop
async def test_the_header_is_that_of_the_moment() -> None:
    server = bare_server()
    await server.call(LeaseGrantRequest(ID=1, TTL=60))
    at_once = at_once_of(server)
    for revision in range(1, 4):
        for _ in range(2):
            (reply,) = renewed(at_once, [naming(1)])
            assert LeaseKeepAliveResponse.FromString(reply).header.revision == revision
        await server.call(PutRequest(key=b"a"))
    await in_flight(server, PutRequest(key=b"a"))
    (reply,) = renewed(at_once, [naming(1)])
    assert LeaseKeepAliveResponse.FromString(reply).header.revision == 4, "not durable yet"


@pytest.mark.parametrize("known", [False, True])
@in_loop
async def test_a_lease_that_a_group_in_flight_grants_or_revokes_is_not_answered(
    known: bool,
) -> None:
    server = bare_server()
    for lease_id in (1, 2):
        await server.call(LeaseGrantRequest(ID=lease_id, TTL=60))
    at_once = at_once_of(server)
    if known:
        renewed(at_once, [naming(1), naming(2)])
    await in_flight(server, LeaseRevokeRequest(ID=2), LeaseGrantRequest(ID=3, TTL=60))
    assert ttls(renewed(at_once, [naming(1), naming(2), naming(1)])) == [(1, 60)]
    assert ttls(renewed(at_once, [naming(1), naming(3)])) == [(1, 60)]
    server.flusher.let_go()
    await settle()
    assert renewed(at_once, [naming(2)]) == []
    assert ttls(renewed(at_once, [naming(3), naming(1)])) == [(3, 60), (1, 60)]


@pytest.mark.parametrize(("many", "kept"), [(3, 3), (4, 3), (6, 3), (7, 1)])
def test_of_more_than_may_be_known_the_rest_is_answered_too_and_in_time_learnt(
    many: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "KNOWN_MAX", 3)
    monkeypatch.setattr(renewals, "PASSED_OVER_MAX", 3)

    @in_loop
    async def scenario() -> None:
        server = bare_server()
        for lease_id in range(many):
            await server.call(LeaseGrantRequest(ID=1 + lease_id, TTL=60 + lease_id))
        at_once = at_once_of(server)
        expected = [(1 + number, 60 + number) for number in range(many)]
        assert ttls(renewed(at_once, [naming(1 + number) for number in range(many)])) == expected
        assert len(at_once._leases) == kept
        # One of them goes, and comes again.
        await server.call(LeaseRevokeRequest(ID=1))
        await server.call(LeaseGrantRequest(ID=1, TTL=99))
        renewed(at_once, [naming(1)])
        assert ttls(renewed(at_once, [naming(1)])) == [(1, 99)]
        for lease_id in range(1, many + 1):
            assert renewed(at_once, [naming(lease_id)])
            assert at_once._replies.keys() <= at_once._leases.keys()
        renewed(at_once, [naming(lease_id) for lease_id in range(2, many + 1)])
        for lease_id in range(50, 60):
            await server.call(LeaseGrantRequest(ID=lease_id, TTL=60))
            assert renewed(at_once, [naming(lease_id)])
            assert len(at_once._leases) <= 3
        assert at_once._replies.keys() <= at_once._leases.keys()

    scenario()


def test_where_there_is_no_room_answers_are_made_and_in_time_others_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewals, "KNOWN_MAX", 3)
    monkeypatch.setattr(renewals, "PASSED_OVER_MAX", 3)

    @in_loop
    async def scenario() -> None:
        server = bare_server()
        for lease_id in range(1, 9):
            await server.call(LeaseGrantRequest(ID=lease_id, TTL=60 + lease_id))
        at_once = at_once_of(server)
        known: list[list[int]] = []
        for lease_id in range(1, 9):
            for _ in range(2):
                assert ttls(renewed(at_once, [naming(lease_id)])) == [(lease_id, 60 + lease_id)]
            names = [LeaseKeepAliveRequest.FromString(each).ID for each in at_once._leases]
            assert names == [LeaseKeepAliveRequest.FromString(each).ID for each in at_once._replies]
            known.append(names)
        assert known == [[1], [1, 2], [1, 2, 3], [1, 2, 3], [5], [5, 6], [5, 6, 7], [5, 6, 7]]

    scenario()


@in_loop
async def test_not_primary_the_refusal_is_the_coroutines() -> None:
    server = bare_server()
    await server.call(LeaseGrantRequest(ID=1, TTL=60))
    at_once = at_once_of(server)
    assert renewed(at_once, [naming(1)])
    server.lessor.demote()
    assert renewed(at_once, [naming(1)]) == []
    assert server.engine.renewals == 1
    server.lessor.promote(0, now=server.clock.now())
    assert ttls(renewed(at_once, [naming(1)])) == [(1, 60)]


@in_loop
async def test_where_users_count_or_are_about_to_nothing_is_answered_at_once() -> None:
    server = bare_server()
    await server.call(LeaseGrantRequest(ID=1, TTL=60))
    at_once = at_once_of(server)
    auth = server.state.auth
    assert renewed(at_once, [naming(1)])
    auth.durable_revision = auth.revision - 1
    assert not auth.is_settled
    assert renewed(at_once, [naming(1)]) == []
    auth.durable_revision = auth.revision
    auth.enabled = True
    assert renewed(at_once, [naming(1)]) == []
    auth.enabled = False
    assert renewed(at_once, [naming(1)])
