"""The whole server against the dull etcd of `tests.model`, under any sequence of calls.

Calls go in as encoded requests through the method table, alone, several into one group, or
while a group is in flight; streams are real streams. Time moves in whole seconds while ticks
lie between them, so the model knows at every moment which leases are gone and which are due.

What is compared: every field of every reply, code and text of every refusal, and every event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    PutRequest,
    WatchCreateRequest,
)
from lease.lessor import LeaseID
from lease.wheel import TICK_S
from mvcc.backend.base import Column
from mvcc.backend.memory import MemoryBackend
from server.lease_clock import GRACE_S
from server.services import watch as watch_service
from server.status import RpcError
from tests.model import Model
from tests.support import requests
from tests.support.calls import Answer, Pipe
from tests.support.clock import FakeClock, settle
from tests.support.rules import Refused
from tests.support.server import IDENTITY, ServerInProcess, parsed
from tests.support.watches import WatchStream

T = TypeVar("T")

BEGIN = 1000 + 2**-6  # Seconds; a binary fraction, so whole seconds later is exact.
OUTBOX_MAX = 4  # Responses; small, so that watchers fall behind.
STREAMS = 2


class ServerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._outbox_max = watch_service.OUTBOX_RESPONSES_MAX
        watch_service.OUTBOX_RESPONSES_MAX = OUTBOX_MAX  # type: ignore[misc]  # put back below
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock(BEGIN)
        self.backend = MemoryBackend()
        self.model = Model(IDENTITY.cluster_id, IDENTITY.member_id, term=2, now=BEGIN)
        self.server: ServerInProcess = self._run(self._start())
        self._open_streams()

    async def _start(self) -> ServerInProcess:
        server = ServerInProcess(self.backend, self.clock)
        await settle()
        return server

    def _open_streams(self) -> None:
        self.streams = [WatchStream(self.server, self.model) for _ in range(STREAMS)]
        self.oracle = WatchStream(self.server, self.model)  # Sees all, and when.
        self.oracle.create(WatchCreateRequest(key=b"\0", range_end=b"\0", prev_kv=True))
        self.keepalive = Pipe()
        self.server.open("/etcdserverpb.Lease/LeaseKeepAlive", self.keepalive)
        self._settle()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def _settle(self) -> None:
        self._run(settle())

    def teardown(self) -> None:
        self._run(self.server.stop())
        self.loop.close()
        watch_service.OUTBOX_RESPONSES_MAX = self._outbox_max  # type: ignore[misc]

    # Calls

    def _expect(self, request: Any, answer: Answer) -> None:
        try:
            got: Any = parsed(request, answer)
        except RpcError as refusal:
            got = (int(refusal.status.code), refusal.status.message)
        try:
            expected: Any = self.model.answer(request)
        except Refused as refused:
            expected = (refused.code, refused.message)
        assert got == expected, f"to {request!r}"

    @rule(request=requests.writes)
    def writes(self, request: Any) -> None:
        self._group([request])

    @rule(request=requests.reads)
    def reads(self, request: Any) -> None:
        self._group([request])

    @rule(group=st.lists(st.one_of(requests.writes, requests.reads), min_size=2, max_size=5))
    def several_in_one_group(self, group: list[Any]) -> None:
        self._group(group)

    @rule(lease=st.sampled_from(requests.LEASES), ttl=st.integers(2, 6))
    def a_lease_comes_to_have_every_key(self, lease: int, ttl: int) -> None:
        puts = [PutRequest(key=key, lease=lease) for key in (b"c", b"a", b"d", b"b")]
        self._group([LeaseGrantRequest(ID=lease, TTL=ttl), *puts])

    @rule(request=requests.puts, count=st.integers(OUTBOX_MAX, 2 * OUTBOX_MAX))
    def many_at_once(self, request: PutRequest, count: int) -> None:
        """More than a stream that is not read holds, and at times than one that is."""
        self._group([request] * count)

    def _group(self, group: list[Any]) -> None:
        async def ask() -> list[tuple[Any, Answer]]:
            asked = []
            for request in group:
                answer = self.server.ask(request)
                if requests.is_read(request):
                    self._expect(request, answer)  # At once, of what was before the group.
                else:
                    asked.append((request, answer))
            await settle()
            return asked

        for request, answer in self._run(ask()):
            self._expect(request, answer)

    @rule(
        first=st.lists(requests.writes, min_size=1, max_size=3),
        reads=st.lists(requests.reads, max_size=3),
        second=st.lists(requests.writes, max_size=3),
    )
    def some_while_a_group_is_in_flight(
        self, first: list[Any], reads: list[Any], second: list[Any]
    ) -> None:
        # In the order they are answered in, which is that of the one list of changes: a transaction
        # that reads the disk, and all behind it, may have to wait for the group after next.
        answered: list[tuple[Any, Answer]] = []

        def note(request: Any, answer: Answer) -> None:
            answered.append((request, answer))

        def ask(asked: list[Any]) -> list[Answer]:
            return [self.server.ask(each, Answer(partial(note, each))) for each in asked]

        async def scenario() -> None:
            flusher = self.server.flusher
            answers = ask([each for each in first if not requests.is_read(each)])
            flusher.hold()
            await settle()
            is_in_flight = flusher.is_waiting
            answers += ask(reads)
            answers += ask([each for each in second if not requests.is_read(each)])
            if is_in_flight:
                await settle()
                # What leaves at once is a refusal of the request itself.
                assert all(each.error is not None for each in answers if each.is_done)
            flusher.let_go()
            await settle()
            assert len(answered) == len(answers)
            for request, answer in answered:
                self._expect(request, answer)

        self._run(scenario())

    @rule(leases=st.lists(requests.lease_ids, min_size=1, max_size=4))
    def keeps_alive(self, leases: list[int]) -> None:
        already = len(self.keepalive.sent)
        for lease in leases:
            self.keepalive.write(LeaseKeepAliveRequest(ID=lease).SerializeToString())
        self._settle()
        got = [LeaseKeepAliveResponse.FromString(m) for m in self.keepalive.sent[already:]]
        assert got == [self.model.keep_alive(lease) for lease in leases]

    # Time

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        self._run(self.clock.advance(seconds))
        self._expire(latest=TICK_S)

    @rule(seconds=st.integers(1, 4), leases=st.lists(requests.lease_ids, max_size=3, unique=True))
    def the_process_stalls(self, seconds: int, leases: list[int]) -> None:
        self.keeps_alive([99])  # So the clock was looked at just before.
        self._revoke_what_was_due()
        self.clock.jump(seconds)
        self.model.now = self.clock.now()
        # Renewals that waited in a socket win over deadlines that passed meanwhile.
        already = len(self.keepalive.sent)
        for lease_id in leases:
            self.keepalive.write(LeaseKeepAliveRequest(ID=lease_id).SerializeToString())
        self._settle()
        got = [LeaseKeepAliveResponse.FromString(m) for m in self.keepalive.sent[already:]]
        for lease_id, response in zip(leases, got, strict=True):
            lease = self.model.leases.get(lease_id)
            if lease is not None:
                lease.expiry = self.model.now + lease.ttl
            assert response == self.model.keep_alive(lease_id)
        self._run(self.clock.advance(1))
        self._expire(latest=seconds + GRACE_S + TICK_S)

    def _revoke_what_was_due(self) -> None:
        """Leases whose very last moment is now, so that a stall cannot find them due before."""
        due = [each.id for each in self.model.leases.values() if each.expiry <= self.model.now]
        if due:
            self.keeps_alive(due)

    def _expire(self, latest: float) -> None:
        """Let those leases go whose time was up before now, as late as `latest` seconds."""
        now = self.model.now = self.clock.now()
        deleted = self.oracle.deleted_since_the_last_look()
        gone = []
        for lease in self.model.leases.values():
            if lease.expiry >= now:
                continue
            keys = self.model.keys_of(lease.id)
            revision = 0
            if keys:
                revision, at = deleted[keys[0]]
                assert lease.expiry <= at <= lease.expiry + latest + 1e-6
            gone.append((lease.expiry, revision, lease.id))
        for _, _, lease_id in sorted(gone):  # Of those due together any may be first.
            self.model.revoke(lease_id)

    @rule()
    def the_process_is_replaced(self) -> None:
        for stream in (*self.streams, self.oracle):
            stream.check()
        self._run(self.server.restart())
        self.model.restart(self.clock.now())
        self._settle()
        self._open_streams()

    # Watches

    @rule(
        stream=st.integers(0, STREAMS - 1),
        create=st.builds(
            WatchCreateRequest,
            key=st.sampled_from((b"a", b"b", b"c", b"")),
            range_end=st.sampled_from((b"", b"", b"\0", b"a", b"c", b"z")),
            start_revision=st.one_of(st.just(0), st.integers(-1, requests.REVISION_MAX)),
            filters=st.lists(st.sampled_from((0, 1)), max_size=1),
            prev_kv=st.booleans(),
            watch_id=st.sampled_from((0, 0, 0, 1, 7)),
        ),
    )
    def creates_a_watch(self, stream: int, create: WatchCreateRequest) -> None:
        if not self.streams[stream].is_paused:
            self.streams[stream].create(create)
            self._settle()

    @rule(stream=st.integers(0, STREAMS - 1), watch_id=st.sampled_from((0, 1, 2, 7)))
    def cancels_a_watch(self, stream: int, watch_id: int) -> None:
        if not self.streams[stream].is_paused:
            self.streams[stream].cancel(watch_id)
            self._settle()

    @rule(stream=st.integers(0, STREAMS - 1))
    def asks_for_progress(self, stream: int) -> None:
        if not self.streams[stream].is_paused:
            self.streams[stream].ask_for_progress()
            self._settle()

    @rule(stream=st.integers(0, STREAMS - 1))
    def stops_or_goes_on_reading(self, stream: int) -> None:
        self.streams[stream].toggle()
        self._settle()

    # What is always so

    @invariant()
    def every_watcher_got_what_was_its_own(self) -> None:
        self._settle()
        for stream in (*self.streams, self.oracle):
            stream.check()

    @invariant()
    def the_parts_hold_together(self) -> None:
        server = self.server
        assert server.fatal == []
        server.lessor.check_invariants(self.clock.now())
        server.store.index.check_invariants()
        server.core.hub.check_invariants()
        assert server.store.current == server.store.published == self.model.revision
        watches = sum(len(stream.watches) for stream in (*self.streams, self.oracle))
        assert len(server.core.hub) == watches
        assert server.store.in_use == sum(
            len(key) + len(value) for column in Column for key, value in self.backend.scan(column)
        )

    @rule()
    def leases_and_their_keys_agree(self) -> None:
        self._group([LeaseLeasesRequest()])
        for lease in self.model.leases.values():
            held = self.server.lessor.lookup(LeaseID(lease.id)).sorted_keys()
            assert held == self.model.keys_of(lease.id)


# Its size is a number of examples: 300 of them, with coverage, take a slow machine a minute.
TestServer = pytest.mark.timeout(600)(ServerMachine.TestCase)
