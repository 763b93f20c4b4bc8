"""The dull etcd: what a server must answer, in dicts and lists and nothing clever.

Every revision keeps a whole copy of the keys as they were, and the list of its events. There is
no index, no batch and no clock: the caller says what time it is and when leases go. Requests
and replies are etcd's messages, complete with headers, so a comparison leaves nothing out.
Sources: etcd's server/etcdserver/txn, server/etcdserver/api/v3rpc and server/lease.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseStatus,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)
from tests.support.rules import (
    COMPACTED,
    FUTURE,
    KEY_NOT_FOUND,
    LEASE_NOT_FOUND,
    OUT_OF_RANGE,
    PRECONDITION,
    Keys,
    Refused,
    check_delete,
    check_put,
    check_range,
    check_txn,
    holds,
    select,
    within,
    written,
)

TTL_MIN_S: Final = 2
TTL_MAX_S: Final = 9_000_000_000
OPS_MAX: Final = 128


@dataclass
class Lease:
    id: int
    ttl: int
    expiry: float


@dataclass
class Model:
    cluster_id: int
    member_id: int
    term: int
    now: float = 0.0
    compacted: int = -1
    at: list[Keys] = field(default_factory=lambda: [{}, {}])  # By revision; 1 is the empty store.
    events: list[list[Event]] = field(default_factory=lambda: [[], []])  # By revision.
    leases: dict[int, Lease] = field(default_factory=dict)  # In the order of their grants.

    @property
    def revision(self) -> int:
        return len(self.at) - 1

    @property
    def keys(self) -> Keys:
        return self.at[-1]

    def header(self) -> ResponseHeader:
        return ResponseHeader(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            revision=self.revision,
            raft_term=self.term,
        )

    # Unary calls

    def answer(self, request: Any) -> Any:
        """The reply to any unary request, or `Refused`. The state changes only with a reply."""
        return getattr(self, "_" + type(request).__name__)(request)

    def _RangeRequest(self, request: RangeRequest) -> RangeResponse:  # noqa: N802
        check_range(request)
        revision = request.revision
        if revision > 0:
            self._check_revision(revision)
        response = select(request, self.at[revision if revision > 0 else self.revision])
        response.header.CopyFrom(self.header())
        return response

    def _PutRequest(self, request: PutRequest) -> PutResponse:  # noqa: N802
        check_put(request)
        self._check_lease(request)
        self._check_kept(request)
        change = Change(self)
        response = change.put(request)
        change.commit()
        response.header.CopyFrom(self.header())
        return response

    def _DeleteRangeRequest(self, request: DeleteRangeRequest) -> DeleteRangeResponse:  # noqa: N802
        check_delete(request)
        change = Change(self)
        response = change.delete(request)
        change.commit()
        response.header.CopyFrom(self.header())
        return response

    def _TxnRequest(self, request: TxnRequest) -> TxnResponse:  # noqa: N802
        check_txn(request, OPS_MAX)
        written(request.success)
        written(request.failure)
        chosen = self._choose(request)
        self._check_chosen(chosen)
        change = Change(self)
        response = change.run(chosen)
        change.commit()
        response.header.CopyFrom(self.header())
        return response

    def _CompactionRequest(self, request: CompactionRequest) -> CompactionResponse:  # noqa: N802
        if request.revision <= self.compacted:
            raise Refused(*COMPACTED)
        if request.revision > self.revision:
            raise Refused(*FUTURE)
        self.compacted = request.revision
        return CompactionResponse(header=self.header())

    def _LeaseGrantRequest(self, request: LeaseGrantRequest) -> LeaseGrantResponse:  # noqa: N802
        if request.TTL > TTL_MAX_S:
            raise Refused(OUT_OF_RANGE, "too large lease TTL")
        if request.ID in self.leases:
            raise Refused(PRECONDITION, "lease already exists")
        ttl = max(request.TTL, TTL_MIN_S)
        self.leases[request.ID] = Lease(request.ID, ttl, self.now + ttl)
        return LeaseGrantResponse(header=self.header(), ID=request.ID, TTL=ttl)

    def _LeaseRevokeRequest(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:  # noqa: N802
        self._find(request.ID)
        self.revoke(request.ID)
        return LeaseRevokeResponse(header=self.header())

    def _LeaseTimeToLiveRequest(  # noqa: N802
        self, request: LeaseTimeToLiveRequest
    ) -> LeaseTimeToLiveResponse:
        lease = self.leases.get(request.ID)
        if lease is None:
            return LeaseTimeToLiveResponse(header=self.header(), ID=request.ID, TTL=-1)
        return LeaseTimeToLiveResponse(
            header=self.header(),
            ID=lease.id,
            TTL=int(lease.expiry - self.now),
            grantedTTL=lease.ttl,
            keys=self.keys_of(lease.id) if request.keys else (),
        )

    def _LeaseLeasesRequest(self, _: Any) -> LeaseLeasesResponse:  # noqa: N802
        soonest_first = sorted(self.leases.values(), key=lambda lease: lease.expiry)
        statuses = [LeaseStatus(ID=lease.id) for lease in soonest_first]
        return LeaseLeasesResponse(header=self.header(), leases=statuses)

    # Leases

    def keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        """Renew; a lease that is due is revoked instead, and the answer comes after that."""
        lease = self.leases.get(lease_id)
        if lease is not None and lease.expiry <= self.now:
            self.revoke(lease_id)
            lease = None
        if lease is None:
            return LeaseKeepAliveResponse(header=self.header(), ID=lease_id)
        lease.expiry = self.now + lease.ttl
        return LeaseKeepAliveResponse(header=self.header(), ID=lease_id, TTL=lease.ttl)

    def keys_of(self, lease_id: int) -> list[bytes]:
        return sorted(key for key, kv in self.keys.items() if kv.lease == lease_id)

    def revoke(self, lease_id: int) -> None:
        """The lease goes, and with it its keys, in byte order, at one revision."""
        change = Change(self)
        for key in self.keys_of(lease_id):
            change.delete(DeleteRangeRequest(key=key))
        del self.leases[lease_id]
        change.commit()

    def restart(self, now: float) -> None:
        """A new process: a term of its own, every TTL from the beginning, leases in disk order."""
        self.term += 1
        self.now = now
        in_disk_order = sorted(self.leases.values(), key=lambda lease: lease.id % 2**64)
        self.leases = {lease.id: lease for lease in in_disk_order}
        for lease in in_disk_order:
            lease.expiry = now + lease.ttl

    def _find(self, lease_id: int) -> None:
        if lease_id not in self.leases:
            raise Refused(*LEASE_NOT_FOUND)

    # Checks against state, and the choice that a transaction makes

    def _check_revision(self, revision: int) -> None:
        if revision > self.revision:
            raise Refused(*FUTURE)
        if revision < self.compacted:
            raise Refused(*COMPACTED)

    def _check_lease(self, request: PutRequest) -> None:
        if request.lease:
            self._find(request.lease)

    def _check_kept(self, request: PutRequest) -> None:
        if (request.ignore_value or request.ignore_lease) and request.key not in self.keys:
            raise Refused(*KEY_NOT_FOUND)

    def _choose(self, request: TxnRequest) -> Chosen:
        succeeded = all(holds(compare, self.keys) for compare in request.compare)
        operations = request.success if succeeded else request.failure
        return Chosen(
            succeeded,
            [
                self._choose(operation.request_txn)
                if operation.HasField("request_txn")
                else operation
                for operation in operations
            ],
        )

    def _check_chosen(self, chosen: Chosen) -> None:
        for operation in chosen.operations:
            if isinstance(operation, Chosen):
                self._check_chosen(operation)
            elif operation.HasField("request_put"):
                self._check_kept(operation.request_put)
                self._check_lease(operation.request_put)
            elif operation.HasField("request_range") and operation.request_range.revision:
                self._check_revision(operation.request_range.revision)


@dataclass
class Chosen:
    succeeded: bool
    operations: list[RequestOp | Chosen]


class Change:
    """Everything that happens at the next revision, if anything does."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._before = model.keys
        self._next = model.revision + 1
        self._events: list[Event] = []
        self.keys = dict(model.keys)

    @property
    def _revision(self) -> int:
        return self._next if self._events else self._next - 1

    def commit(self) -> None:
        if self._events:
            self._model.at.append(self.keys)
            self._model.events.append(self._events)

    def put(self, request: PutRequest) -> PutResponse:
        old = self.keys.get(request.key)
        kv = KeyValue(
            key=request.key,
            value=old.value if old is not None and request.ignore_value else request.value,
            create_revision=old.create_revision if old is not None else self._next,
            mod_revision=self._next,
            version=old.version + 1 if old is not None else 1,
            lease=old.lease if old is not None and request.ignore_lease else request.lease,
        )
        self.keys[request.key] = kv
        is_create = kv.create_revision == kv.mod_revision
        prev = None if is_create else self._before.get(request.key)
        self._events.append(Event(type=Event.PUT, kv=kv, prev_kv=prev))
        return PutResponse(prev_kv=old if request.prev_kv else None)

    def delete(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        gone = [self.keys.pop(key) for key in within(request.key, request.range_end, self.keys)]
        for kv in gone:
            tombstone = KeyValue(key=kv.key, mod_revision=self._next)
            prev = self._before.get(kv.key)
            self._events.append(Event(type=Event.DELETE, kv=tombstone, prev_kv=prev))
        prevs = gone if request.prev_kv else []
        return DeleteRangeResponse(deleted=len(gone), prev_kvs=prevs)

    def run(self, chosen: Chosen) -> TxnResponse:
        return TxnResponse(
            succeeded=chosen.succeeded,
            responses=[self._operation(operation) for operation in chosen.operations],
        )

    def _operation(self, operation: RequestOp | Chosen) -> ResponseOp:
        if isinstance(operation, Chosen):
            nested = self.run(operation)
            nested.header.SetInParent()  # There, and empty.
            return ResponseOp(response_txn=nested)
        if operation.HasField("request_put"):
            put = self.put(operation.request_put)
            put.header.revision = self._revision
            return ResponseOp(response_put=put)
        if operation.HasField("request_range"):
            request = operation.request_range
            keys = self.keys if request.revision <= 0 else self._model.at[request.revision]
            found = select(request, keys)
            found.header.revision = self._revision
            return ResponseOp(response_range=found)
        deleted = self.delete(operation.request_delete_range)
        deleted.header.revision = self._revision
        return ResponseOp(response_delete_range=deleted)
