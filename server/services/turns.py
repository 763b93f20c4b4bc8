"""Who is next: the queue that both locks and elections are (etcd's client/v3/concurrency).

Everyone who wants a name puts a key under it, `name/` and the lease's id in hexadecimal, that
lives as long as the lease. The oldest key's owner has the name; each of the others waits for the
one just older to go, so a release wakes one and not all.

Whoever stops waiting takes the key back, and so does the server for a caller who left: a queue
holds only those who still wait, and those whose lease lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

from etcdpb.kv_pb2 import KeyValue
from etcdpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    TxnResponse,
)
from lease.lessor import NO_LEASE
from mvcc.keyrange import KeyRange
from server.call import Stream
from server.services.errands import ask, tidy
from server.services.kv import KVService
from server.services.lease import LeaseService
from server.services.tails import Tails

SESSION_TTL_S: Final = 60  # Of a lease granted to a caller who has none: etcd's defaultSessionTTL.


class Place(NamedTuple):
    """A caller's place in a queue."""

    key: bytes
    create_revision: int  # Smaller ones are ahead.
    value: bytes
    header: ResponseHeader  # Of the transaction that took the place, or found it taken.
    is_first: bool
    is_new: bool


class Turns:
    def __init__(self, kv: KVService, leases: LeaseService, tails: Tails) -> None:
        self._kv = kv
        self._leases = leases
        self._tails = tails

    @asynccontextmanager
    async def session(self, lease_id: int, caller: Stream) -> AsyncIterator[int]:
        """`lease_id`, or that of a new lease if it is 0. Nobody but the caller keeps it alive.

        A new lease is revoked if the block fails, or the caller leaves it: nobody knows of it.
        (etcd lets it run out.)
        """
        if lease_id != NO_LEASE:
            yield lease_id
            return
        request = LeaseGrantRequest(TTL=SESSION_TTL_S)
        granted = (await ask(self._leases.LeaseGrant, request, LeaseGrantResponse, caller)).ID
        try:
            yield granted
        except BaseException:
            tidy(self._leases.LeaseRevoke, LeaseRevokeRequest(ID=granted))
            raise

    async def enter(self, name: bytes, lease_id: int, value: bytes, caller: Stream) -> Place:
        """Take the lease's place in the queue; it keeps one that it already has.

        A caller who leaves meanwhile leaves no place behind that this call made.
        """
        key = name + b"/" + format(lease_id, "x").encode()
        own = RequestOp(request_range=RangeRequest(key=key))
        first = RequestOp(request_range=_oldest(name))
        put = RequestOp(request_put=PutRequest(key=key, value=value, lease=lease_id))
        request = TxnRequest(compare=[_created(key, 0)], success=[put, first], failure=[own, first])
        entering = asyncio.ensure_future(ask(self._kv.Txn, request, TxnResponse, caller))
        try:
            reply = await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(partial(self._left_early, key, value))
            raise
        return _place(key, value, reply)

    def _left_early(self, key: bytes, value: bytes, entered: asyncio.Task[TxnResponse]) -> None:
        if entered.cancelled() or entered.exception() is not None:
            return
        place = _place(key, value, entered.result())
        if place.is_new:
            self.leave(place)

    async def wait(self, name: bytes, place: Place, caller: Stream) -> None:
        """Return once nobody is ahead of `place`. It is left if the caller leaves, or an error."""
        try:
            while (ahead := await self._ahead(name, place, caller)) is not None:
                await self._gone(*ahead)
        except BaseException:
            self.leave(place)
            raise

    async def _ahead(self, name: bytes, place: Place, caller: Stream) -> tuple[bytes, int] | None:
        """The key just older, and a revision at which it was there."""
        request = _oldest(name)
        request.sort_order = RangeRequest.DESCEND
        request.max_create_revision = place.create_revision - 1
        reply = await ask(self._kv.Range, request, RangeResponse, caller)
        return (reply.kvs[0].key, reply.header.revision) if reply.kvs else None

    async def _gone(self, key: bytes, seen_revision: int) -> None:
        """Return once the key was deleted, or may have been and that is forgotten.

        The caller was allowed to read the key a moment ago; there is nothing more to check.
        """
        keys = KeyRange.from_wire(key, b"")
        with self._tails.follow(keys, seen_revision, no_put=True) as deletes:
            await deletes.next()

    async def find(self, place: Place, caller: Stream) -> ResponseHeader | None:
        """The header of a look at the place's key; None if the key is gone, with its lease."""
        request = RangeRequest(key=place.key)
        reply = await ask(self._kv.Range, request, RangeResponse, caller)
        if not reply.kvs or reply.kvs[0].create_revision != place.create_revision:
            return None
        return reply.header

    def leave(self, place: Place) -> None:
        """Take the key back. It is queued when this returns, before anything asked later."""
        delete = RequestOp(request_delete_range=DeleteRangeRequest(key=place.key))
        request = TxnRequest(compare=[_created(place.key, place.create_revision)], success=[delete])
        tidy(self._kv.Txn, request)

    async def change(
        self, key: bytes, create_revision: int, operation: RequestOp, caller: Stream
    ) -> TxnResponse:
        """Do `operation` if `key` is still the one that was created at that revision."""
        request = TxnRequest(compare=[_created(key, create_revision)], success=[operation])
        return await ask(self._kv.Txn, request, TxnResponse, caller)

    async def first(self, name: bytes, caller: Stream) -> RangeResponse:
        """The oldest key of the queue, if there is one."""
        return await ask(self._kv.Range, _oldest(name), RangeResponse, caller)


def queue_of(name: bytes) -> KeyRange:
    """All keys under `name/`: the byte after a slash is a zero."""
    return KeyRange.from_wire(name + b"/", name + b"0")


def _oldest(name: bytes) -> RangeRequest:
    return RangeRequest(
        key=name + b"/",
        range_end=name + b"0",
        limit=1,
        sort_target=RangeRequest.CREATE,
        sort_order=RangeRequest.ASCEND,
    )


def _created(key: bytes, revision: int) -> Compare:
    """Claims that `key` was created at `revision`; 0: that it is not there."""
    return Compare(result=Compare.EQUAL, target=Compare.CREATE, key=key, create_revision=revision)


def _place(key: bytes, value: bytes, reply: TxnResponse) -> Place:
    owner = reply.responses[1].response_range.kvs[0]
    if reply.succeeded:
        own = KeyValue(value=value, create_revision=reply.header.revision)
    else:
        own = reply.responses[0].response_range.kvs[0]
    return Place(
        key,
        own.create_revision,
        own.value,
        reply.header,
        is_first=owner.create_revision == own.create_revision,
        is_new=reply.succeeded,
    )
