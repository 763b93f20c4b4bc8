"""v3lockpb.Lock: a lock is the first place in a queue (etcd's server/etcdserver/api/v3lock)."""

from __future__ import annotations

from etcdpb.rpc_pb2 import DeleteRangeRequest, DeleteRangeResponse
from etcdpb.v3lock_pb2 import LockRequest, LockResponse, UnlockRequest, UnlockResponse
from server import status
from server.call import Stream
from server.services.errands import ask
from server.services.kv import KVService
from server.services.turns import Turns
from server.status import RpcError


class LockService:
    """Each method is unary on the wire, and a coroutine since it waits."""

    def __init__(self, kv: KVService, turns: Turns) -> None:
        self._kv = kv
        self._turns = turns

    async def Lock(self, stream: Stream) -> None:
        """Answer once the caller holds the lock. A lease that holds it already gets it again."""
        request = LockRequest.FromString(await stream.receive() or b"")
        async with self._turns.session(request.lease, stream) as lease_id:
            place = await self._turns.enter(request.name, lease_id, b"", stream)
            header = place.header
            if not place.is_first:
                await self._turns.wait(request.name, place, stream)
                found = await self._turns.find(place, stream)
                if found is None:
                    raise RpcError(status.LOCK_SESSION_EXPIRED)
                header = found
        await stream.send(LockResponse(header=header, key=place.key).SerializeToString())

    async def Unlock(self, stream: Stream) -> None:
        """Delete a key: whose it is, and whether it was there, is not asked."""
        request = UnlockRequest.FromString(await stream.receive() or b"")
        delete = DeleteRangeRequest(key=request.key)
        reply = await ask(self._kv.DeleteRange, delete, DeleteRangeResponse, stream)
        await stream.send(UnlockResponse(header=reply.header).SerializeToString())
