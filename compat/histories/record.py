"""What is written down while clients, watchers and faults are at work.

All instants are seconds of one monotonic clock, read in the process that records. A call's
`invoke` is read before its request is handed to grpc and `done` after its answer came, so what the
server did lies between the two however slow the recorder was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

NEVER: Final = math.inf  # `done` of a call that got no answer.
LEASE_NOT_FOUND: Final = "etcdserver: requested lease not found"


class KV(NamedTuple):
    """A key as a Range shows it."""

    key: bytes
    value: bytes
    create: int
    mod: int
    version: int
    lease: int


class Put(NamedTuple):
    key: bytes
    value: bytes  # Never used twice, so that who put it is known from it.
    lease: int = 0


class Get(NamedTuple):
    key: bytes
    end: bytes = b""
    revision: int = 0  # 0: the newest.


class Delete(NamedTuple):
    key: bytes
    end: bytes = b""


Operation = Put | Get | Delete


class Guard(NamedTuple):
    """The key's mod revision must be this; 0: it must not be there."""

    key: bytes
    mod: int


class Kind(Enum):
    KV = "kv"
    GRANT = "grant"
    REVOKE = "revoke"
    RENEW = "renew"
    TTL = "ttl"


@dataclass(slots=True)
class Call:
    """One request and what became of it.

    A KV call is a transaction: plain puts, gets and deletes are those without guards. Its `results`
    has for each operation of the branch taken the keys that it showed: those of a Get, and the
    previous ones of a Put or a Delete, which always ask for them.
    """

    client: int
    kind: Kind
    invoke: float
    done: float = NEVER
    guards: tuple[Guard, ...] = ()
    then: tuple[Operation, ...] = ()
    otherwise: tuple[Operation, ...] = ()
    serializable: bool = False
    lease: int = 0  # Of lease calls.
    ttl: int = 0  # Answered, in seconds: 0 of a renewal and -1 of a TimeToLive say: no such lease.
    revision: int = 0  # Of the answer's header.
    refusal: str = ""  # The text of a refusal; such a call changed nothing.
    succeeded: bool = True
    results: tuple[tuple[KV, ...], ...] = ()

    @property
    def is_answered(self) -> bool:
        return self.done < NEVER and not self.refusal

    @property
    def is_unknown(self) -> bool:
        return self.done == NEVER

    @property
    def branch(self) -> tuple[Operation, ...]:
        return self.then if self.succeeded else self.otherwise

    @property
    def wrote(self) -> bool:
        """Whether an answered KV call made a revision."""
        return any(
            isinstance(operation, Put) or (isinstance(operation, Delete) and bool(shown))
            for operation, shown in zip(self.branch, self.results, strict=True)
        )

    @property
    def may_write(self) -> bool:
        return any(not isinstance(each, Get) for each in (*self.then, *self.otherwise))

    def __str__(self) -> str:
        ended = "no answer" if self.is_unknown else f"{self.done:.4f}"
        said = self.refusal or (f"revision {self.revision}" if self.is_answered else "?")
        if self.kind is not Kind.KV:
            what = f"{self.kind.value} {self.lease:x} -> ttl {self.ttl}"
        else:
            guards = f"if {self.guards} " if self.guards else ""
            branch = "" if self.succeeded else f"else {self.otherwise} "
            what = f"{guards}{self.then} {branch}-> {self.results}"
        return f"{self.invoke:.4f}..{ended} client {self.client}: {what}; {said}"


class Event(NamedTuple):
    """One change of a key; `kv` None: it was deleted."""

    revision: int
    key: bytes
    kv: KV | None
    prev: KV | None = None  # Only if the watcher asked for it, and there was one.


class Heard(NamedTuple):
    """One response of a watch, created and cancelled ones left out. No events: progress."""

    at: float
    revision: int  # Of its header.
    events: tuple[Event, ...]


@dataclass(slots=True)
class Watch:
    """One watcher from its creation to the end of its stream."""

    name: str
    key: bytes
    end: bytes
    start: int  # Revision.
    prev_kv: bool
    heard: list[Heard] = field(default_factory=list)
    refusal: str = ""  # The reason of a cancellation by the server.
    is_whole: bool = False  # It was open to the end, and was waited for.


class Outage(NamedTuple):
    """The server was stopped (SIGSTOP) or down from `begin` to `end`."""

    begin: float
    end: float
    is_restart: bool


@dataclass
class History:
    """All that is known of one episode."""

    base_revision: int
    base: dict[bytes, KV]  # The keys at that revision.
    calls: list[Call] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    began: float = 0.0  # What is older was carried over from the episode before.
    # The server's own account at the end, over a connection that nothing disturbed.
    last_revision: int = 0
    last: dict[bytes, KV] = field(default_factory=dict)
    log: dict[int, tuple[Event, ...]] = field(default_factory=dict)  # From base_revision + 1 on.
    ended: float = 0.0  # When the account was asked for.
    leases: frozenset[int] = frozenset()
    listed: float = NEVER  # When the leases had been listed.
