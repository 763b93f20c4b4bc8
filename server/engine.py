"""The one writer.

Every change to the store, the lessor and the alarms is a command, applied here in the order of
arrival. One turn is one group:

    take what has queued -> check and apply each -> one atomic write -> one fsync, off the loop
    -> publish the revision -> feed the watchers -> answer all -> answer the waiting reads

While the fsync runs the next group only queues; it is not applied, so nothing that a power cut
could undo is ever read, answered or refused on the strength of. A read that arrives meanwhile
waits for the fsync and is answered before the next group is applied.

An answer that takes long is made in slices (`reads`). No group is applied until it is there; the
next group then goes before the next long answer, so neither starves the other.

A renewal is the one change that is no command: it touches memory only and is answered at once,
unless the group in flight holds that lease's own grant or revoke (`unsettled`).

Failure: a refused command changes nothing and its caller gets the error. Whatever else raises
here leaves memory and disk in disagreement: `on_fatal` is called, which ends the process, and a
restart recovers from the disk. Nothing is answered after it. A disk that does not answer at all
is no failure: requests wait, until `give_up` tells their clients that they timed out.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from types import GeneratorType
from typing import Any, Final, TypeVar

from lease.lessor import Lease, LeaseID
from mvcc.backend.base import Backend
from mvcc.watch import WatchHub
from server import status
from server.auth.caller import THE_SERVER, Caller
from server.call import PeerCall
from server.clock import Clock
from server.commands.base import Command, State
from server.flusher import Flusher
from server.lease_clock import LeaseClock
from server.outbox import Outbox
from server.pending import (
    NOBODY,
    Acknowledged,
    Applied,
    Asked,
    EngineStats,
    Pending,
    Slices,
    Waiter,
    in_steps,
    is_own,
    take_clients,
)
from server.reads import Reads
from server.slow import Slow
from server.status import STATUS_OF, RpcError, TooManyRequestsError

SMALL_GROUP_COMMANDS_MAX: Final = 16  # Whose fsync may be done on the loop (see `flusher`).
GROUP_COMMANDS_MAX: Final = 2000  # Share one fsync; about 20 ms of loop time at most.
GROUP_BYTES_MAX: Final = 4 << 20  # `write` holds the GIL: some 10 ms for this much.
QUEUE_COMMANDS_MAX: Final = 20_000  # Waiting; one more is refused as etcd refuses it.
QUEUE_BYTES_MAX: Final = 128 << 20  # And the sum of their requests' sizes.
READS_MAX: Final = 20_000  # Waiting for the fsync in flight; and of long ones, for their turn.

ResultT = TypeVar("ResultT")
RequestT = TypeVar("RequestT")


class Engine:
    def __init__(
        self,
        state: State,
        backend: Backend,
        hub: WatchHub,
        flusher: Flusher,
        clock: Clock,
        outbox: Outbox,
        *,
        acknowledged: Acknowledged | None,
        on_fatal: Callable[[BaseException], None],
        slow: Slow | None = None,
    ) -> None:
        self._state = state
        self._store = state.store
        self._backend = backend
        self._hub = hub
        self._flusher = flusher
        self._now = clock.now  # Clock seconds.
        self._outbox = outbox
        self._lease_clock = LeaseClock(clock)
        self._acknowledged = acknowledged
        self._on_fatal = on_fatal
        self.slow = slow or Slow(math.inf)
        self._queue: deque[Pending] = deque()
        self._queue_bytes = 0
        self._reads = Reads(state, self._on_long_answer)
        self._group: list[Applied] = []
        self._is_scheduled = False
        self.in_flight = False  # A group is; then nobody may look. Read-only for others.
        self._settling: list[asyncio.Future[None]] = []
        self.renewals = 0  # Leases renewed so far.
        self._groups = 0
        self._commands = 0  # Taken from the queue and applied or refused.
        self._forgotten = 0  # Commands taken from the queue and never applied.
        self.given_up = 0  # Requests told that they timed out.

    # --- asking for changes ---

    def submit(
        self,
        command: Command[ResultT],
        call: PeerCall,
        encode: Callable[[ResultT], bytes],
        size_bytes: int = 0,
    ) -> None:
        """Queue `command`. `call` is answered with `encode(result)` once all of it is durable.

        Raises:
            TooManyRequestsError: the queue is full.
        """
        if (
            len(self._queue) >= QUEUE_COMMANDS_MAX
            or self._queue_bytes + size_bytes > QUEUE_BYTES_MAX
        ):
            raise TooManyRequestsError
        self._queue.append((command, call, encode, size_bytes))
        self._queue_bytes += size_bytes
        if not self._is_scheduled and not self.in_flight:
            self._schedule()

    async def run(self, command: Command[ResultT], caller: Caller = THE_SERVER) -> ResultT:
        """Queue `command`; return its result once it is durable. Raises what `check` raises.

        For the server's own commands, and for coroutines that serve a `caller`. They are never
        refused for want of room: full of clients' writes, the server must expire leases all the
        same. Each task and stream has one at a time.
        """
        waiter: Waiter[ResultT] = Waiter(asyncio.get_running_loop(), caller)
        self._queue.append((command, waiter, waiter.keep, 0))
        self._schedule()
        return await waiter.future

    # --- reading ---

    def read(
        self, answer: Callable[[RequestT], bytes | Slices], request: RequestT, call: PeerCall
    ) -> bytes | None:
        """`answer(request)`, at once if all it could show is durable; else later, to `call`.

        While it is made, `State.caller` says who asks. Where `answer` gives slices instead of
        bytes, the answer comes later in any case.

        Raises:
            TooManyRequestsError: too many reads wait already. And what `answer` raises.
        """
        if not self.in_flight:
            self._state.caller = call
            reply = answer(request)
            if isinstance(reply, bytes):
                return reply
            self._reads.begin(reply, (answer, request, call), READS_MAX)
        else:
            self._reads.wait((answer, request, call), READS_MAX)
        return None

    async def settled(self) -> None:
        """Return once no group is in flight; the caller may read until it next awaits."""
        while self.in_flight:
            # A future for each: one step of the loop more, and the next group is applied by then.
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append(waiter)
            await waiter

    async def drained(self) -> None:
        """Return once nothing is queued or in flight."""
        while self._queue or self.in_flight or self._is_scheduled or self._reads.is_busy:
            await self.settled()
            await asyncio.sleep(0)

    def is_settled(self, lease_id: LeaseID) -> bool:
        """Whether what memory says of this lease is durable."""
        return not self.in_flight or lease_id not in self._state.unsettled

    # --- renewing ---

    def renew(self, lease_id: LeaseID) -> int:
        """Start a settled lease's TTL over; returns it, in seconds.

        Raises:
            LeaseNotFoundError, NotPrimaryError
            LeaseDueError: too late; `ExpireLease` is what comes next.
        """
        now = self._now()
        ttl = self._state.lessor.renew(lease_id, now=now, horizon=self._lease_clock.observe(now))
        self.renewals += 1
        return ttl

    def renew_known(self, lease: Lease) -> bool:
        """`renew` for a lease that `lookup` gave; false if it is not settled or not alive."""
        if self.in_flight and lease.id in self._state.unsettled:
            return False
        now = self._now()
        horizon = self._lease_clock.observe(now)
        is_alive = self._state.lessor.renew_known(lease, now, horizon)
        self.renewals += is_alive
        return is_alive

    def renew_all(self, leases: list[Lease]) -> int:
        """`renew` for leases of `lookup`; returns how many, up to one not settled or not alive."""
        if self.in_flight and self._state.unsettled:
            unsettled = self._state.unsettled
            leases = list(takewhile(lambda lease: lease.id not in unsettled, leases))
        now = self._now()
        horizon = self._lease_clock.observe(now)
        count = self._state.lessor.renew_all(leases, now=now, horizon=horizon)
        self.renewals += count
        return count

    def horizon(self) -> float:
        """The instant up to which leases count as due; see `LeaseClock`."""
        horizon = self._lease_clock.observe(self._now())
        self._state.lessor.keep_time(horizon)
        return horizon

    def now(self) -> float:
        """Clock seconds."""
        return self._now()

    # --- giving up ---

    def asked(self) -> Asked:
        """How many requests there were so far, those that wait included."""
        taken = self._forgotten + self._commands
        return Asked(taken + len(self._queue), self._reads.done + len(self._reads))

    def give_up(self, asked: Asked) -> int:
        """Fail every client's request that was there when `asked` was counted and still waits.

        Returns how many. Commands in the queue are forgotten; those in flight may yet be made.
        The server's own commands wait on.
        """
        timed_out = self._reads.take_old(asked.reads)
        taken, group = self._forgotten + self._commands, self._group
        old_in_flight = asked.commands - (taken - len(group))
        for index in range(max(0, min(old_in_flight, len(group)))):
            call, encode, result, refusal = group[index]
            if call is not NOBODY and not is_own(encode):
                timed_out.append(call)
                group[index] = (NOBODY, encode, result, refusal)
        for _, call, _, size_bytes in take_clients(self._queue, asked.commands - taken):
            self._queue_bytes -= size_bytes
            self._forgotten += 1
            timed_out.append(call)
        for call in timed_out:
            call.fail(RpcError(status.REQUEST_TIMED_OUT))
        self.given_up += len(timed_out)
        return len(timed_out)

    # --- the turn ---

    @property
    def pending(self) -> int:
        """How many commands are not answered yet."""
        return len(self._queue) + len(self._group)

    def stats(self) -> EngineStats:
        return EngineStats(len(self._queue), self._groups, self._commands)

    def _schedule(self) -> None:
        if not self._is_scheduled and not self.in_flight:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        if self._reads.is_busy:
            return  # There will be a turn behind it.
        try:
            self._apply_group()
        except BaseException as error:  # noqa: BLE001  # whatever it is, memory is not the disk
            self._end(error)

    def _apply_group(self) -> None:
        state, store, queue, group = self._state, self._store, self._queue, self._group
        clock, slow_s = self._now, self.slow.threshold_s
        state.now = began = clock()
        state.horizon = self._lease_clock.observe(began)
        state.lessor.keep_time(state.horizon)
        batch = store.begin()
        while queue and len(group) < GROUP_COMMANDS_MAX and batch.size_bytes < GROUP_BYTES_MAX:
            command, call, encode, size_bytes = queue[0]
            if command.reads_disk and len(batch):
                break
            queue.popleft()
            self._queue_bytes -= size_bytes
            state.caller = call
            result, refused = None, None
            try:
                command.check(state)
            except tuple(STATUS_OF) as refusal:
                refused = refusal
            else:
                result = command.apply(state)
                if result.__class__ is GeneratorType:
                    group.append((call, encode, None, None))
                    self._count_group()
                    self.in_flight = True  # Nobody looks at what is half made.
                    in_steps(result, partial(self._on_long_change, command, began), self._end)
                    return
            ended = clock()
            if ended - began > slow_s:
                call = self.slow.change(command, call, ended - began)
            began = ended
            group.append((call, encode, result, refused))
        self._count_group()
        self._write_group()

    def _count_group(self) -> None:
        self._groups += 1
        self._commands += len(self._group)

    def _on_long_change(self, command: Command[Any], began: float, result: Any) -> None:
        """It has been applied; its group ends with it."""
        call, encode, _, _ = self._group[-1]
        took_s = self._now() - began
        if took_s > self.slow.threshold_s and call is not NOBODY and not is_own(encode):
            call = self.slow.change(command, call, took_s)
        self._group[-1] = (call, encode, result, None)
        self._write_group()

    def _write_group(self) -> None:
        batch = self._store.take_batch()
        if len(batch):
            self.in_flight = True
            self._backend.write(batch)
            is_small = len(self._group) <= SMALL_GROUP_COMMANDS_MAX and not self._queue
            self._flusher.flush(self._on_flushed, is_small=is_small)
        else:
            self.in_flight = False
            self._settle()

    def _on_flushed(self, error: BaseException | None) -> None:
        """Called on the loop when the group in flight is on disk, or is known not to be."""
        if error is not None:
            self._end(error)
            return
        try:
            self.in_flight = False
            self._settle()
        except BaseException as bug:  # noqa: BLE001  # as in `_turn`
            self._end(bug)

    def _end(self, error: BaseException) -> None:
        """Never settle again: whoever still comes waits, even if the process takes time to end."""
        self.in_flight = True
        self._on_fatal(error)

    def _settle(self) -> None:
        """Everything applied is durable: show it."""
        state, store = self._state, self._store
        self._outbox.hold()
        if self._acknowledged is not None:
            self._acknowledged.set(store.current, self._backend.sequence())
        published = store.publish()
        state.auth.durable_revision = state.auth.revision
        if state.unsettled:
            now = self._now()
            for lease in state.granted:
                state.lessor.restart(lease, now=now)
            state.granted.clear()
            state.unsettled.clear()
        group, self._group = self._group, []
        for call, encode, result, refusal in group:
            if refusal is not None:
                call.fail(refusal)
            else:
                call.reply(encode(result))
        self._hub.publish(published)  # Behind the answers: who has one can go on.
        self._reads.answer_all()
        self._outbox.flush()
        settling, self._settling = self._settling, []
        for waiter in settling:
            if not waiter.done():  # Its coroutine may have been cancelled.
                waiter.set_result(None)
        if self._queue:  # Behind the waiters: else they would starve while clients write.
            self._schedule()

    def _on_long_answer(self) -> None:
        """It has been given. Groups and long answers take turns."""
        if self._queue:
            self._reads.postpone()
            self._schedule()
        else:
            self._reads.go_on()
