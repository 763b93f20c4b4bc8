"""Real parts for the lessor to work on, and the ids and keys that tests speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lease.deadlines import NO_WORD, SCRAP, decode
from lease.lease import NO_LEASE
from lease.lessor import LeaseID, Lessor
from lease.record import decode as decode_record
from lease.wheel import TICKS_PER_S

L1: Final = LeaseID(1)
L2: Final = LeaseID(2)
L3: Final = LeaseID(3)
NEGATIVE: Final = LeaseID(-1)
SMALLEST: Final = LeaseID(-(2**63))
LARGEST: Final = LeaseID(2**63 - 1)


@dataclass(slots=True)
class MemoryBucket:
    """A `LeaseBucket` in a dict, stricter than a disk: only what is there can be deleted."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)  # What happened, in order; may be shared.

    def put(self, key: bytes, value: bytes) -> None:
        self.journal.append(f"record {key.hex()}")
        self.rows[key] = value

    def delete(self, key: bytes, value_bytes: int) -> None:
        self.journal.append(f"forget {key.hex()}")
        assert len(self.rows.pop(key)) == value_bytes

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(self.rows.items())

    def ttls(self) -> dict[LeaseID, int]:
        """What a lessor would read from it, in bucket order."""
        return dict(decode_record(key, value) for key, value in self.scan())


@dataclass(slots=True)
class Deleted:
    """A `TxnDelete` that remembers what it was asked to delete."""

    journal: list[str]
    on_delete: Callable[[bytes], None]
    keys: list[bytes] = field(default_factory=list)
    ended: bool = False

    def delete_range(self, key: bytes, end: bytes | None) -> tuple[int, int]:
        assert not self.ended
        assert end is None, "the lessor deletes single keys"
        self.keys.append(key)
        self.journal.append(f"delete {key.decode()}")
        self.on_delete(key)
        return 1, 1

    def end(self) -> None:
        assert not self.ended
        self.ended = True
        self.journal.append("end")


@dataclass(slots=True)
class Deleter:
    """A `RangeDeleter` that keeps every transaction it opened."""

    journal: list[str] = field(default_factory=list)
    opened: list[Deleted] = field(default_factory=list)
    on_delete: Callable[[bytes], None] = lambda _key: None

    def __call__(self) -> Deleted:
        self.opened.append(Deleted(self.journal, self.on_delete))
        return self.opened[-1]


class MemoryDeadlines:
    """`Deadlines` in a list, which is another one whenever it grows: who kept the old one loses."""

    def __init__(self, room: int = 100) -> None:
        self.slots = [NO_WORD]
        self.clock = NO_WORD
        self._ids = [NO_LEASE]
        self._free: list[int] = []
        self._room = room

    def assign(self, lease_id: LeaseID) -> int:
        if self._free:
            slot = self._free.pop()
            self._ids[slot] = lease_id
            return slot
        if len(self.slots) > self._room:
            return SCRAP
        self.slots = [*self.slots, NO_WORD]
        self._ids.append(lease_id)
        return len(self.slots) - 1

    def assign_all(self, lease_ids: Sequence[LeaseID]) -> Sequence[int]:
        return [self.assign(lease_id) for lease_id in lease_ids]

    def release(self, slot: int) -> None:
        if slot != SCRAP:
            self.slots[slot] = NO_WORD
            self._ids[slot] = NO_LEASE
            self._free.append(slot)

    def set_clock(self, word: int) -> None:
        self.clock = word

    def spent(self) -> dict[LeaseID, float]:
        """What a process that comes later reads: seconds of each lease's TTL."""
        clock = decode(self.clock)
        assert clock is not None
        found = {}
        for lease_id, word in zip(self._ids[1:], self.slots[1:], strict=True):
            begin = decode(word)
            if begin is not None:
                found[lease_id] = (clock - begin) / TICKS_PER_S
        return found


@dataclass(slots=True)
class Bench:
    """A lessor and all it stands on."""

    lessor: Lessor
    bucket: MemoryBucket
    deleter: Deleter
    journal: list[str]
    deadlines: MemoryDeadlines

    def successor(self, *, now: float, extend: float = 0, revoke_rate: int = 0) -> Lessor:
        """The lessor of a process that finds what this one's kept, promoted."""
        lessor = Lessor(self.bucket, self.deleter, ttl_min=2, revoke_rate=revoke_rate)
        lessor.recover()
        lessor.promote(extend, now=now, spent=self.deadlines.spent())
        lessor.check_invariants(now)
        return lessor

    def restarted(self, *, ttl_min: int = 2) -> Lessor:
        """A lessor of a process that comes later, recovered from the same bucket."""
        lessor = Lessor(self.bucket, self.deleter, ttl_min=ttl_min)
        lessor.recover()
        return lessor


def build(
    *, ttl_min: int = 2, revoke_rate: int = 0, primary: bool = True, room: int = 100
) -> Bench:
    """A lessor with an empty bucket, promoted at time 0 unless told otherwise.

    `room` is for how many leases time can be kept.
    """
    journal: list[str] = []
    bucket, deleter, deadlines = (
        MemoryBucket(journal=journal),
        Deleter(journal),
        MemoryDeadlines(room),
    )
    lessor = Lessor(bucket, deleter, ttl_min=ttl_min, revoke_rate=revoke_rate, deadlines=deadlines)
    if primary:
        lessor.promote(0, now=0)
    return Bench(lessor, bucket, deleter, journal, deadlines)


def expired_ids(lessor: Lessor, now: float, *, limit: int = 100) -> list[LeaseID]:
    """The ids of one call of `expired`."""
    return [lease.id for lease in lessor.expired(now, limit=limit)]
