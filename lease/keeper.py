"""The lessor's hand on `lease.deadlines`: when each lease's TTL began, for the process after this.

What is kept of a lease's time is never less than what the lease has: its word is written after its
expiry was, and before anybody is told of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

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
    """Gives leases their slots and writes their words. Only the lessor uses it.

    A renewal does without a call: `slots[lease.slot] = word`, after `turn` if now is past `until`.
    """

    __slots__ = ("_deadlines", "kept", "slots", "until", "word")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self.slots = deadlines.slots
        self.kept = 0  # Leases that have a slot. Read-only for others, as `slots`.
        self.word = encode(0)  # Of a TTL that begins in this tick, which
        self.until = 0.0  # ends now, in clock seconds.

    def keep(self, lease: Lease) -> None:
        """Give a lease a slot, if there is one left. It says 0 until the lease's TTL begins."""
        lease.slot = self._deadlines.assign(lease.id)
        self.slots = self._deadlines.slots
        self.kept += lease.slot != SCRAP

    def keep_all(self, leases: Collection[Lease]) -> None:
        """`keep` for each."""
        slots = self._deadlines.assign_all([lease.id for lease in leases])
        for lease, slot in zip(leases, slots, strict=True):
            lease.slot = slot
        self.slots = self._deadlines.slots
        self.kept += len(slots) - slots.count(SCRAP)

    def forget(self, lease: Lease) -> None:
        """Take a lease's slot away."""
        self.kept -= lease.slot != SCRAP
        self._deadlines.release(lease.slot)
        lease.slot = SCRAP

    def turn(self, now: float) -> None:
        """Make the word of the tick that `now` is in."""
        tick = tick_after(now)
        self.word = encode(tick)
        self.until = tick / TICKS_PER_S

    def begins(self, lease: Lease, now: float) -> None:
        """Write that the lease's TTL begins now."""
        if now > self.until:
            self.turn(now)
        self.slots[lease.slot] = self.word

    def began_all(self, leases: Iterable[Lease]) -> None:
        """Write of each lease when the TTL began that its expiry is the end of."""
        if not self.kept:
            return
        slots = self.slots
        words: dict[float, int] = {}  # Very many began together.
        for lease in leases:
            begin = lease.expiry - lease.ttl
            word = words.get(begin)
            if word is None:
                word = words[begin] = encode(tick_after(begin))
            slots[lease.slot] = word

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
