"""v3electionpb.Election: the leader is the first in a queue, and its key's value what it says.

As etcd's server/etcdserver/api/v3election, but for one thing: a campaign that comes to its turn
when its own lease has run out is told that it is not the leader. etcd tells it that it is.
"""

from __future__ import annotations

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import DeleteRangeRequest, PutRequest, RequestOp, ResponseHeader
from etcdpb.v3election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ProclaimResponse,
    ResignRequest,
    ResignResponse,
)
from mvcc.keyrange import KeyRange
from server import status
from server.call import Stream
from server.services.tails import Tails
from server.services.turns import Place, Turns, queue_of
from server.status import RpcError


class ElectionService:
    """All but Observe are unary on the wire, and coroutines since they wait."""

    def __init__(self, turns: Turns, tails: Tails) -> None:
        self._turns = turns
        self._tails = tails

    async def Campaign(self, stream: Stream) -> None:
        """Answer once the caller leads. A candidate that has a new value says that first."""
        request = CampaignRequest.FromString(await stream.receive() or b"")
        async with self._turns.session(request.lease, stream) as lease_id:
            place = await self._turns.enter(request.name, lease_id, request.value, stream)
            if place.value != request.value:
                await self._say_anew(place, lease_id, request.value, stream)
            if not place.is_first:
                await self._turns.wait(request.name, place, stream)
                if await self._turns.find(place, stream) is None:
                    raise RpcError(status.ELECTION_NOT_LEADER)
        leader = LeaderKey(
            name=request.name, key=place.key, rev=place.create_revision, lease=lease_id
        )
        reply = CampaignResponse(header=place.header, leader=leader)
        await stream.send(reply.SerializeToString())

    async def _say_anew(self, place: Place, lease_id: int, value: bytes, stream: Stream) -> None:
        try:
            await self._proclaim(place.key, place.create_revision, lease_id, value, stream)
        except RpcError:
            self._turns.leave(place)
            raise

    async def Proclaim(self, stream: Stream) -> None:
        """Give the leader's key a new value, if it still is the leader's."""
        request = ProclaimRequest.FromString(await stream.receive() or b"")
        leader = _leader_of(request)
        async with self._turns.session(leader.lease, stream) as lease_id:
            header = await self._proclaim(leader.key, leader.rev, lease_id, request.value, stream)
        await stream.send(ProclaimResponse(header=header).SerializeToString())

    async def _proclaim(
        self, key: bytes, revision: int, lease_id: int, value: bytes, stream: Stream
    ) -> ResponseHeader:
        put = RequestOp(request_put=PutRequest(key=key, value=value, lease=lease_id))
        reply = await self._turns.change(key, revision, put, stream)
        if not reply.succeeded:
            raise RpcError(status.ELECTION_NOT_LEADER)
        return reply.header

    async def Resign(self, stream: Stream) -> None:
        """Delete the leader's key. One that is not the leader's any more is left, and that is fine.

        No lease is asked for, though etcd grants one to a leader without: it would be for nothing.
        """
        request = ResignRequest.FromString(await stream.receive() or b"")
        leader = _leader_of(request)
        delete = RequestOp(request_delete_range=DeleteRangeRequest(key=leader.key))
        reply = await self._turns.change(leader.key, leader.rev, delete, stream)
        await stream.send(ResignResponse(header=reply.header).SerializeToString())

    async def Leader(self, stream: Stream) -> None:
        request = LeaderRequest.FromString(await stream.receive() or b"")
        reply = await self._turns.first(request.name, stream)
        if not reply.kvs:
            raise RpcError(status.ELECTION_NO_LEADER)
        await stream.send(_leader_reply(reply.header, reply.kvs[0]))

    async def Observe(self, stream: Stream) -> None:
        """Tell what the leader says, then all it says anew, then the next leader, without end.

        While there is none nothing is told. A reader too slow for what is compacted meanwhile
        goes on with what holds now.
        """
        name = LeaderRequest.FromString(await stream.receive() or b"").name
        while True:
            reply = await self._turns.first(name, stream)
            header = reply.header
            leader = reply.kvs[0] if reply.kvs else await self._first_word(name, header)
            if leader is None:
                continue
            if not reply.kvs:
                header.revision = leader.mod_revision
            await stream.send(_leader_reply(header, leader))
            await self._relay(stream, header, leader.key)

    async def _first_word(self, name: bytes, header: ResponseHeader) -> KeyValue | None:
        """The first put to the empty queue; None if it may have been missed."""
        with self._tails.follow(queue_of(name), header.revision) as tail:
            while (happened := await tail.next()) is not None:
                for event in happened.events:
                    if event.type == Event.PUT:
                        return event.kv
        return None

    async def _relay(self, stream: Stream, header: ResponseHeader, key: bytes) -> None:
        """Tell every new value of the leader's key until it is gone."""
        with self._tails.follow(KeyRange.from_wire(key, b""), header.revision) as tail:
            while (happened := await tail.next()) is not None:
                header.revision = happened.revision
                for event in happened.events:
                    if event.type == Event.DELETE:
                        return
                    await stream.send(_leader_reply(header, event.kv))


def _leader_of(request: ProclaimRequest | ResignRequest) -> LeaderKey:
    if not request.HasField("leader"):
        raise RpcError(status.ELECTION_LEADER_MISSING)
    return request.leader


def _leader_reply(header: ResponseHeader, leader: KeyValue) -> bytes:
    return LeaderResponse(header=header, kv=leader).SerializeToString()
