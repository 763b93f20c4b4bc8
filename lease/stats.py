"""What a lessor tells of itself to those who watch it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LessorStats:
    """A glance at a lessor; costs the same whatever it holds."""

    primary: bool
    leases: int
    keyless: int  # Leases without a key; a lost reply to a grant leaves one behind.
    keys: int  # Keys attached to a lease.
    due: int  # Leases found due and not handed out by `expired` yet.
    wheel_entries: int  # At least one a lease while primary; the surplus is of revoked ones.
    kept: int  # Leases that would go on after a restart with the time they have left.
