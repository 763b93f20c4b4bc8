"""GrantLease, RevokeLease and the expiry of what is due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from etcdpb.rpc_pb2 import AlarmType
from lease.errors import LeaseNotFoundError, NotPrimaryError
from lease.lessor import Lease, LeaseID
from mvcc.slicing import SLICE_CHANGES
from server.commands.base import State, Steps, WritesOnly, begun
from server.log import fields

logger = logging.getLogger(__name__)

# Loop time that the revokes of one group may take. 100,000 leases due together, ms of other puts'
# p99 and s until the last key is gone: 18.5 and 1.4 with 5 ms, 9.4 and 1.5 with 2, 5.7 and 1.7 with
# this (`python -m bench storm --leases 100000 --rounds 1`, one run of each, two cores).
SLICE_S: Final = 0.001
SLICE_LEASES_MAX: Final = 1000  # And how many they may be, where the clock does not move.
_CHUNK_LEASES: Final = 16  # Revoked between two looks at the clock.
BIG_LEASE_KEYS: Final = 10_000  # A revoke is one revision, never split: above this it is told.


def revoke(state: State, lease: Lease) -> Steps[None] | None:
    """Revoke a lease that is there in the group being applied; where that takes long, in steps."""
    keys = lease.keys
    if isinstance(keys, set) and len(keys) > SLICE_CHANGES:
        return _revoke_in_steps(state, lease.id)
    _revoked(state, lease.id, state.lessor.revoke_known(lease))
    return None


def _revoke_in_steps(state: State, lease_id: LeaseID) -> Steps[None]:
    """A step for each slice; it is one revision still."""
    state.unsettled.add(lease_id)  # From the first step on nobody renews it.
    _revoked(state, lease_id, (yield from state.lessor.revoke_in_slices(lease_id)))


def _revoked(state: State, lease_id: LeaseID, keys: int) -> None:
    if state.auth.enabled:
        state.gate.verdicts.ended(lease_id)
    state.unsettled.add(lease_id)
    state.tally.revoke(keys)
    if keys > BIG_LEASE_KEYS:
        logger.warning(
            "revoked a lease with very many keys; everything but renewals had to wait",
            extra=fields(lease_id=f"{lease_id % (1 << 64):016x}", keys=keys),
        )


# The store's revision when the lease came to be, and the lease. A plain tuple, as `PutResult`.
GrantResult = tuple[int, Lease]


class GrantLease(WritesOnly):
    __slots__ = ("_lease_id", "_ttl")

    def __init__(self, lease_id: LeaseID, ttl: int) -> None:
        self._lease_id = lease_id
        self._ttl = ttl

    def check(self, state: State) -> None:
        if state.auth.enabled:
            state.principal().must_be_somebody()
        if state.alarms.raised:
            state.refuse_writes_under_alarm(needs_space=True)
        state.lessor.check_grant(self._lease_id, self._ttl)

    def apply(self, state: State) -> GrantResult:
        lease = state.lessor.grant(self._lease_id, self._ttl, now=state.now)
        state.unsettled.add(lease.id)
        state.granted.append(lease)
        state.tally.grant(lease.ttl)
        return state.store.current, lease


class RevokeLease(WritesOnly):
    """The result is the store's revision afterwards: one more, if the lease had keys."""

    __slots__ = ("_lease", "_lease_id")

    _lease: Lease  # Once it was checked.

    def __init__(self, lease_id: LeaseID) -> None:
        self._lease_id = lease_id

    def check(self, state: State) -> None:
        principal = state.principal() if state.auth.enabled else None
        if principal is not None:
            principal.must_be_somebody()
        if state.alarms.raised:
            state.refuse_writes_under_alarm(needs_space=False)
        if principal is not None:
            principal.must_end(self._lease_id)
        self._lease = state.lessor.lookup(self._lease_id)

    def apply(self, state: State) -> int | Steps[int]:
        steps = revoke(state, self._lease)
        return state.store.current if steps is None else begun(self._rest(state, steps))

    def _rest(self, state: State, steps: Steps[None]) -> Steps[int]:
        yield from steps
        return state.store.current


class ExpireLease(WritesOnly):
    """Revoke one lease if it is due: a keepalive that came too late asks for it.

    The result is whether the lease is gone, now or before.
    """

    __slots__ = ("_lease_id",)

    def __init__(self, lease_id: LeaseID) -> None:
        self._lease_id = lease_id

    def check(self, state: State) -> None:
        if not state.lessor.primary:
            raise NotPrimaryError
        state.refuse_writes_under_alarm(needs_space=False)

    def apply(self, state: State) -> bool | Steps[bool]:
        return begun(self._steps(state))

    def _steps(self, state: State) -> Steps[bool]:
        try:
            lease = state.lessor.lookup(self._lease_id)
        except LeaseNotFoundError:
            return True
        if not state.lessor.is_due(lease, state.horizon):
            return False
        steps = revoke(state, lease)
        if steps is not None:
            yield from steps
        state.tally.expired += 1
        return True


class ExpireDue(WritesOnly):
    """Revoke what is due, soonest first, each at a revision of its own, for one slice of time.

    The result is the revoked leases' ids with the lateness of each in seconds. A lease that the
    slice has no time for stays due, and so does one whose group never reaches the disk. Under a
    CORRUPT alarm nothing is deleted, as in etcd, whose own revokes are refused then.
    """

    __slots__ = ("_clock", "_limit")

    def __init__(self, clock: Callable[[], float], limit: int) -> None:
        self._clock = clock
        self._limit = min(limit, SLICE_LEASES_MAX)

    def check(self, state: State) -> None: ...

    def apply(
        self, state: State
    ) -> list[tuple[LeaseID, float]] | Steps[list[tuple[LeaseID, float]]]:
        return begun(self._steps(state))

    def _steps(self, state: State) -> Steps[list[tuple[LeaseID, float]]]:
        lessor, horizon = state.lessor, state.horizon
        if state.alarms.is_raised(AlarmType.CORRUPT):
            return []
        until = self._clock() + SLICE_S
        expired: list[tuple[LeaseID, float]] = []
        while len(expired) < self._limit:
            chunk = lessor.expired(horizon, limit=min(_CHUNK_LEASES, self._limit - len(expired)))
            for lease in chunk:
                expired.append((lease.id, horizon - lease.expiry))
                steps = revoke(state, lease)
                if steps is not None:
                    yield from steps
            if not chunk or self._clock() >= until:
                break
        state.tally.expired += len(expired)
        return expired
