"""What takes long takes turns with others, and is one revision all the same.

A turn of the loop is one `asyncio.sleep(0)`; the disk is a `HeldFlusher`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Final

import pytest
from google.protobuf.message import Message

from etcdpb.rpc_pb2 import (
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from mvcc.slicing import SLICE_CHANGES, SLICE_COSTLY, SLICE_KEYS
from server import engine as engine_module
from server.commands.lease import ExpireDue
from server.status import LEASE_NOT_FOUND, TOO_MANY_REQUESTS, TooManyRequestsError
from tests.support.calls import Answer, Pipe
from tests.support.clock import settle
from tests.support.loop import in_loop
from tests.support.server import ServerInProcess, bare_server, parsed

KEYS: Final = 2 * SLICE_COSTLY
LEASE, OTHER = 7, 8
ALL: Final = RangeRequest(key=b"\0", range_end=b"\0")
NAMES: Final = RangeRequest(key=b"\0", range_end=b"\0", keys_only=True)
FIRST: Final = RangeRequest(key=b"000000")
DELETE: Final = DeleteRangeRequest(key=b"\0", range_end=b"\0")
REVOKE: Final = LeaseRevokeRequest(ID=LEASE)
TXN: Final = TxnRequest(
    success=[
        RequestOp(request_range=NAMES),
        RequestOp(request_delete_range=DELETE),
        RequestOp(request_put=PutRequest(key=b"!", value=b"new")),
    ]
)


async def filled(keys: int = KEYS) -> ServerInProcess:
    """Keys on one lease, and another lease without any."""
    server = bare_server()
    for lease in (LEASE, OTHER):
        server.ask(LeaseGrantRequest(ID=lease, TTL=60))
    for number in range(keys):
        server.ask(PutRequest(key=b"%06d" % number, value=b"v", lease=LEASE))
    await settle()
    assert server.store.current == keys + 1
    return server


class KeepAlive:
    def __init__(self, server: ServerInProcess) -> None:
        self.pipe = Pipe()
        server.open("/etcdserverpb.Lease/LeaseKeepAlive", self.pipe)

    def renew(self, lease: int) -> None:
        self.pipe.write(LeaseKeepAliveRequest(ID=lease).SerializeToString())

    def ttls(self) -> list[int]:
        return [LeaseKeepAliveResponse.FromString(each).TTL for each in self.pipe.sent]


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# --- answers ---


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        (NAMES, KEYS),
        (RangeRequest(key=b"\0", range_end=b"\0", revision=100), KEYS),
        (TxnRequest(success=[RequestOp(request_range=NAMES)] * 2), KEYS),
        (TxnRequest(success=[RequestOp(request_range=ALL)] * 11), KEYS),
        (LeaseTimeToLiveRequest(ID=LEASE, keys=True), SLICE_KEYS + 1),
    ],
)
def test_while_a_long_answer_is_made_renewals_and_short_reads_go_on_and_changes_wait(
    request_: Message, keys: int
) -> None:
    async def scenario() -> None:
        server = await filled(keys)
        keepalive = KeepAlive(server)
        await turns(3)
        expected = parsed(request_, await whole(server, request_))
        long = server.ask(request_)
        put = server.ask(PutRequest(key=b"000000", value=b"new"))
        keepalive.renew(LEASE)
        await turns(2)
        assert keepalive.ttls() == [60]
        assert server.ask(FIRST).is_done
        assert server.store.current == keys + 1
        assert not long.is_done
        await settle()
        assert parsed(request_, long) == expected
        assert parsed(PutRequest(), put).header.revision == keys + 2
        assert server.fatal == []

    asyncio.run(scenario())


async def whole(server: ServerInProcess, request: Message) -> Answer:
    answer = server.ask(request)
    await settle()
    return answer


@in_loop
async def test_very_many_leases_are_listed_soonest_first() -> None:
    server = bare_server()
    count = SLICE_COSTLY + 1
    for number in range(1, count + 1):
        server.ask(LeaseGrantRequest(ID=number, TTL=10 * count - number))
    await settle()
    answer = server.ask(LeaseLeasesRequest())
    assert not answer.is_done
    await settle()
    found = [each.ID for each in parsed(LeaseLeasesRequest(), answer).leases]
    assert found == list(range(count, 0, -1))


@in_loop
async def test_long_answers_and_groups_take_turns() -> None:
    server = await filled()
    order: list[str] = []

    def noting(name: str) -> Answer:
        return Answer(lambda _: order.append(name))

    server.ask(NAMES, noting("read 1"))
    server.ask(NAMES, noting("read 2"))
    server.ask(PutRequest(key=b"k"), noting("put 1"))
    await turns(1)
    server.ask(PutRequest(key=b"k"), noting("put 2"))
    server.ask(NAMES, noting("read 3"))
    await settle()
    assert order == ["read 1", "put 1", "put 2", "read 2", "read 3"]


@in_loop
async def test_a_long_read_that_waited_for_an_fsync_is_made_behind_it() -> None:
    server = await filled()
    server.flusher.hold()
    server.ask(PutRequest(key=b"000000", value=b"new"))
    await settle()
    long = [server.ask(ALL if each else NAMES) for each in range(2)]
    await settle()
    assert not any(each.is_done for each in long)
    server.flusher.let_go()
    await settle()
    assert [parsed(ALL, each).header.revision for each in long] == [KEYS + 2] * 2


@in_loop
async def test_drained_waits_for_a_long_answer() -> None:
    server = await filled()
    long = server.ask(NAMES)
    await server.engine.drained()
    assert long.is_done


def test_long_answers_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "READS_MAX", 2)

    async def scenario() -> None:
        server = await filled()
        long = [server.ask(NAMES) for _ in range(3)]  # One is being made.
        assert server.ask(NAMES).status == TOO_MANY_REQUESTS
        await settle()
        assert [parsed(NAMES, each).count for each in long] == [KEYS] * 3

    asyncio.run(scenario())


@in_loop
async def test_a_long_answer_that_is_refused_half_way_is_told_so_and_the_next_is_made() -> None:
    server = await filled()

    def refusing(_: None) -> Generator[None, None, bytes]:
        yield
        raise TooManyRequestsError

    refused = Answer()
    assert server.engine.read(refusing, None, refused) is None
    other = server.ask(NAMES)
    await settle()
    assert refused.status == TOO_MANY_REQUESTS
    assert other.is_done
    assert server.fatal == []


# --- changes ---


CHANGES: Final[dict[str, tuple[Message, Callable[[Any], Any], Any]]] = {
    "delete": (DELETE, lambda reply: reply.deleted, KEYS),
    "revoke": (REVOKE, lambda reply: reply.header.revision, KEYS + 2),
    "txn": (TXN, lambda reply: reply.responses[1].response_delete_range.deleted, KEYS),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_long_change_is_seen_by_nobody_before_it_is_whole(kind: str) -> None:
    request, read, expected = CHANGES[kind]

    async def scenario() -> None:
        server = await filled()
        keepalive = KeepAlive(server)
        await turns(3)
        change = server.ask(request)
        await turns(3)
        assert 0 < len(server.store.index) < KEYS + 1, "it is half made"
        keepalive.renew(OTHER)
        seen = server.ask(ALL)
        behind = server.ask(PutRequest(key=b"behind"))
        await turns(1)
        assert keepalive.ttls() == [60]
        assert not any(each.is_done for each in (change, seen, behind))
        await settle()
        assert read(parsed(request, change)) == expected
        found = parsed(ALL, seen)
        assert found.header.revision == KEYS + 2
        assert found.count == (1 if kind == "txn" else 0)
        assert parsed(PutRequest(), behind).header.revision == KEYS + 3
        assert server.flusher.flushes > 0
        assert server.fatal == []
        server.lessor.check_invariants(server.clock.now())
        server.store.index.check_invariants()
        await server.restart()
        assert server.store.current == KEYS + 3

    asyncio.run(scenario())


@in_loop
async def test_the_lease_that_is_being_revoked_is_not_renewed_any_more() -> None:
    server = await filled()
    keepalive = KeepAlive(server)
    await turns(3)
    server.ask(REVOKE)
    await turns(3)
    keepalive.renew(LEASE)
    await turns(2)
    assert keepalive.ttls() == []
    await settle()
    assert keepalive.ttls() == [0]
    assert server.ask(LeaseTimeToLiveRequest(ID=LEASE)).message is not None
    assert (await whole(server, REVOKE)).status == LEASE_NOT_FOUND


@in_loop
async def test_a_lease_with_very_many_keys_expires_in_steps_among_others() -> None:
    server = await filled()
    for _ in range(124):
        await server.clock.advance(0.5)
        server.engine.horizon()
    expired = await server.engine.run(ExpireDue(server.clock.now, 100))
    assert {lease_id for lease_id, _ in expired} == {LEASE, OTHER}
    assert len(server.store.index) == 0
    assert len(server.lessor) == 0


@in_loop
async def test_a_client_that_was_told_of_a_timeout_is_told_nothing_more() -> None:
    server = await filled()
    server.flusher.hold()
    change = server.ask(DELETE)
    await turns(3)
    behind = server.ask(PutRequest(key=b"k"))
    assert server.engine.give_up(server.engine.asked()) == 2
    assert change.error is not None
    assert behind.error is not None
    server.flusher.let_go()
    await settle()
    assert len(server.store.index) == 0, "what was in flight is made"
    assert server.engine.asked().commands == server.engine.stats().commands + 1


@in_loop
async def test_a_bug_in_a_step_is_fatal_and_answers_nobody() -> None:
    server = await filled()
    change = server.ask(DELETE)
    await turns(2)
    server.store.index.entries.clear()
    await settle()
    assert len(server.fatal) == 1
    assert not change.is_done
    assert not server.ask(ALL).is_done


@in_loop
async def test_a_change_of_one_slice_is_made_at_once() -> None:
    server = await filled(SLICE_CHANGES)
    server.flusher.hold()
    server.ask(DELETE)
    await turns(1)
    assert server.flusher.is_waiting
    server.flusher.let_go()
    await settle()
