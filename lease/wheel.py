"""Which leases are due, found without touching anything when a lease is renewed.

Time is cut into ticks of 50 ms. A lease stands in the slot of one tick, a plain list, and a
renewal leaves it there: it only moves the lease's `expiry`. When the tick comes, the visit
finds out what happened meanwhile: a revoked lease is dropped, a renewed one moves on to its
new tick (once per TTL, however often it was renewed), any other is due.

A lease stands at the first tick not before its expiry, so it is never found early and at most
one tick late. With 50 ms that leaves as much again for the wake-up and the commit before the
100 ms by which an idle server may be late.

Invariants, checked by `Wheel.check_invariants`:
  1. Every lease of the wheel's map has exactly one entry, in a slot or in the due queue. Any
     entry beyond that is dead: its lease was revoked. `entries` counts both.
  2. No entry stands later than its lease's next expiry needs. This holds although a renewal
     can bring an expiry forward (after a promotion that put it off beyond the full TTL):
     nothing stands later than now plus the TTL, before which no renewal can end.
  3. Slots lie after the tick last walked, and each has its tick in the agenda, a heap of ticks,
     not of leases. So the next slot is found at once, however far the clock has jumped.
  4. One call of `take` visits at most `VISITS_MAX` entries and continues where it stopped.

Tried and not taken: a heap of (expiry, lease) costs three times as much when a million leases
expire; a dict per slot, so that a revoke could remove its entry, 40 bytes a lease.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Final

from lease.lease import Lease, LeaseID

TICKS_PER_S: Final = 20
TICK_S: Final = 1 / TICKS_PER_S
RETRY_S: Final = 1.0  # A lease reported due is reported again after this, unless revoked by then.
VISITS_MAX: Final = 3_000  # Entries visited in one `take`: 3 ms or so if all of them move on.
DEAD_MIN: Final = 10_000  # Dead entries that are never worth a sweep: some 100 kB.

_expiry = attrgetter("expiry")


def _next_visit(lease: Lease, now: float) -> float:
    """The latest time at which the lease must be visited: its expiry, if that cannot come closer.

    A renewal starts the full TTL over. So it can bring an expiry forward that a promotion put
    off, but never to before a full TTL from now.
    """
    soonest = now + lease.ttl
    return lease.expiry if lease.expiry < soonest else soonest


class Wheel:
    """The due-time order of the leases in `leases`, which is its owner's map and not a copy.

    The owner calls `add` for each lease that enters the map, and nothing when one leaves it.
    """

    __slots__ = (
        "_agenda",
        "_behind",
        "_due",
        "_entries",
        "_leases",
        "_slot",
        "_slots",
        "_sweep_at",
        "_unswept",
        "_walked",
    )

    def __init__(self, leases: Mapping[LeaseID, Lease]) -> None:
        self._leases = leases
        self._slots: dict[int, list[Lease]] = {}
        self._agenda: list[int] = []  # Heap of the slots' ticks, and of some already swept away.
        self._slot: list[Lease] = []  # What is left to visit of tick `_walked`, last one first.
        self._walked = -1  # Everything up to this tick was walked, or is in `_slot`.
        self._due: deque[Lease] = deque()
        self._entries = 0
        self._behind = False
        self._unswept: list[int] = []  # Ticks that the sweep under way has yet to see.
        self._sweep_at = 0  # Where it stopped within the last of them.

    @property
    def entries(self) -> int:
        """Entries of live leases and of dead ones not yet dropped."""
        return self._entries

    @property
    def due(self) -> int:
        """Leases found due and not handed out yet."""
        return len(self._due)

    @property
    def behind(self) -> bool:
        """Whether the last `take` left something to do: call it again before the next tick."""
        return self._behind

    def has_work(self, now: float) -> bool:
        """Whether `take` at `now` would do anything: visit an entry, or sweep dead ones."""
        is_next_due = bool(self._agenda) and self._agenda[0] <= now * TICKS_PER_S
        return is_next_due or bool(self._due or self._slot or self._unswept) or self._is_littered()

    def clear(self) -> None:
        """Forget every entry; the tick last walked stays."""
        self._slots.clear()
        self._agenda.clear()
        self._slot = []
        self._due.clear()
        self._entries = 0
        self._behind = False
        self._unswept.clear()

    def add(self, lease: Lease, *, now: float) -> None:
        """Let a lease that has no entry yet stand where its expiry will be noticed."""
        self._entries += 1
        self._stand(lease, _next_visit(lease, now))

    def add_all(self, leases: Collection[Lease], *, now: float) -> None:
        """`add` for each: for a start, when there are millions."""
        self._entries += len(leases)
        slot_of = self._slots.get
        for lease in leases:
            at = now + lease.ttl  # As `_next_visit` says.
            if lease.expiry < at:
                at = lease.expiry
            slot = slot_of(math.ceil(at * TICKS_PER_S))
            if slot is not None:
                slot.append(lease)
            else:
                self._stand(lease, at)

    def take(self, now: float, *, limit: int) -> list[Lease]:
        """Leases due at `now`, soonest first to the precision of a tick, at most `limit`.

        Each will be found again `RETRY_S` later, unless it is revoked or renewed by then. Fewer
        than `limit` may come although more are due: then `behind` is true.
        """
        last = math.floor(now * TICKS_PER_S)
        if last / TICKS_PER_S > now:  # Rounded up by the multiplication.
            last -= 1
        taken: list[Lease] = []
        budget = VISITS_MAX
        while len(taken) < limit and budget > 0:
            if not self._due:
                visited = self._walk(last, now, budget)
                if not visited:
                    break
                budget -= visited
                continue
            budget -= 1
            lease = self._due.popleft()
            if self._leases.get(lease.id) is not lease:
                self._entries -= 1
            elif lease.expiry > now:  # Renewed, or its TTL started over, after it was found due.
                self._stand(lease, _next_visit(lease, now))
            else:
                taken.append(lease)
                self._stand(lease, now + RETRY_S)
        self._behind = (
            bool(self._due) or bool(self._slot) or (bool(self._agenda) and self._agenda[0] <= last)
        )
        self._sweep(budget)
        return taken

    def _stand(self, lease: Lease, at: float) -> None:
        """Put the lease's one entry where it will be visited once `at` has passed."""
        tick = math.ceil(at * TICKS_PER_S)
        if tick <= self._walked:
            tick = self._walked + 1
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = [lease]
            heapq.heappush(self._agenda, tick)
        else:
            slot.append(lease)

    def _walk(self, last: int, now: float, budget: int) -> int:
        """Visit up to `budget` entries of the next slot up to tick `last`; return how many."""
        if not self._slot and not self._open_slot(last):
            return 0
        piece = self._slot[-budget:]
        # Piece by piece, since letting go of a million leases at once would take 50 ms.
        del self._slot[-budget:]
        piece.reverse()
        edge = self._walked / TICKS_PER_S
        leases_get = self._leases.get
        due = []
        for lease in piece:
            if leases_get(lease.id) is not lease:
                self._entries -= 1
            elif lease.expiry <= edge:
                due.append(lease)
            else:
                # Even if it is due by `now`: it is not its turn before that of its own tick.
                self._stand(lease, _next_visit(lease, now))
        due.sort(key=_expiry)
        self._due.extend(due)
        return len(piece)

    def _open_slot(self, last: int) -> bool:
        """Open the next slot that is not after tick `last`, if there is one."""
        while self._agenda and self._agenda[0] <= last:
            tick = heapq.heappop(self._agenda)
            slot = self._slots.pop(tick, None)
            if slot:  # If not, it was swept away.
                slot.reverse()
                self._slot, self._walked = slot, tick
                return True
        self._walked = max(self._walked, last)
        return False

    def _sweep(self, budget: int) -> None:
        """Drop dead entries of slots whose time is far off, once there are too many of them.

        So what revoked leases leave behind is bounded by the live ones, however long their
        TTLs were. Works through the slots in steps of what is left of the visits of a `take`.
        """
        if not self._unswept:
            if not self._is_littered():
                return
            self._unswept = list(self._slots)
            self._sweep_at = 0
        while budget > 0 and self._unswept:
            tick = self._unswept[-1]
            slot = self._slots.get(tick, [])  # Absent: walked since the sweep began.
            budget -= 1 + self._sweep_slot(slot, budget)
            if self._sweep_at >= len(slot):
                self._unswept.pop()
                self._sweep_at = 0
                if not slot:
                    self._slots.pop(tick, None)
        if not self._unswept:
            self._agenda = list(self._slots)
            heapq.heapify(self._agenda)

    def _is_littered(self) -> bool:
        live = len(self._leases)
        return self._entries - live > max(DEAD_MIN, live // 2)

    def _sweep_slot(self, slot: list[Lease], budget: int) -> int:
        """Visit up to `budget` entries from `_sweep_at` on; return how many."""
        # In place, a dead entry giving way to the slot's last: between two steps, every live
        # lease still has its one entry.
        at = self._sweep_at
        visits = 0
        leases_get = self._leases.get
        while at < len(slot) and visits < budget:
            visits += 1
            lease = slot[at]
            if leases_get(lease.id) is lease:
                at += 1
                continue
            self._entries -= 1
            moved = slot.pop()
            if at < len(slot):
                slot[at] = moved
        self._sweep_at = at
        return visits

    def check_invariants(self, now: float) -> None:
        """Assert what the module promises, as of `now`. O(n); for tests."""
        assert set(self._slots) <= set(self._agenda), "a slot that no walk will find"
        assert all(self._slots.values()), "an empty slot"
        standing = [(self._walked, lease) for lease in (*self._slot, *self._due)]
        for tick, slot in self._slots.items():
            assert tick > self._walked, "a slot behind the walk"
            standing.extend((tick, lease) for lease in slot)
        assert len(standing) == self._entries, "entries miscounted"
        live = {id(lease): tick for tick, lease in standing if self._lives(lease)}
        assert len(live) == sum(self._lives(lease) for _, lease in standing), "two entries"
        assert len(live) == len(self._leases), "a live lease without an entry"
        for lease in self._leases.values():
            # A due one is not found yet, or is to be found again if its revoke does not happen.
            due = lease.expiry <= now
            needed = now + RETRY_S if due else _next_visit(lease, now)
            latest = max(self._walked + 1, math.ceil(needed * TICKS_PER_S))
            assert live[id(lease)] <= latest, f"lease {lease.id:x} would be found too late"

    def _lives(self, lease: Lease) -> bool:
        return self._leases.get(lease.id) is lease
