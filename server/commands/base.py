"""What a command is, and all that it may change.

A command is checked and applied by the engine, on the loop, without a pause between the two.
`check` may refuse and changes nothing; `apply` may not fail: by then the change is half made,
and the engine stops the process rather than go on from a state that is on no disk.

A change that takes long is applied in steps: `apply` makes the first and returns the generator of
the others, which ends with the result. Between two of them the loop goes on; the engine lets nobody
see a change that is half made, but for renewals, which look at leases that are not `unsettled`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from etcdpb.rpc_pb2 import AlarmType
from lease.lessor import Lease, LeaseID, Lessor
from mvcc.compaction import Compactor
from mvcc.record import Change
from mvcc.slicing import SLICE_COSTLY, chunks
from mvcc.store import Store
from server.alarms import Alarms
from server.auth.caller import THE_SERVER, Caller
from server.auth.gate import Gate
from server.auth.principal import Principal
from server.auth.store import AuthStore
from server.commands.tally import Tally
from server.membership import Membership
from server.status import CorruptAlarmError, NoSpaceError

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)

Steps = Generator[None, None, ResultT]


@dataclass(slots=True)
class State:
    """Everything a command may read and change, and the instant of its group."""

    store: Store
    lessor: Lessor
    compactor: Compactor
    alarms: Alarms
    auth: AuthStore
    gate: Gate
    now: float = 0.0  # Clock seconds when the group was begun.
    horizon: float = 0.0  # Leases whose expiry is later are not due, whatever `now` says.
    unsettled: set[LeaseID] = field(default_factory=set)  # Granted or revoked in this group.
    granted: list[Lease] = field(default_factory=list)  # Granted in this group.
    tally: Tally = field(default_factory=Tally)
    membership: Membership = field(default_factory=Membership)
    caller: Caller = THE_SERVER  # Of the command that is checked, or the read that is answered.

    def refuse_writes_under_alarm(self, *, needs_space: bool) -> None:
        """Raise what the alarms say to a write.

        Raises:
            CorruptAlarmError: nothing may be written.
            NoSpaceError: `needs_space` and there is none.
        """
        if not self.alarms.raised:
            return  # Nearly always; looking up an enum's value costs more than all the rest here.
        if self.alarms.is_raised(AlarmType.CORRUPT):
            raise CorruptAlarmError
        if needs_space and self.alarms.is_raised(AlarmType.NOSPACE):
            raise NoSpaceError

    def principal(self) -> Principal:
        """Who asks. Asked only where `auth.enabled`: all else is not to pay for it.

        Raises:
            InvalidTokenError
        """
        return self.gate.principal(self.caller)

    def follow_steps(self, changes: Sequence[Change]) -> Steps[None]:
        """`follow`, with a step for each slice where there are very many."""
        for chunk in chunks(changes, SLICE_COSTLY):
            self.follow(chunk)
            if len(chunk) == SLICE_COSTLY:
                yield

    def follow(self, changes: Iterable[Change]) -> None:
        """Tell the lessor which keys have come to a lease and which have left one."""
        for change in changes:
            if change.lease != change.old_lease:
                self.moved(change.key, change.old_lease, change.lease)

    def moved(self, key: bytes, old_lease: int, lease: int) -> None:
        """Tell the lessor that a key has gone from one lease, or none (0), to another."""
        if lease:
            self.lessor.attach(LeaseID(lease), (key,))
        else:
            self.lessor.detach(LeaseID(old_lease), (key,))
        if self.auth.enabled:
            self.gate.verdicts.moved(key, old_lease, lease)


class Command(Protocol[ResultT_co]):
    @property
    def reads_disk(self) -> bool:
        """Whether it reads rows, and so must come first in its group: none may be unwritten."""
        ...

    def check(self, state: State) -> None:
        """Raise what `server.status` knows if the command must be refused. Changes nothing."""
        ...

    def apply(self, state: State) -> ResultT_co | Steps[ResultT_co]:
        """Change memory and the store's open batch alike. Must not fail."""
        ...


def begun(steps: Steps[ResultT]) -> ResultT | Steps[ResultT]:
    """The result, if the first step is the last; else the generator of those to come."""
    try:
        next(steps)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    return steps


class WritesOnly:
    """A command that needs no row from disk: nearly all of them."""

    __slots__ = ()

    reads_disk = False
