"""Who holds which lease, until when, and which keys go with it.

The lessor is pure: it does no I/O, starts no task and reads no clock. Time comes in as `now`
(seconds, monotonic, not negative); records go out through the `LeaseBucket` and keys through
the `RangeDeleter`, both of which write into the batch that the caller has open. Only the engine
calls it, from one thread. Which leases there are and what keys each has, `Holdings` knows. Each
operation of etcd's `Lessor` interface (server/lease/lessor.go) has its counterpart here under the
same name.

A lease that is due is not gone: until it is revoked it can be looked up, takes keys and is
listed. It only cannot be renewed any more.

Invariants, checked by `Lessor.check_invariants`:
  1. A key belongs to at most one lease (see `Items`).
  2. Both maps hold live leases only: what a revoked lease had is in neither.
  3. While primary, every lease has its one place in the wheel, and a finite expiry. While not,
     the wheel is empty and every expiry is `FOREVER`: nothing expires.
  4. A renewal changes one attribute of one lease, `expiry`, and one word outside, and no container.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Final

from lease import pileup
from lease.bucket import LeaseBucket
from lease.deadlines import Deadlines, Volatile
from lease.deleter import RangeDeleter
from lease.errors import (
    LeaseDueError,
    LeaseExistsError,
    LeaseNotFoundError,
    NotPrimaryError,
    TTLTooLargeError,
)
from lease.holdings import Holdings
from lease.keeper import Keeper
from lease.lease import (
    FOREVER,
    GONE,
    NO_LEASE,
    REVOKED_AT_ONCE,
    SORTED_AT_ONCE,
    TTL_MAX_S,
    Lease,
    LeaseID,
)
from lease.records import Records
from lease.stats import LessorStats
from lease.wheel import Wheel

__all__ = ["FOREVER", "NO_LEASE", "TTL_MAX_S", "Lease", "LeaseID", "Lessor", "LessorStats"]

_NOTHING_SPENT: Final[Mapping[LeaseID, float]] = {}


class Lessor(Holdings):
    """All leases of one server. Not primary until `promote`."""

    def __init__(
        self,
        bucket: LeaseBucket,
        range_deleter: RangeDeleter,
        *,
        ttl_min: int,
        revoke_rate: int = 0,
        deadlines: Deadlines | None = None,
    ) -> None:
        """An empty lessor; `recover` fills it from the bucket.

        `ttl_min` in seconds, the shortest there is. `revoke_rate` in leases a second: the cap that
        `promote` spreads pile-ups for, 0 for none. `deadlines`, with no slot assigned yet, is where
        leases' time is kept for the next process; None for nowhere.
        """
        if not 1 <= ttl_min <= TTL_MAX_S:
            raise ValueError(f"a shortest TTL of {ttl_min} s is not in 1..{TTL_MAX_S}")
        if revoke_rate < 0:
            raise ValueError(f"a cap of {revoke_rate} revokes a second is negative")
        self._records = Records(bucket, ttl_min=ttl_min)
        self._range_deleter = range_deleter
        self._ttl_min = ttl_min
        self._revoke_rate = revoke_rate
        self._primary = False
        super().__init__()
        self._ttl = ttl_min  # Of the newest grant.
        self._wheel = Wheel(self._leases)
        self._keeper = Keeper(Volatile() if deadlines is None else deadlines)

    @property
    def primary(self) -> bool:
        return self._primary

    @property
    def idle(self) -> bool:
        """Whether the last `expired` handed out all there was, so that the next can wait a tick."""
        return not self._wheel.behind

    def check_grant(self, lease_id: LeaseID, ttl: int) -> None:
        """Raise what `grant` would refuse, touching nothing.

        Raises:
            LeaseNotFoundError: the id is 0, as in etcd's lessor; choosing one is the caller's.
            TTLTooLargeError: `ttl` is above `TTL_MAX_S`; told even if the id exists.
            LeaseExistsError: the id is held by a lease, due or not.
        """
        if lease_id == NO_LEASE:
            raise LeaseNotFoundError(lease_id)
        if ttl > TTL_MAX_S:
            raise TTLTooLargeError(ttl)
        if lease_id in self._leases:
            raise LeaseExistsError(lease_id)

    def grant(self, lease_id: LeaseID, ttl: int, *, now: float) -> Lease:
        """Create a lease and its record. It lives `ttl` seconds from `now`, or the shortest TTL.

        The client's TTL begins when its reply leaves: call `restart` then.

        Raises what `check_grant` raises.
        """
        self.check_grant(lease_id, ttl)
        ttl = max(ttl, self._ttl_min)
        if ttl == self._ttl:
            ttl = self._ttl  # One object for leases alike: 32 bytes less for each.
        else:
            self._ttl = ttl
        lease = Lease(lease_id, ttl, now + ttl if self._primary else FOREVER)
        self._records.put(lease_id, ttl)
        self._leases[lease_id] = lease
        self._keeper.keep(lease)
        if self._primary:
            self._wheel.add(lease, now=now)
        return lease

    def restart(self, lease: Lease, *, now: float) -> None:
        """Count the full TTL from `now`: the reply that tells the client of it is leaving.

        So a slow fsync never hands out a half-spent lease. Nothing happens if the lease was
        revoked meanwhile or the lessor is not primary. O(1).
        """
        if self._primary and self._leases.get(lease.id) is lease:
            lease.expiry = now + lease.ttl
            self._keeper.begins(lease, now)

    def revoke(self, lease_id: LeaseID) -> int:
        """Delete the lease, its record and its keys in the caller's batch; return how many keys.

        The keys go through one transaction of the range deleter in byte order, which fixes the
        sub-revisions of the deletes: the same commands rebuild the same bytes on disk. Without
        keys no transaction is opened, so no revision is spent.

        Raises:
            LeaseNotFoundError: there is no such lease.
        """
        return self.revoke_known(self.lookup(lease_id))

    def revoke_known(self, lease: Lease) -> int:
        """`revoke` for a lease that `lookup` has just given."""
        # First of all: if the process ends before the batch is on disk, the full TTL is what the
        # next one finds, and nobody who is given the id anew is given an old deadline with it.
        self._keeper.forget(lease)
        if lease.keys is None:
            count = 0
            self._records.delete(lease)
        else:
            keys = lease.sorted_keys()
            count = len(keys)
            txn = self._range_deleter()
            for key in keys:
                txn.delete_range(key, None)
            self._records.delete(lease)
            txn.end()
            # The lease leaves the maps last: a transaction that detaches what it deletes must
            # find it. The other order leaked entries of the item map in etcd (#16053).
            self._items.detach_all(lease, keys)
        del self._leases[lease.id]
        lease.expiry = GONE
        return count

    def revoke_in_slices(self, lease_id: LeaseID) -> Generator[None, None, int]:
        """`revoke` of a lease that exists, for very many keys: the same transaction, in slices.

        Between two of them the lease is half there, and nobody may look.
        """
        lease = self.lookup(lease_id)
        self._keeper.forget(lease)  # First of all, as there.
        keys = yield from lease.sorted_in_slices()
        txn = self._range_deleter()
        for at in range(0, len(keys), REVOKED_AT_ONCE):
            for key in keys[at : at + REVOKED_AT_ONCE]:
                txn.delete_range(key, None)
            yield
        self._records.delete(lease)
        txn.end()
        for at in range(0, len(keys), SORTED_AT_ONCE):
            self._items.detach(lease, keys[at : at + SORTED_AT_ONCE])
            yield
        del self._leases[lease.id]
        lease.expiry = GONE
        return len(keys)

    # Time

    def renew(self, lease_id: LeaseID, *, now: float, horizon: float | None = None) -> int:
        """Start the lease's full TTL over from `now`; return it, in seconds. O(1).

        A lease is due if its expiry is not after `horizon`, by default `now`. After a stall of
        the process the caller holds the horizon back (it is never later than `now`) to where
        the stall began: keepalives that were waiting in a socket then win over the deadline.

        Raises:
            NotPrimaryError: the lessor is not primary; told even if the lease does not exist.
            LeaseNotFoundError: there is no such lease.
            LeaseDueError: the lease is due; the caller revokes it now.
        """
        if not self._primary:
            raise NotPrimaryError
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFoundError(lease_id)
        if horizon is None:
            horizon = now
        assert horizon <= now, "a horizon in the future would refuse leases that still live"
        if not self.renew_known(lease, now=now, horizon=horizon):
            raise LeaseDueError(lease_id)
        return lease.ttl

    def renew_known(self, lease: Lease, now: float, horizon: float) -> bool:
        """`renew` for a lease that `lookup` gave at any time; false if it cannot be renewed."""
        if not self._primary or lease.expiry <= horizon:
            return False
        lease.expiry = now + lease.ttl
        keeper = self._keeper  # As its `begins`, for what is done most of all.
        if now > keeper.until:
            keeper.turn(now)
        keeper.slots[lease.slot] = keeper.word
        return True

    def renew_all(self, leases: Iterable[Lease], *, now: float, horizon: float) -> int:
        """`renew` for leases that `lookup` gave at any time; returns how many, in order.

        It stops at the first that cannot be renewed, which `renew` then says by id.
        """
        if not self._primary:
            return 0
        keeper = self._keeper
        if now > keeper.until:
            keeper.turn(now)
        slots, begin = keeper.slots, keeper.word
        count = 0
        for lease in leases:
            if lease.expiry <= horizon:
                break
            lease.expiry = now + lease.ttl
            slots[lease.slot] = begin
            count += 1
        return count

    def is_due(self, lease: Lease, now: float) -> bool:
        """Whether the lease is to be revoked: its time has come, and it has not been revoked."""
        return lease.expiry <= now and self._leases.get(lease.id) is lease

    def expired(self, now: float, *, limit: int) -> list[Lease]:
        """Up to `limit` leases due at `now`, soonest first to the precision of a tick.

        None is reported early; each is reported at most `wheel.TICK_S` after its expiry, if the
        caller asks once a tick. A reported lease is reported again `wheel.RETRY_S` later unless
        it was revoked, so no lease outlives a revoke that got lost (etcd#10686). The work of a
        call is bounded: if `idle` is false after it, there is more, and the next call continues.
        """
        return self._wheel.take(now, limit=limit)

    def has_work(self, now: float) -> bool:
        """Whether `expired` at `now` would do anything; if not, it need not be called."""
        return self._wheel.has_work(now)

    def promote(
        self, extend: float, *, now: float, spent: Mapping[LeaseID, float] = _NOTHING_SPENT
    ) -> None:
        """Become primary: each lease expires at its full TTL plus `extend` seconds from `now`.

        Less what it has `spent` of that TTL, in seconds, if a process before this one knew. With a
        cap on revokes, leases that would be due together are spread over time (`lease.pileup`).
        Promoting a primary starts all over, as in etcd.
        """

        self._primary = True
        spent_of = spent.get
        for lease in self._leases.values():
            lease.expiry = now + (lease.ttl_without(spent_of(lease.id, 0)) + extend)
        if self._revoke_rate:
            leases = self.leases()
            left = [lease.ttl_without(spent_of(lease.id, 0)) + extend for lease in leases]
            spread = pileup.spread(left, revoke_rate=self._revoke_rate)
            for lease, seconds in zip(leases, spread, strict=True):
                lease.expiry = now + seconds
        self._wheel.clear()
        self._wheel.add_all(self._leases.values(), now=now)
        self._keeper.began_all(self._leases.values())

    def demote(self) -> None:
        """Stop being primary: nothing expires, nothing is renewed, `keep_time` is of no effect."""
        self._primary = False
        for lease in self._leases.values():
            lease.expiry = FOREVER
        self._wheel.clear()

    def keep_time(self, now: float) -> None:
        """Remember that leases have been served until `now`: a later process goes on from there.

        Give it the horizon of what counts as due: what a stall has not ended, no restart may.
        """
        if self._primary:
            self._keeper.served(now)

    # Beginning and end

    def recover(self) -> None:
        """Replace everything by what the bucket holds, not primary and with no key attached.

        The keys come by `attach`, from the newest record of each: a key's lease is a fact of
        that record, and the maps here are an index of it.

        Raises:
            CorruptLeaseError: the bucket has a row that no lessor wrote; nothing has changed.
        """
        leases = self._records.read()
        self._reset(leases)
        self._keeper.keep_all(leases.values())

    def stop(self) -> None:
        """Let go of everything held in memory, not primary. The records stay on disk."""
        self._reset({})
        self._records.forget()

    def _reset(self, leases: dict[LeaseID, Lease]) -> None:
        self._primary = False
        for lease in self._leases.values():
            self._keeper.forget(lease)
        self._hold(leases)
        self._wheel = Wheel(leases)

    # Looking in from outside

    def stats(self) -> LessorStats:
        return LessorStats(
            primary=self._primary,
            leases=len(self._leases),
            keyless=len(self._leases) - self._items.keyed,
            keys=len(self._items),
            due=self._wheel.due,
            wheel_entries=self._wheel.entries,
            kept=self._keeper.kept,
        )

    def check_invariants(self, now: float) -> None:
        """Assert what the module promises, as of `now`. O(n); for tests."""
        self._items.check_invariants(self._leases.values())
        for lease_id, lease in self._leases.items():
            assert lease.id == lease_id != NO_LEASE
            assert self._ttl_min <= lease.ttl <= TTL_MAX_S
            assert (lease.expiry < FOREVER) == self._primary
        self._keeper.check_invariants(self._leases.values(), primary=self._primary)
        if self._primary:
            self._wheel.check_invariants(now)
        else:
            assert self._wheel.entries == 0, "leases that would expire without a primary"
