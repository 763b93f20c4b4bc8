"""Whether all calls fit the one order that the revisions say, and that order real time.

1. Replay: from the state at the base revision, revision by revision. A write's answer must be what
   the model says of it at its revision, a read's what the keys were at the one of its header. A
   revision is made by an answered call, by one call without an answer, or by the end of a lease.
2. Real time: who began after something was seen is not older than it (`_in_time`).
3. By itself, whatever the headers say across keys, each key has an order: `search`.

The first two are strict serializability across keys, since every answer tells its revision; the
third would find what a wrong header hides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from compat.histories import model
from compat.histories.record import KV, Call, Delete, Event, Get, History, Kind, Put
from compat.histories.search import KeyOp, UndecidedError, is_linearizable
from compat.histories.timeline import Timeline, is_fresh
from compat.histories.violation import LINEARIZABILITY, LOST, Violation


class Replay:
    """Goes once over the log. `ends`: revisions that the end of a lease made, with that lease."""

    def __init__(self, history: History) -> None:
        self.ends: dict[int, int] = {}
        self.made_by: dict[int, Call] = {}  # Calls without an answer, by the revision they made.
        self.lost = 0
        self._violations: list[Violation] = []
        self._history = history
        self._writes: dict[int, list[Call]] = defaultdict(list)
        self._reads: dict[int, list[Call]] = defaultdict(list)
        self._unknown: dict[bytes, Call] = {}  # By the value of one of its puts.
        self._unknown_deletes: list[Call] = []
        for call in history.calls:
            self._sort(call)

    def run(self) -> list[Violation]:
        """Raises nothing; returns what does not fit."""
        history = self._history
        keys = dict(history.base)
        self._read(history.base_revision, keys)
        for revision in range(history.base_revision + 1, history.last_revision + 1):
            events = history.log.get(revision, ())
            if not events:
                self._fail(f"revision {revision} is missing from the history", revision)
            self._explain(revision, keys, events)
            self._check_shape(keys, events)
            model.change(keys, events)
            self._read(revision, keys)
        for revision in [each for each in self._writes if each > history.last_revision]:
            for call in self._writes[revision]:
                self._lose(call)
        for revision in [each for each in self._reads if each > history.last_revision]:
            for call in self._reads[revision]:
                self._fail(f"what it saw is gone: {call}", revision)
        if keys != history.last:
            self._fail("the keys at the end are not what the history makes of them")
        return self._violations

    def _sort(self, call: Call) -> None:
        if call.kind is not Kind.KV:
            return
        if call.is_unknown and call.may_write:
            puts = [each for each in (*call.then, *call.otherwise) if isinstance(each, Put)]
            for put in puts:
                self._unknown[put.value] = call
            if not puts:
                self._unknown_deletes.append(call)
        elif call.is_answered:
            if call.wrote:
                if call.revision > self._history.base_revision:
                    self._writes[call.revision].append(call)
            else:
                first = call.branch[0] if call.branch else None
                past = first.revision if isinstance(first, Get) else 0
                self._reads[past or call.revision].append(call)

    def _explain(self, revision: int, keys: dict[bytes, KV], events: Sequence[Event]) -> None:
        """Who made this revision?"""
        calls = self._writes.get(revision, [])
        for call in calls:
            shown, changes = model.run(keys, revision, call.branch)
            if changes != events:
                self._lose(call)
            elif shown != call.results or call.succeeded != model.holds(call.guards, keys):
                self._fail(f"the answer does not fit its revision {revision}: {call}", revision)
        if len(calls) > 1:
            self._fail(f"revision {revision} was given to {len(calls)} calls", revision)
        if not calls and events:
            self._explain_unasked(revision, keys, events)

    def _explain_unasked(
        self, revision: int, keys: dict[bytes, KV], events: Sequence[Event]
    ) -> None:
        for event in events:
            call = self._unknown.get(event.kv.value) if event.kv is not None else None
            if call is not None:
                self._made(revision, call, keys, events)
                return
        if all(event.kv is None for event in events):
            attached = {keys[event.key].lease for event in events if event.key in keys}
            lease = attached.pop() if len(attached) == 1 else 0
            ends_lease = lease and len(events) == sum(kv.lease == lease for kv in keys.values())
            for call in self._unknown_deletes:
                branch = call.then if model.holds(call.guards, keys) else call.otherwise
                if model.run(keys, revision, branch)[1] == events:
                    if not ends_lease:  # Else it may have been either, and the call comes later.
                        self._unknown_deletes.remove(call)
                        self.made_by[revision] = call
                    return
            if lease:
                self._ended(revision, lease, keys, events)
                return
        self._fail(f"nobody asked for revision {revision}", revision)

    def _made(
        self, revision: int, call: Call, keys: dict[bytes, KV], events: Sequence[Event]
    ) -> None:
        if any(made is call for made in self.made_by.values()):
            self._fail(f"one call made a second revision, {revision}: {call}", revision)
        branch = call.then if model.holds(call.guards, keys) else call.otherwise
        if model.run(keys, revision, branch)[1] != tuple(events):
            self._fail(f"revision {revision} is only part of a call: {call}", revision)
        self.made_by[revision] = call

    def _ended(
        self, revision: int, lease: int, keys: dict[bytes, KV], events: Sequence[Event]
    ) -> None:
        """All its keys go at once."""
        gone = [event.key for event in events]
        attached = sorted(key for key, kv in keys.items() if kv.lease == lease)
        if gone != attached:
            self._fail(
                f"lease {lease:x} had {attached}, but its end deleted {gone} at {revision}",
                revision,
            )
        self.ends.setdefault(revision, lease)

    def _check_shape(self, keys: dict[bytes, KV], events: Sequence[Event]) -> None:
        """Create revision, version and the previous one follow from what was there."""
        for event in events:
            before = keys.get(event.key)
            if event.prev != before:
                self._fail(f"previous of {event} is not {before}", event.revision)
            if event.kv is None:
                continue
            create = before.create if before is not None else event.revision
            version = before.version + 1 if before is not None else 1
            if (event.kv.create, event.kv.mod, event.kv.version) != (
                create,
                event.revision,
                version,
            ):
                self._fail(f"{event} does not follow {before}", event.revision)

    def _read(self, revision: int, keys: dict[bytes, KV]) -> None:
        for call in self._reads.get(revision, ()):
            shown, _ = model.run(keys, revision, call.branch)
            if shown != call.results or call.succeeded != model.holds(call.guards, keys):
                self._fail(f"it was not so at revision {revision}: {call}", revision)

    def _lose(self, call: Call) -> None:
        self.lost += 1
        self._violations.append(
            Violation(LOST, f"answered, and not in the history: {call}", call.revision, call.done)
        )

    def _fail(self, text: str, revision: int = 0) -> None:
        self._violations.append(Violation(LINEARIZABILITY, text, revision, self._history.ended))


def in_time(history: History, replay: Replay) -> Iterator[Violation]:
    """What was seen before a call began, the call must not be older than."""
    seen = sorted(
        [(history.began, history.base_revision)]
        + [(call.done, call.revision) for call in history.calls if call.is_answered]
        + [
            (heard.at, heard.events[-1].revision)
            for watch in history.watches
            for heard in watch.heard
            if heard.events
        ]
    )
    # By when it began: the call, its revision, and whether it made that.
    began = [
        (call.invoke, call.revision, call.wrote, call) for call in history.calls if is_fresh(call)
    ]
    began += [(call.invoke, revision, True, call) for revision, call in replay.made_by.items()]
    began.sort(key=lambda entry: entry[0])
    newest, index = 0, 0
    for invoke, revision, wrote, call in began:
        while index < len(seen) and seen[index][0] < invoke:
            newest = max(newest, seen[index][1])
            index += 1
        if revision < newest or (wrote and revision == newest):
            yield Violation(
                LINEARIZABILITY,
                f"revision {newest} had been seen before this began: {call}",
                revision,
                invoke,
            )


def by_key(history: History, replay: Replay, timeline: Timeline) -> Iterator[Violation]:
    """Search each key for an order of its own."""
    operations = _key_operations(history, replay, timeline)
    for key, found in operations.items():
        try:
            fits = is_linearizable(found, history.base.get(key), history.base_revision)
        except UndecidedError:
            yield Violation(LINEARIZABILITY, f"key {key!r}: the search was given up")
        else:
            if not fits:
                yield Violation(LINEARIZABILITY, f"key {key!r} has no order of its operations")


def _key_operations(
    history: History, replay: Replay, timeline: Timeline
) -> dict[bytes, list[KeyOp]]:
    found: dict[bytes, list[KeyOp]] = defaultdict(list)
    every = set(history.base)
    every.update(event.key for events in history.log.values() for event in events)
    ordered = sorted(every)
    for call in history.calls:
        if is_fresh(call) and call.revision > history.base_revision:
            for key, operation in _of_call(call, ordered):
                found[key].append(operation)
    # What the server did by itself, or for a call that got no answer: when, its witnesses say.
    answered = {call.revision for call in history.calls if is_fresh(call) and call.wrote}
    for revision, events in history.log.items():
        if revision in answered:
            continue
        invoke, done = timeline.unseen_until(revision), timeline.seen_by(revision)
        made = replay.made_by.get(revision)
        if made is not None:
            invoke = made.invoke
        for event in events:
            write = KeyOp(invoke, max(invoke, done), revision, writes=event.kv, is_write=True)
            found[event.key].append(write)
    return found


def _of_call(call: Call, keys: Sequence[bytes]) -> Iterator[tuple[bytes, KeyOp]]:
    """What an answered call says of each key; of more than one operation, the writing one.

    A read of the past says nothing of the present.
    """
    told: dict[bytes, KeyOp] = {}
    for operation, shown in zip(call.branch, call.results, strict=True):
        before = {kv.key: kv for kv in shown}
        if isinstance(operation, Put):
            old = before.get(operation.key)
            kv = KV(
                operation.key,
                operation.value,
                old.create if old is not None else call.revision,
                call.revision,
                old.version + 1 if old is not None else 1,
                operation.lease,
            )
            told[operation.key] = KeyOp(
                call.invoke, call.done, call.revision, old, True, kv, is_write=True
            )
            continue
        if isinstance(operation, Get) and operation.revision:
            continue
        is_delete = isinstance(operation, Delete)
        near = [key for key in keys if model.covers(operation.key, operation.end, key)]
        for key in {*near, *before}:
            if key in told:
                continue
            told[key] = KeyOp(
                call.invoke,
                call.done,
                call.revision,
                before.get(key),
                True,
                is_write=is_delete and key in before,
            )
    yield from told.items()
