"""Histories of a few lines, right or wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from compat.histories.checking import Promises, Verdict, check
from compat.histories.model import change
from compat.histories.record import (
    KV,
    Call,
    Event,
    Heard,
    History,
    Kind,
    Operation,
    Put,
    Watch,
)

A, B = b"a", b"b"
LEASE_ID = 7
ALL = b"\0"

ONE = KV(A, b"1", 2, 2, 1, 0)
TWO = KV(A, b"2", 2, 3, 2, 0)


@dataclass
class Story:
    """A history in the making: `write` makes the next revision, the rest says who saw what."""

    history: History = field(default_factory=lambda: History(1, {}))

    def write(self, *changes: tuple[bytes, bytes | None], lease: int = 0) -> int:
        """Put values, or delete where there is None; returns the revision."""
        history = self.history
        history.last_revision = max(1, history.last_revision) + 1
        revision, keys = history.last_revision, history.last
        events = []
        for key, value in changes:
            old = keys.get(key)
            kv = None
            if value is not None:
                create, version = (old.create, old.version + 1) if old else (revision, 1)
                kv = KV(key, value, create, revision, version, lease)
            events.append(Event(revision, key, kv, old))
        history.log[revision] = tuple(events)
        change(keys, events)
        return revision

    def call(
        self,
        invoke: float,
        done: float,
        *then: Operation,
        revision: int = 0,
        shown: tuple[tuple[KV, ...], ...] = (),
    ) -> Call:
        """A KV call; nothing shown is what writes to new keys say."""
        results = shown or tuple(() for _ in then)
        call = Call(1, Kind.KV, invoke, done, then=then, revision=revision, results=results)
        self.history.calls.append(call)
        return call

    def put(self, at: float, key: bytes, value: bytes, lease: int = 0) -> int:
        """One that takes a tenth of a second and is answered as it should be."""
        old = self.history.last.get(key)
        revision = self.write((key, value), lease=lease)
        shown = ((old,),) if old is not None else ()
        self.call(at, at + 0.1, Put(key, value, lease), revision=revision, shown=shown)
        return revision

    def lease(
        self, kind: Kind, invoke: float, done: float, ttl: int = 0, revision: int = 1
    ) -> Call:
        call = Call(2, kind, invoke, done, lease=LEASE_ID, ttl=ttl, revision=revision)
        self.history.calls.append(call)
        return call

    def watch(self, start: int, *heard: Heard, key: bytes = ALL, prev_kv: bool = False) -> Watch:
        watch = Watch("w", key, ALL if key == ALL else b"", start, prev_kv, list(heard))
        self.history.watches.append(watch)
        return watch

    def heard(self, at: float, *revisions: int, header: int = 0) -> Heard:
        """What a watcher without prev_kv is told."""
        events = tuple(
            event._replace(prev=None)
            for revision in revisions
            for event in self.history.log[revision]
        )
        return Heard(at, header or max(revisions), events)

    def check(self, promises: Promises | None = None) -> Verdict:
        self.history.last_revision = max(1, self.history.last_revision)
        self.history.ended = self.history.ended or 1000.0
        return check(self.history, promises)

    def texts(self) -> str:
        return "\n".join(each.text for each in self.check().violations)

    def rules(self, promises: Promises | None = None) -> set[str]:
        return set(self.check(promises).by_rule)
