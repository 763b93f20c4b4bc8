"""The lessor's hand on `lease.deadlines`: when each lease's TTL began, for the process after this.

What is kept of a lease's time is never less than what the lease has: its word is written after its
expiry was, and before anybody is told of it.
"""

from __future__ import annotations

from collections.abc import Collection

from lease.deadlines import (
    NO_WORD,
    SCRAP,
    Deadlines,
    decode,
    encode,
    tick_after,
    tick_before,
)
from lease.lease import Lease
from lease.wheel import TICK_S, TICKS_PER_S


class Keeper:
    """Gives leases their slots and writes their words. Only the lessor calls it."""

    __slots__ = ("_deadlines", "_until", "_word", "kept", "slots")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self.slots = deadlines.slots
        self.kept = 0  # Leases that have a slot. Read-only for others, as `slots`.
        self._word = encode(0)  # Of a TTL that begins in this tick, which
        self._until = 0.0  # ends now, in clock seconds.

    def keep(self, lease: Lease) -> None:
        """Give a lease a slot, if there is one left. It says 0 until the lease's TTL begins."""
        lease.slot = self._deadlines.assign(lease.id)
        self.slots = self._deadlines.slots
        self.kept += lease.slot != SCRAP

    def forget(self, lease: Lease) -> None:
        """Take a lease's slot away."""
        self.kept -= lease.slot != SCRAP
        self._deadlines.release(lease.slot)
        lease.slot = SCRAP

    def word(self, now: float) -> int:
        """What to write for a TTL that begins now. One for all in a tick, so it is rarely made."""
        if now > self._until:
            tick = tick_after(now)
            self._word = encode(tick)
            self._until = tick / TICKS_PER_S
        return self._word

    def began(self, lease: Lease) -> None:
        """Write when the TTL began that the lease's expiry is the end of."""
        self.slots[lease.slot] = encode(tick_after(lease.expiry - lease.ttl))

    def served(self, until: float) -> None:
        """Write until when leases have been served."""
        self._deadlines.set_clock(encode(tick_before(until)))

    def check_invariants(self, leases: Collection[Lease], *, primary: bool) -> None:
        """Assert what the module promises. O(n); for tests."""
        slots = [lease.slot for lease in leases if lease.slot != SCRAP]
        assert len(slots) == len(set(slots)), "two leases in one slot"
        assert len(slots) == self.kept, "miscounted"
        for lease in leases:
            word = self.slots[lease.slot]
            if lease.slot == SCRAP or word == NO_WORD or not primary:
                continue
            begin = decode(word)
            assert begin is not None, "a word that nobody makes"
            over = begin / TICKS_PER_S + lease.ttl - lease.expiry
            assert -1e-6 < over < TICK_S + 1e-6, f"{over} s more are kept than the lease has"
