"""etcdserverpb.Lease: requests to commands, renewals to the lessor, results to replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from lease.errors import LeaseDueError, LeaseNotFoundError, NotPrimaryError
from lease.lease import by_expiry
from lease.lessor import NO_LEASE, Lease, LeaseID
from mvcc.slicing import SLICE_COSTLY, SLICE_KEYS, chunks, merged
from server.auth.errors import AuthError
from server.auth.principal import Principal
from server.call import AtOnce, PeerCall, Stream
from server.commands.base import State
from server.commands.lease import ExpireLease, GrantLease, GrantResult, RevokeLease
from server.engine import Engine
from server.header import Headers
from server.lease_ids import LeaseIDs
from server.pending import Slices
from server.quota import Quota
from server.services import encode, validate
from server.services.renewals import Renewals

# Looked up once: in the class of a message that takes 50 ns.
_parse_grant: Final = LeaseGrantRequest.FromString
_parse_revoke: Final = LeaseRevokeRequest.FromString

_GONE: Final = 0  # The TTL of a keepalive's answer that says: no such lease.
_MISSING_TTL: Final = -1  # The TTL of a TimeToLive's answer that says so.


class LeaseService:
    def __init__(
        self, engine: Engine, state: State, headers: Headers, quota: Quota, lease_ids: LeaseIDs
    ) -> None:
        self._engine = engine
        self._store = state.store
        self._state = state
        self._lessor = state.lessor
        self._headers = headers
        self._quota = quota
        self._lease_ids = lease_ids
        renewals = Renewals(engine, state, headers)
        self.at_once: Final[Mapping[str, AtOnce]] = {"LeaseKeepAlive": renewals}

    def LeaseGrant(self, message: bytes, call: PeerCall) -> None:
        request = _parse_grant(message)
        if not self._quota.has_room(validate.LEASE_COST_BYTES):
            self._quota.admit(validate.LEASE_COST_BYTES)
        lease_id = LeaseID(request.ID)
        if lease_id == NO_LEASE:
            lease_id = self._lease_ids.next()
        self._engine.submit(GrantLease(lease_id, request.TTL), call, self._grant_reply)

    def _grant_reply(self, result: GrantResult) -> bytes:
        revision, lease = result
        return encode.lease_response(self._headers.at(revision), lease.id, lease.ttl)

    def LeaseRevoke(self, message: bytes, call: PeerCall) -> None:
        lease_id = LeaseID(_parse_revoke(message).ID)
        self._engine.submit(RevokeLease(lease_id), call, self._headers.at)

    async def LeaseKeepAlive(self, stream: Stream) -> None:
        """Renew one lease after the other, as they are asked for, until the client half-closes.

        Unlike etcd's, a renewal that comes too late does not hold up those behind it until the
        expiry gets round to the lease: the lease is revoked now and the answer is TTL 0.
        """
        while (message := await stream.receive()) is not None:
            lease_id = LeaseID(LeaseKeepAliveRequest.FromString(message).ID)
            if not self._state.auth.is_settled:
                await self._engine.settled()
            if self._state.auth.enabled:
                await self._check_renewal(lease_id, stream)
            reply = self.renew_now(lease_id)
            if reply is None:
                reply = await self._renew_later(lease_id)
            await stream.send(reply)

    async def _check_renewal(self, lease_id: LeaseID, stream: Stream) -> None:
        """As a renewal itself, it waits for no group; a refusal waits for the one in flight."""
        try:
            self._may_renew(lease_id, stream)
        except AuthError:
            await self._engine.settled()
            self._may_renew(lease_id, stream)

    def _may_renew(self, lease_id: LeaseID, stream: Stream) -> None:
        principal = self._state.gate.principal(stream)
        principal.must_be_somebody()
        principal.must_end(lease_id)

    def renew_now(self, lease_id: LeaseID) -> bytes | None:
        """The answer to a keepalive, or None if something has to reach the disk before it.

        Raises:
            NotPrimaryError
        """
        if not self._engine.is_settled(lease_id):
            return None
        # The header is of the time before the renewal, so that it never speaks of a revoke
        # that came after it (etcd's server/etcdserver/api/v3rpc/lease.go).
        header = self._headers.at(self._store.published)
        try:
            ttl = self._engine.renew(lease_id)
        except LeaseNotFoundError:
            ttl = _GONE
        except LeaseDueError:
            return None
        return encode.lease_response(header, lease_id, ttl)

    async def _renew_later(self, lease_id: LeaseID) -> bytes:
        """The same, once the group in flight has settled and a lease that is due is gone."""
        while True:
            await self._engine.settled()
            reply = self.renew_now(lease_id)
            if reply is not None:
                return reply
            await self._engine.run(ExpireLease(lease_id))

    def LeaseTimeToLive(self, message: bytes, call: PeerCall) -> bytes | None:
        request = LeaseTimeToLiveRequest.FromString(message)
        return self._engine.read(self._time_to_live, request, call)

    def _time_to_live(self, request: LeaseTimeToLiveRequest) -> bytes | Slices:
        principal = self._state.principal() if self._state.auth.enabled else None
        if principal is not None:
            principal.must_be_somebody()
        if not self._lessor.primary:
            raise NotPrimaryError  # Its deadlines are no longer known.
        header = self._headers.at(self._store.published)
        lease_id = LeaseID(request.ID)
        try:
            lease = self._lessor.lookup(lease_id)
            if request.keys and lease.key_count > SLICE_KEYS:
                return self._many_keys(lease, principal)
        except LeaseNotFoundError:
            body = LeaseTimeToLiveResponse(ID=lease_id, TTL=_MISSING_TTL)
        else:
            if principal is not None and request.keys:
                principal.must_read_keys_of((lease,))
            # Cut off towards zero: a lease overdue by less than a second still says 0.
            remaining_s = int(lease.remaining(self._engine.now()))
            body = LeaseTimeToLiveResponse(
                ID=lease_id,
                TTL=remaining_s,
                grantedTTL=lease.ttl,
                keys=lease.sorted_keys() if request.keys else (),
            )
        return header + body.SerializeToString()

    def _many_keys(self, lease: Lease, principal: Principal | None) -> Slices:
        if principal is not None:
            yield from principal.must_read_many((lease,))
        keys = yield from lease.sorted_in_slices()
        parts = [self._headers.at(self._store.published), b""]
        for chunk in chunks(keys, SLICE_KEYS):
            parts.append(LeaseTimeToLiveResponse(keys=chunk).SerializeToString())
            yield
        remaining_s = int(lease.remaining(self._engine.now()))
        told = LeaseTimeToLiveResponse(ID=lease.id, TTL=remaining_s, grantedTTL=lease.ttl)
        parts[1] = told.SerializeToString()
        return b"".join(parts)

    def LeaseLeases(self, message: bytes, call: PeerCall) -> bytes | None:
        request = LeaseLeasesRequest.FromString(message)
        return self._engine.read(self._leases, request, call)

    def _leases(self, request: LeaseLeasesRequest) -> bytes | Slices:  # noqa: ARG002  # it has no fields
        principal = self._state.principal() if self._state.auth.enabled else None
        if principal is not None:
            principal.must_be_somebody()
        if len(self._lessor) > SLICE_COSTLY:
            return self._many_leases(principal)
        leases = self._lessor.leases()
        if principal is not None:
            principal.must_read_keys_of(leases)
        return self._headers.at(self._store.published) + encode.leases(leases)

    def _many_leases(self, principal: Principal | None) -> Slices:
        if principal is not None:
            yield from principal.must_read_many(self._lessor.granted())
        runs = []
        for chunk in chunks(self._lessor.granted(), SLICE_KEYS):
            chunk.sort(key=by_expiry)
            runs.append(chunk)
            yield
        leases = yield from merged(runs, by_expiry)
        parts = [self._headers.at(self._store.published)]
        for chunk in chunks(leases, SLICE_KEYS):
            parts.append(encode.leases(chunk))
            yield
        return b"".join(parts)
