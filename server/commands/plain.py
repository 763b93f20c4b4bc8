"""Put and Txn as clients send them most, made and applied with less ado.

A put that has a key, a value and perhaps a lease; and the transaction that Kubernetes and others
write with: put if the key is still as I saw it, else show me what is there. Each is only a short
way to what `Put` or `Txn` would do, and whatever is out of the ordinary (users count, an alarm is
raised, a line of the log) is left to the `ordinary` command that it stands for.
"""

from __future__ import annotations

from etcdpb.rpc_pb2 import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from lease.lessor import LeaseID
from mvcc.plan import Plan
from mvcc.txn import put_alone
from server.commands.base import State, WritesOnly
from server.commands.kv import Put
from server.commands.txn import Txn


class PlainPut(WritesOnly):
    __slots__ = ("key", "lease", "value")

    def __init__(self, key: bytes, value: bytes, lease: int) -> None:
        """`key` is not empty; `lease` 0 is none."""
        self.key = key
        self.value = value
        self.lease = lease

    def ordinary(self) -> Put:
        return Put(self.request())

    def request(self) -> PutRequest:
        return PutRequest(key=self.key, value=self.value, lease=self.lease)

    def check(self, state: State) -> None:
        if state.auth.enabled or state.alarms.raised:
            self.ordinary().check(state)
        elif self.lease:
            state.lessor.lookup(LeaseID(self.lease))

    def apply(self, state: State) -> int:
        """Returns its revision."""
        key, value, lease, tally = self.key, self.value, self.lease, state.tally
        tally.puts += 1
        tally.put_bytes += len(key) + len(value)
        old_lease = put_alone(state.store, key, value, lease)
        if lease != old_lease:
            state.moved(key, old_lease, lease)
        return state.store.current


# Its revision, whether it put, and the frame of what there is instead, if that was to be shown.
# A plain tuple, as `PutResult`.
GuardedResult = tuple[int, bool, list[bytes] | None]


class GuardedPut(WritesOnly):
    """Put if the key's newest version is of a certain revision; else show the key, if asked to."""

    __slots__ = ("_holds", "_mod_revision", "_put", "_shows")

    def __init__(self, put: PlainPut, mod_revision: int, *, shows: bool) -> None:
        """`mod_revision` 0 is that of a key that does not exist."""
        self._put = put
        self._mod_revision = mod_revision
        self._shows = shows
        self._holds = False

    def ordinary(self) -> Txn:
        key = self._put.key
        compare = Compare(key=key, target=Compare.MOD, mod_revision=self._mod_revision)
        success = [RequestOp(request_put=self._put.request())]
        failure = [RequestOp(request_range=RangeRequest(key=key))] if self._shows else []
        request = TxnRequest(compare=[compare], success=success, failure=failure)
        return Txn(Plan(request), needs_space=True)

    def check(self, state: State) -> None:
        if state.auth.enabled or state.alarms.raised:
            self.ordinary().check(state)
        put = self._put
        entry = state.store.index.entries.get(put.key)
        mod_revision = 0 if entry is None or entry.frame is None else entry.mod_revision
        self._holds = self._mod_revision == mod_revision
        if self._holds and put.lease:
            state.lessor.lookup(LeaseID(put.lease))

    def apply(self, state: State) -> GuardedResult:
        if self._holds:
            return self._put.apply(state), True, None
        if not self._shows:
            return state.store.current, False, None
        state.tally.ranges += 1
        entry = state.store.index.live(self._put.key)
        shown = [] if entry is None or entry.frame is None else [entry.frame]
        return state.store.current, False, shown
