"""Any sequence of calls, against the dullest model that could be right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lease import pileup
from lease.errors import (
    LeaseDueError,
    LeaseError,
    LeaseExistsError,
    LeaseNotFoundError,
    NotPrimaryError,
    TTLTooLargeError,
)
from lease.lessor import FOREVER, NO_LEASE, TTL_MAX_S, Lease, LeaseID, Lessor
from lease.record import encode_key
from lease.wheel import RETRY_S, TICKS_PER_S
from tests.lease.support import LARGEST, NEGATIVE, SMALLEST, Deleter, MemoryBucket

TTL_MIN = 2
ids = st.sampled_from([LeaseID(1), LeaseID(2), LeaseID(3), NEGATIVE, SMALLEST, LARGEST])
key_lists = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=3)
# Quarters of a second, few of them, so that boundaries are hit; each is a whole tick.
quarters = st.integers(0, 10).map(lambda number: number / 4)


@dataclass(slots=True)
class Dull:
    """A lease as the model sees it."""

    ttl: int
    expiry: float
    handle: Lease
    keys: set[bytes] = field(default_factory=set)
    silent_until: float = 0.0  # It was reported: not again before this.

    def found_by(self, now: float) -> bool:
        """Whether a tick has come at or after the expiry."""
        ticks = math.ceil(self.expiry * TICKS_PER_S) if self.expiry < FOREVER else math.inf
        return ticks <= math.floor(now * TICKS_PER_S) and self.silent_until <= now


class LessorMachine(RuleBasedStateMachine):
    """Model: a dict of leases in the order of their grants. No wheel, no item map."""

    @initialize(revoke_rate=st.sampled_from([0, 0, 1, 2, 4]), detaching=st.booleans())
    def begin(self, revoke_rate: int, detaching: bool) -> None:
        self.now = 0.0
        self.primary = False
        self.revoke_rate = revoke_rate
        self.model: dict[LeaseID, Dull] = {}
        self.handles: list[Lease] = []  # Of revoked leases too: the engine may hold one.
        self.bucket = MemoryBucket()
        self.deleter = Deleter()
        self.lessor = Lessor(self.bucket, self.deleter, ttl_min=TTL_MIN, revoke_rate=revoke_rate)
        if detaching:
            self.deleter.on_delete = lambda key: self.lessor.detach(
                self.lessor.get_lease(key), [key]
            )

    def fresh(self, ttl: int) -> float:
        return self.now + ttl if self.primary else FOREVER

    @rule(seconds=quarters)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(lease_id=st.one_of(ids, st.just(NO_LEASE)), ttl=st.integers(-1, 6))
    def grant(self, lease_id: LeaseID, ttl: int) -> None:
        refusal: type[LeaseError] | None = None
        if lease_id == NO_LEASE:
            refusal = LeaseNotFoundError
        elif lease_id in self.model:
            refusal = LeaseExistsError
        if refusal:
            with pytest.raises(refusal):
                self.lessor.check_grant(lease_id, ttl)
            with pytest.raises(refusal):
                self.lessor.grant(lease_id, ttl, now=self.now)
            return
        handle = self.lessor.grant(lease_id, ttl, now=self.now)
        ttl = max(ttl, TTL_MIN)
        self.model[lease_id] = Dull(ttl, self.fresh(ttl), handle)
        self.handles.append(handle)

    @rule(lease_id=ids)
    def grant_too_much(self, lease_id: LeaseID) -> None:
        with pytest.raises(TTLTooLargeError):
            self.lessor.grant(lease_id, TTL_MAX_S + 1, now=self.now)

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.handles))
        self.lessor.restart(handle, now=self.now)
        dull = self.model.get(handle.id)
        if dull and dull.handle is handle:
            dull.expiry = self.fresh(dull.ttl)

    @rule(lease_id=ids, held_back=quarters)
    def renew(self, lease_id: LeaseID, held_back: float) -> None:
        horizon = max(0.0, self.now - held_back)
        dull = self.model.get(lease_id)
        refusal: type[LeaseError] | None = None
        if not self.primary:
            refusal = NotPrimaryError
        elif dull is None:
            refusal = LeaseNotFoundError
        elif dull.expiry <= horizon:
            refusal = LeaseDueError
        if refusal or dull is None:
            assert refusal
            with pytest.raises(refusal):
                self.lessor.renew(lease_id, now=self.now, horizon=horizon)
            return
        assert self.lessor.renew(lease_id, now=self.now, horizon=horizon) == dull.ttl
        dull.expiry = self.now + dull.ttl

    @rule(lease_id=ids, keys=key_lists)
    def attach(self, lease_id: LeaseID, keys: list[bytes]) -> None:
        if lease_id not in self.model:
            with pytest.raises(LeaseNotFoundError):
                self.lessor.attach(lease_id, keys)
            return
        self.lessor.attach(lease_id, keys)
        for dull in self.model.values():
            dull.keys -= set(keys)
        self.model[lease_id].keys |= set(keys)

    @rule(lease_id=ids, keys=key_lists)
    def detach(self, lease_id: LeaseID, keys: list[bytes]) -> None:
        if lease_id not in self.model:
            with pytest.raises(LeaseNotFoundError):
                self.lessor.detach(lease_id, keys)
            return
        self.lessor.detach(lease_id, keys)
        self.model[lease_id].keys -= set(keys)

    @rule(lease_id=ids)
    def revoke(self, lease_id: LeaseID) -> None:
        opened = len(self.deleter.opened)
        if lease_id not in self.model:
            with pytest.raises(LeaseNotFoundError):
                self.lessor.revoke(lease_id)
            assert len(self.deleter.opened) == opened
            return
        doomed = sorted(self.model.pop(lease_id).keys)
        assert self.lessor.revoke(lease_id) == len(doomed)
        txns = self.deleter.opened[opened:]
        assert [(txn.keys, txn.ended) for txn in txns] == [(doomed, True)] * bool(doomed)

    @rule(limit=st.sampled_from([1, 2, 100]))
    def expire(self, limit: int) -> None:
        due = {lease_id for lease_id, dull in self.model.items() if dull.found_by(self.now)}
        reported = self.lessor.expired(self.now, limit=limit)
        assert len(reported) == min(limit, len(due))
        assert {lease.id for lease in reported} <= due
        assert len(reported) == len(due) or not self.lessor.idle
        for lease in reported:
            assert lease is self.model[lease.id].handle
            assert self.lessor.is_due(lease, self.now)
            self.model[lease.id].silent_until = self.now + RETRY_S

    @rule(extend=quarters)
    def promote(self, extend: float) -> None:
        self.lessor.promote(extend, now=self.now)
        self.primary = True
        by_ttl = sorted(self.model.values(), key=lambda dull: dull.ttl)
        remaining = [dull.ttl + extend for dull in by_ttl]
        if self.revoke_rate:
            remaining = pileup.spread(remaining, revoke_rate=self.revoke_rate)
        for dull, seconds in zip(by_ttl, remaining, strict=True):
            dull.expiry = self.now + seconds
            dull.silent_until = 0.0

    @rule()
    def demote(self) -> None:
        self.lessor.demote()
        self.primary = False
        for dull in self.model.values():
            dull.expiry = FOREVER
            dull.silent_until = 0.0

    @rule()
    def restart_the_process(self) -> None:
        """Recover from the bucket; the caller attaches what the keys' newest records say."""
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
    def holds_together(self) -> None:
        self.lessor.check_invariants(self.now)


TestLessor = LessorMachine.TestCase
