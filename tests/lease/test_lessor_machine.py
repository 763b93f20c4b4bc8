"""Any sequence of calls, against the dullest model that could be right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lease import pileup
from lease.deadlines import encode
from lease.errors import (
    LeaseDueError,
    LeaseExistsError,
    LeaseNotFoundError,
    NotPrimaryError,
)
from lease.lessor import FOREVER, NO_LEASE, Lease, LeaseID, Lessor
from lease.record import encode_key
from lease.wheel import RETRY_S, TICKS_PER_S
from tests.lease.support import NEGATIVE, SMALLEST, Deleter, MemoryBucket, MemoryDeadlines

TTL_MIN = 2
# Few ids, so that one is revoked and granted anew while something still holds the old lease.
IDS = [LeaseID(1), NEGATIVE, SMALLEST]
key_lists = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=4)
# Whole seconds, few of them, so that boundaries are hit; a quarter is a whole number of ticks.
steps = st.sampled_from([0.0, 0.25, 1.0, 2.0, 3.0])


@dataclass(slots=True)
class Dull:
    """A lease as the model sees it."""

    ttl: int
    expiry: float
    handle: Lease
    keys: set[bytes] = field(default_factory=set)
    silent_until: float = 0.0  # It was reported: not again before this.
    begin: float | None = None  # When its TTL began, as the next process will know; None if not.

    def begins(self, begin: float, expiry: float) -> None:
        self.expiry = expiry
        if expiry < FOREVER:
            self.begin = begin

    def left(self, clock: float) -> float:
        """What a process finds that comes after one which served until `clock`."""
        if self.begin is None:
            return self.ttl
        return min(max(self.begin + self.ttl - clock, 0), self.ttl)

    def found_by(self, now: float) -> bool:
        """Whether a tick has come at or after the expiry."""
        ticks = math.ceil(self.expiry * TICKS_PER_S) if self.expiry < FOREVER else math.inf
        return ticks <= math.floor(now * TICKS_PER_S) and self.silent_until <= now


class LessorMachine(RuleBasedStateMachine):
    """Model: a dict of leases in the order of their grants. No wheel, no item map."""

    @initialize(
        revoke_rate=st.sampled_from([0, 1, 2]),
        detaching=st.booleans(),
        primary=st.sampled_from([True, True, False]),
    )
    def begin(self, revoke_rate: int, detaching: bool, primary: bool) -> None:
        self.now = 0.0
        self.primary = False
        self.revoke_rate = revoke_rate
        self.model: dict[LeaseID, Dull] = {}
        self.handles: list[Lease] = []  # Of revoked leases too: the engine may hold one.
        self.bucket = MemoryBucket()
        self.deleter = Deleter()
        self.clock = 0.0  # Until when leases were served, as was last told.
        self.build()
        self.deadlines.set_clock(encode(0))
        if detaching:
            self.deleter.on_delete = lambda key: self.lessor.detach(
                self.lessor.get_lease(key), [key]
            )
        if primary:
            self.promote(0)

    def build(self) -> None:
        # Room for two of three: one lease at a time has its full TTL after a restart.
        self.deadlines = MemoryDeadlines(room=len(IDS) - 1)
        self.lessor = Lessor(
            self.bucket,
            self.deleter,
            ttl_min=TTL_MIN,
            revoke_rate=self.revoke_rate,
            deadlines=self.deadlines,
        )

    def begin_now(self, dull: Dull) -> None:
        dull.begins(self.now, self.fresh(dull.ttl))
        if not dull.handle.slot:
            dull.begin = None

    def fresh(self, ttl: int) -> float:
        return self.now + ttl if self.primary else FOREVER

    def draw(self, data: st.DataObject) -> tuple[LeaseID, Dull]:
        """One of the living; the unknown have a rule of their own."""
        lease_id = data.draw(st.sampled_from(sorted(self.model)))
        return lease_id, self.model[lease_id]

    @rule(seconds=steps)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.model) < len(IDS))
    @rule(data=st.data(), ttl=st.integers(1, 4))
    def grant(self, data: st.DataObject, ttl: int) -> None:
        lease_id = data.draw(st.sampled_from([i for i in IDS if i not in self.model]))
        handle = self.lessor.grant(lease_id, ttl, now=self.now)
        ttl = max(ttl, TTL_MIN)
        self.model[lease_id] = Dull(ttl, self.fresh(ttl), handle)
        self.handles.append(handle)

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.handles))
        self.lessor.restart(handle, now=self.now)
        dull = self.model.get(handle.id)
        if dull and dull.handle is handle:
            self.begin_now(dull)

    @rule(stalled_s=st.sampled_from([0.0, 0.0, 0.25]))
    def keep_time(self, stalled_s: float) -> None:
        until = max(0.0, self.now - stalled_s)
        self.lessor.keep_time(until)
        if self.primary:
            self.clock = until

    @precondition(lambda self: self.model)
    @rule(data=st.data(), held_back=st.sampled_from([0.0, 0.0, 1.0, 5.0]), at_once=st.booleans())
    def renew(self, data: st.DataObject, held_back: float, at_once: bool) -> None:
        lease_id, dull = self.draw(data)
        horizon = max(0.0, self.now - held_back)
        if not self.primary:
            with pytest.raises(NotPrimaryError):
                self.lessor.renew(lease_id, now=self.now, horizon=horizon)
        elif dull.expiry <= horizon:
            with pytest.raises(LeaseDueError):
                self.lessor.renew(lease_id, now=self.now, horizon=horizon)
        elif at_once:
            renewed = self.lessor.renew_all([dull.handle], now=self.now, horizon=horizon)
            assert renewed == 1
            self.begin_now(dull)
        else:
            assert self.lessor.renew(lease_id, now=self.now, horizon=horizon) == dull.ttl
            self.begin_now(dull)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), keys=key_lists)
    def attach(self, data: st.DataObject, keys: list[bytes]) -> None:
        lease_id, _ = self.draw(data)
        self.lessor.attach(lease_id, keys)
        for dull in self.model.values():
            dull.keys -= set(keys)
        self.model[lease_id].keys |= set(keys)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), keys=key_lists)
    def detach(self, data: st.DataObject, keys: list[bytes]) -> None:
        lease_id, dull = self.draw(data)
        self.lessor.detach(lease_id, keys)
        dull.keys -= set(keys)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        opened = len(self.deleter.opened)
        lease_id, dull = self.draw(data)
        doomed = sorted(dull.keys)
        assert self.lessor.revoke(lease_id) == len(doomed)
        txns = self.deleter.opened[opened:]
        assert [(txn.keys, txn.ended) for txn in txns] == [(doomed, True)] * bool(doomed)
        del self.model[lease_id]

    @rule(limit=st.sampled_from([1, 2, 100]), seconds=steps, asks_first=st.booleans())
    def expire(self, limit: int, seconds: float, asks_first: bool) -> None:
        self.now += seconds
        due = {lease_id for lease_id, dull in self.model.items() if dull.found_by(self.now)}
        if asks_first and not self.lessor.has_work(self.now):
            assert self.lessor.idle
            assert not due
            return
        reported = self.lessor.expired(self.now, limit=limit)
        assert len(reported) == min(limit, len(due))
        assert {lease.id for lease in reported} <= due
        assert len(reported) == len(due) or not self.lessor.idle
        for lease in reported:
            assert lease is self.model[lease.id].handle
            assert self.lessor.is_due(lease, self.now)
            self.model[lease.id].silent_until = self.now + RETRY_S

    # What touches every lease happens seldom, or none would live long enough to expire.

    @precondition(lambda self: not self.primary)
    @rule(extend=steps)
    def take_office(self, extend: float) -> None:
        self.promote(extend)

    @precondition(lambda self: self.primary and len(self.model) == len(IDS))
    @rule(upheaval=st.sampled_from(["promote again", "demote", "kill", "end"]))
    def shake(self, upheaval: str) -> None:
        if upheaval == "promote again":
            self.promote(0)
        elif upheaval == "demote":
            self.demote()
        else:
            if upheaval == "end":
                self.lessor.keep_time(self.now)
                self.clock = self.now
                self.demote()
            self.restart_the_process()

    def promote(self, extend: float, left: dict[LeaseID, float] | None = None) -> None:
        """`left` is what the model says that a process before this one left."""
        spent = {} if left is None else self.spent
        self.lessor.promote(extend, now=self.now, spent=spent)
        self.primary = True
        left = left or {lease_id: dull.ttl for lease_id, dull in self.model.items()}
        by_left = sorted(self.model.items(), key=lambda item: left[item[0]])
        remaining = [left[lease_id] + extend for lease_id, _ in by_left]
        if self.revoke_rate:
            remaining = pileup.spread(remaining, revoke_rate=self.revoke_rate)
        for (_, dull), seconds in zip(by_left, remaining, strict=True):
            dull.expiry = self.now + seconds
            dull.begin = dull.expiry - dull.ttl if dull.handle.slot else None
            dull.silent_until = 0.0

    def demote(self) -> None:
        self.lessor.demote()
        self.primary = False
        for dull in self.model.values():
            dull.expiry = FOREVER
            dull.silent_until = 0.0

    def restart_the_process(self) -> None:
        """Recover from the bucket; the caller attaches what the keys' newest records say.

        Nothing happens before the promotion: nobody is served. Time may pass, which is not the
        leases': they go on with what they had left when they were last served.
        """
        self.spent = self.deadlines.spent()
        left = {lease_id: dull.left(self.clock) for lease_id, dull in self.model.items()}
        self.now += 100
        self.build()
        self.lessor.recover()
        self.primary = False
        before = self.model
        self.model = {}
        for lease_id in sorted(before, key=encode_key):
            old = before[lease_id]
            handle = self.lessor.lookup(lease_id)
            self.handles.append(handle)
            self.lessor.attach(lease_id, old.keys)
            self.model[lease_id] = Dull(old.ttl, FOREVER, handle, old.keys)
        self.promote(0, left)
        self.keep_time(0.0)

    @invariant()
    def lists_the_same_leases(self) -> None:
        by_expiry = sorted(self.model.values(), key=lambda dull: dull.expiry)
        assert self.lessor.leases() == [dull.handle for dull in by_expiry]
        for dull in by_expiry:
            assert (dull.handle.ttl, dull.handle.expiry) == (dull.ttl, dull.expiry)
            assert dull.handle.sorted_keys() == sorted(dull.keys)
        assert self.bucket.ttls() == {lease_id: dull.ttl for lease_id, dull in self.model.items()}

    @invariant()
    def knows_the_lease_of_each_key(self) -> None:
        owner = {key: lease_id for lease_id, dull in self.model.items() for key in dull.keys}
        for key in (b"a", b"b", b"c", b"d"):
            assert self.lessor.get_lease(key) == owner.get(key, NO_LEASE)
        stats = self.lessor.stats()
        assert (stats.primary, stats.leases, stats.keys) == (
            self.primary,
            len(self.model),
            len(owner),
        )
        assert stats.keyless == sum(not dull.keys for dull in self.model.values())

    @invariant()
    def tells_the_known_from_the_unknown(self) -> None:
        for lease_id in IDS:
            if lease_id in self.model:
                with pytest.raises(LeaseExistsError):
                    self.lessor.grant(lease_id, 5, now=self.now)
                continue
            self.lessor.check_grant(lease_id, 5)
            with pytest.raises(LeaseNotFoundError):
                self.lessor.attach(lease_id, [b"a"])
            with pytest.raises(LeaseNotFoundError):
                self.lessor.detach(lease_id, [b"a"])
            with pytest.raises(LeaseNotFoundError):
                self.lessor.revoke(lease_id)
            with pytest.raises(LeaseNotFoundError if self.primary else NotPrimaryError):
                self.lessor.renew(lease_id, now=self.now)

    @invariant()
    def holds_together(self) -> None:
        self.lessor.check_invariants(self.now)


TestLessor = LessorMachine.TestCase
