"""Any history, watched by many with sinks that fill up: each sees what the model says.

Every watcher sees exactly its events, in order, once, without a gap and never half a revision,
or is told that what it needed is compacted, and only if it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from etcdpb.kv_pb2 import Event
from mvcc.keyrange import KeyRange
from mvcc.watch import WatchHub
from mvcc.watch_history import History
from mvcc.watcher import Watcher
from tests.mvcc.model import Model, Operation
from tests.mvcc.strategies import groups, key_ranges
from tests.mvcc.support import Database, Recorder, events_of


@dataclass(eq=False)
class Watch:
    """A watcher, what it was sent, and from which revision on it is to see everything."""

    watcher: Watcher
    sink: Recorder
    start: int
    seen: list[list[Event]] = field(default_factory=list)  # By revision.
    expected: list[list[Event]] = field(default_factory=list)
    expected_up_to: int = 0


def by_revision(events: list[Event]) -> list[list[Event]]:
    return [list(group) for _, group in groupby(events, key=lambda event: event.kv.mod_revision)]


class WatchMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.database = Database()
        store = self.database.store
        history = History(store, revisions_max=3, rows_max=5, bytes_max=100)
        self.database.hub = WatchHub(store, history)
        self.watches: list[Watch] = []

    @rule(
        keys=key_ranges.filter(lambda keys: not keys.is_empty),
        data=st.data(),
        room=st.integers(0, 2),
        no_put=st.booleans(),
        no_delete=st.booleans(),
        prev_kv=st.booleans(),
    )
    def watch(
        self,
        keys: KeyRange,
        data: st.DataObject,
        room: int,
        no_put: bool,
        no_delete: bool,
        prev_kv: bool,
    ) -> None:
        start = data.draw(st.integers(0, self.model.revision + 3))
        sink = Recorder(room)
        watcher = Watcher(
            len(self.watches),
            keys,
            sink,
            start_revision=start,
            no_put=no_put,
            no_delete=no_delete,
            prev_kv=prev_kv,
        )
        self.database.hub.add(watcher)
        self.watches.append(Watch(watcher, sink, start or self.model.revision + 1))

    @rule(transactions=groups)
    def change(self, transactions: list[list[Operation]]) -> None:
        with self.database.group():
            for operations in transactions:
                self.database.apply(operations)
                self.model.transact(operations)
        for watch in self.watches:
            self.take_live(watch)

    def take_live(self, watch: Watch) -> None:
        """Check what `publish` offered: one revision in each response, which its header names."""
        for revision, events in watch.sink.responses:
            assert {event.kv.mod_revision for event in events} == {revision}
            self.take(watch, events)
        watch.sink.responses.clear()

    def take(self, watch: Watch, events: list[Event]) -> None:
        """Hold a response to what comes next for this watcher."""
        for revision in by_revision(events):
            expected = self.expected(watch)[len(watch.seen)]
            if expected[0].kv.mod_revision <= self.model.compacted:
                expected = [Event(type=event.type, kv=event.kv) for event in expected]
            assert revision == expected
            watch.seen.append(revision)

    def expected(self, watch: Watch) -> list[list[Event]]:
        """All that it is to see up to now, by revision."""
        if watch.expected_up_to != self.model.revision:
            watcher = watch.watcher
            events = self.model.events(
                watcher.keys,
                watch.start,
                no_put=watcher.no_put,
                no_delete=watcher.no_delete,
                prev_kv=watcher.prev_kv,
            )
            watch.expected = by_revision(list(events))
            watch.expected_up_to = self.model.revision
        return watch.expected

    @precondition(lambda self: self.watches)
    @rule(data=st.data(), room=st.integers(0, 3))
    def read_on(self, data: st.DataObject, room: int) -> None:
        data.draw(st.sampled_from(self.watches)).sink.room = room

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def catch_up(self, data: st.DataObject) -> None:
        self.catch_up_once(data.draw(st.sampled_from(self.watches)))

    def catch_up_once(self, watch: Watch) -> None:
        watcher, compacted = watch.watcher, self.model.compacted
        if watcher.is_synced or watcher.is_compacted:
            return
        is_late = watcher.next_revision < compacted
        events, told = self.database.hub.catch_up(watcher)
        assert told == (compacted if is_late else 0)
        assert watcher.is_compacted == is_late
        assert not (events and is_late)
        self.take(watch, events_of(events))

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        watch = data.draw(st.sampled_from(self.watches))
        self.watches.remove(watch)
        self.database.hub.remove(watch.watcher)

    @precondition(lambda self: self.model.compacted < self.model.revision)
    @rule(data=st.data(), rows_max=st.integers(1, 3))
    def compact(self, data: st.DataObject, rows_max: int) -> None:
        target = data.draw(st.integers(self.model.compacted + 1, self.model.revision))
        self.database.schedule(target)
        self.database.step(rows_max)
        self.model.compacted = target

    @invariant()
    def holds_together(self) -> None:
        hub = self.database.hub
        self.database.check()
        watchers = [watch.watcher for watch in self.watches]
        assert len(hub) == len(watchers)
        behind = [watcher for watcher in watchers if not watcher.is_synced]
        assert hub.behind_count == len(behind)
        is_there = not behind and all(
            watch.watcher.start_revision <= self.model.revision for watch in self.watches
        )
        assert hub.progress_revision(watchers) == (self.model.revision if is_there else None)
        for watch in self.watches:
            if watch.watcher.is_synced:  # Then nothing up to now is owed.
                assert len(watch.seen) == len(self.expected(watch))
            for revision in watch.seen[-1:]:
                assert revision[0].kv.mod_revision < watch.watcher.next_revision

    def teardown(self) -> None:
        """Whoever reads on long enough is told everything."""
        for watch in self.watches:
            while not watch.watcher.is_synced and not watch.watcher.is_compacted:
                self.catch_up_once(watch)
        self.holds_together()


TestWatchMachine = WatchMachine.TestCase
TestWatchMachine.settings = settings(stateful_step_count=40)
