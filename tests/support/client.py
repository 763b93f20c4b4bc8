"""A client of the etcd API with nothing in between: requests in, messages and statuses out.

Made from the service descriptors, so a path or a direction is never spelled by hand, and typed by
the annotations of the service classes. It retries nothing and translates nothing; a refusal is
the `server.status.Status` that came over the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import health_pb2 as hpb
from etcdpb import rpc_pb2 as pb
from etcdpb import v3election_pb2 as epb
from etcdpb import v3lock_pb2 as lpb
from etcdpb.kv_pb2 import Event
from server.status import Code, Status
from tests.support.signed import Signed

RECEIVE_TIMEOUT_S: Final = 20.0  # Nothing takes that long: whoever waits for it has found a bug.
_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # A channel is one connection, not shared.
]
_EOF: Final = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs
_SERVICES: Final = pb.DESCRIPTOR.services_by_name

Metadata = Iterable[tuple[str, str | bytes]]
RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)


class Unary(Generic[RequestT, ReplyT]):
    """One request, one reply."""

    def __init__(self, channel: Any, path: str, reply: type[ReplyT]) -> None:
        self._call = channel.unary_unary(path, _serialize, reply.FromString)

    async def __call__(self, request: RequestT, metadata: Metadata = ()) -> ReplyT:
        answer: ReplyT = await asyncio.wait_for(
            self._call(request, metadata=tuple(metadata)), RECEIVE_TIMEOUT_S
        )
        return answer


class Download(Generic[RequestT, ReplyT]):
    """One request, many replies."""

    def __init__(self, channel: Any, path: str, reply: type[ReplyT]) -> None:
        self._call = channel.unary_stream(path, _serialize, reply.FromString)

    def __call__(self, request: RequestT, metadata: Metadata = ()) -> Talk[RequestT, ReplyT]:
        return Talk(self._call(request, metadata=tuple(metadata)))


class Duplex(Generic[RequestT, ReplyT]):
    """Many requests, many replies."""

    def __init__(self, channel: Any, path: str, reply: type[ReplyT]) -> None:
        self._call = channel.stream_stream(path, _serialize, reply.FromString)

    def __call__(self, metadata: Metadata = ()) -> Talk[RequestT, ReplyT]:
        return Talk(self._call(metadata=tuple(metadata)))


class Talk(Generic[RequestT, ReplyT]):
    """One stream, from the client's side."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, request: RequestT) -> None:
        await asyncio.wait_for(self._call.write(request), RECEIVE_TIMEOUT_S)

    async def receive(self) -> ReplyT:
        """The next message. It is an error if the stream ends instead."""
        message = await self.receive_or_end()
        assert message is not None, "the stream has ended"
        return message

    async def receive_or_end(self) -> ReplyT | None:
        """The next message, or None where the stream ended with OK."""
        message = await asyncio.wait_for(self._call.read(), RECEIVE_TIMEOUT_S)
        if message is _EOF:
            ended = await self.status()
            if ended.code != Code.OK:
                raise AssertionError(f"the stream ended with {ended}")
            return None
        reply: ReplyT = message
        return reply

    async def rest(self) -> list[ReplyT]:
        """All messages up to the end of the stream, which must be OK."""
        messages = []
        while (message := await self.receive_or_end()) is not None:
            messages.append(message)
        return messages

    async def half_close(self) -> None:
        await self._call.done_writing()

    def cancel(self) -> None:
        self._call.cancel()

    async def status(self) -> Status:
        """How the stream ended; waits for the end."""
        code = await asyncio.wait_for(self._call.code(), RECEIVE_TIMEOUT_S)
        return Status(Code(code.value[0]), await self._call.details())

    async def refusal(self) -> Status:
        """The status of a stream that ends without another message."""
        try:
            message = await asyncio.wait_for(self._call.read(), RECEIVE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            pass
        else:
            assert message is _EOF, f"the stream goes on: {message}"
        return await self.status()


class Watching:
    """A Watch stream, spoken in whole requests."""

    def __init__(self, talk: Talk[pb.WatchRequest, pb.WatchResponse]) -> None:
        self.talk = talk

    async def ask(self, key: bytes, range_end: bytes = b"", **fields: Any) -> None:
        """Send a create request and leave its reply unread."""
        create = pb.WatchCreateRequest(key=key, range_end=range_end, **fields)
        await self.talk.send(pb.WatchRequest(create_request=create))

    async def create(self, key: bytes, range_end: bytes = b"", **fields: Any) -> pb.WatchResponse:
        """The reply to a create request, which must be the next message."""
        await self.ask(key, range_end, **fields)
        created = await self.talk.receive()
        assert created.created
        assert not created.events
        return created

    async def ask_cancel(self, watch_id: int) -> None:
        cancel = pb.WatchCancelRequest(watch_id=watch_id)
        await self.talk.send(pb.WatchRequest(cancel_request=cancel))

    async def cancel(self, watch_id: int) -> pb.WatchResponse:
        """The reply to a cancel request, which must be the next message."""
        await self.ask_cancel(watch_id)
        canceled = await self.talk.receive()
        assert canceled.canceled
        assert canceled.watch_id == watch_id
        return canceled

    async def ask_progress(self) -> None:
        await self.talk.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def receive(self) -> pb.WatchResponse:
        return await self.talk.receive()

    async def receive_events(self, count: int) -> list[Event]:
        """The next `count` events, over however many responses they come in."""
        events: list[Event] = []
        while len(events) < count:
            response = await self.talk.receive()
            assert response.events, f"no events: {response}"
            events.extend(response.events)
        assert len(events) == count
        return events

    async def expect_silence(self) -> None:
        """Assert that nothing is on its way.

        A create request that must be refused is answered behind everything that the stream's
        synced watchers were offered before it came, so its reply has to be the next message.
        """
        await self.ask(b"b", b"a")
        response = await self.talk.receive()
        assert (response.created, response.canceled, response.watch_id) == (True, True, -1), (
            f"not silent: {response}"
        )


class _Service:
    """Offers each method of a service under its own name."""

    def __init__(self, channel: Any, descriptor: ServiceDescriptor) -> None:
        for method in descriptor.methods:
            setattr(self, method.name, _bind(channel, method))


class KV(_Service):
    Range: Unary[pb.RangeRequest, pb.RangeResponse]
    RangeStream: Download[pb.RangeRequest, pb.RangeStreamResponse]
    Put: Unary[pb.PutRequest, pb.PutResponse]
    DeleteRange: Unary[pb.DeleteRangeRequest, pb.DeleteRangeResponse]
    Txn: Unary[pb.TxnRequest, pb.TxnResponse]
    Compact: Unary[pb.CompactionRequest, pb.CompactionResponse]


class Watch(_Service):
    Watch: Duplex[pb.WatchRequest, pb.WatchResponse]


class Lease(_Service):
    LeaseGrant: Unary[pb.LeaseGrantRequest, pb.LeaseGrantResponse]
    LeaseRevoke: Unary[pb.LeaseRevokeRequest, pb.LeaseRevokeResponse]
    LeaseKeepAlive: Duplex[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]
    LeaseTimeToLive: Unary[pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse]
    LeaseLeases: Unary[pb.LeaseLeasesRequest, pb.LeaseLeasesResponse]


class Cluster(_Service):
    MemberAdd: Unary[pb.MemberAddRequest, pb.MemberAddResponse]
    MemberRemove: Unary[pb.MemberRemoveRequest, pb.MemberRemoveResponse]
    MemberUpdate: Unary[pb.MemberUpdateRequest, pb.MemberUpdateResponse]
    MemberList: Unary[pb.MemberListRequest, pb.MemberListResponse]
    MemberPromote: Unary[pb.MemberPromoteRequest, pb.MemberPromoteResponse]


class Maintenance(_Service):
    Status: Unary[pb.StatusRequest, pb.StatusResponse]
    Alarm: Unary[pb.AlarmRequest, pb.AlarmResponse]
    HashKV: Unary[pb.HashKVRequest, pb.HashKVResponse]
    Hash: Unary[pb.HashRequest, pb.HashResponse]
    Defragment: Unary[pb.DefragmentRequest, pb.DefragmentResponse]
    Snapshot: Download[pb.SnapshotRequest, pb.SnapshotResponse]
    MoveLeader: Unary[pb.MoveLeaderRequest, pb.MoveLeaderResponse]
    Downgrade: Unary[pb.DowngradeRequest, pb.DowngradeResponse]


class Auth(_Service):
    AuthEnable: Unary[pb.AuthEnableRequest, pb.AuthEnableResponse]
    AuthDisable: Unary[pb.AuthDisableRequest, pb.AuthDisableResponse]
    AuthStatus: Unary[pb.AuthStatusRequest, pb.AuthStatusResponse]
    Authenticate: Unary[pb.AuthenticateRequest, pb.AuthenticateResponse]
    UserAdd: Unary[pb.AuthUserAddRequest, pb.AuthUserAddResponse]
    UserGet: Unary[pb.AuthUserGetRequest, pb.AuthUserGetResponse]
    UserList: Unary[pb.AuthUserListRequest, pb.AuthUserListResponse]
    UserDelete: Unary[pb.AuthUserDeleteRequest, pb.AuthUserDeleteResponse]
    UserChangePassword: Unary[pb.AuthUserChangePasswordRequest, pb.AuthUserChangePasswordResponse]
    UserGrantRole: Unary[pb.AuthUserGrantRoleRequest, pb.AuthUserGrantRoleResponse]
    UserRevokeRole: Unary[pb.AuthUserRevokeRoleRequest, pb.AuthUserRevokeRoleResponse]
    RoleAdd: Unary[pb.AuthRoleAddRequest, pb.AuthRoleAddResponse]
    RoleGet: Unary[pb.AuthRoleGetRequest, pb.AuthRoleGetResponse]
    RoleList: Unary[pb.AuthRoleListRequest, pb.AuthRoleListResponse]
    RoleDelete: Unary[pb.AuthRoleDeleteRequest, pb.AuthRoleDeleteResponse]
    RoleGrantPermission: Unary[
        pb.AuthRoleGrantPermissionRequest, pb.AuthRoleGrantPermissionResponse
    ]
    RoleRevokePermission: Unary[
        pb.AuthRoleRevokePermissionRequest, pb.AuthRoleRevokePermissionResponse
    ]


class Lock(_Service):
    Lock: Unary[lpb.LockRequest, lpb.LockResponse]
    Unlock: Unary[lpb.UnlockRequest, lpb.UnlockResponse]


class Election(_Service):
    Campaign: Unary[epb.CampaignRequest, epb.CampaignResponse]
    Proclaim: Unary[epb.ProclaimRequest, epb.ProclaimResponse]
    Leader: Unary[epb.LeaderRequest, epb.LeaderResponse]
    Observe: Download[epb.LeaderRequest, epb.LeaderResponse]
    Resign: Unary[epb.ResignRequest, epb.ResignResponse]


class Health(_Service):
    Check: Unary[hpb.HealthCheckRequest, hpb.HealthCheckResponse]
    Watch: Download[hpb.HealthCheckRequest, hpb.HealthCheckResponse]


class Client:
    """One connection and the services on it."""

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        host: str = "",
        token: str | None = None,
    ) -> None:
        """`credentials` for TLS; the server's certificate is then to be for `host`.

        `token` goes with each call.
        """
        self.channel: Any  # Newer than its stubs.
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        else:
            options = [*_OPTIONS, ("grpc.ssl_target_name_override", host)]
            self.channel = grpc.aio.secure_channel(target, credentials, options=options)
        if token is not None:
            self.channel = Signed(self.channel, token)
        self.kv = KV(self.channel, _SERVICES["KV"])
        self.watch = Watch(self.channel, _SERVICES["Watch"])
        self.lease = Lease(self.channel, _SERVICES["Lease"])
        self.cluster = Cluster(self.channel, _SERVICES["Cluster"])
        self.maintenance = Maintenance(self.channel, _SERVICES["Maintenance"])
        self.health = Health(self.channel, hpb.DESCRIPTOR.services_by_name["Health"])
        self.auth = Auth(self.channel, _SERVICES["Auth"])
        self.lock = Lock(self.channel, lpb.DESCRIPTOR.services_by_name["Lock"])
        self.election = Election(self.channel, epb.DESCRIPTOR.services_by_name["Election"])

    async def close(self) -> None:
        await self.channel.close()

    async def put(self, key: bytes, value: bytes = b"", **fields: Any) -> pb.PutResponse:
        return await self.kv.Put(pb.PutRequest(key=key, value=value, **fields))

    async def get(self, key: bytes, range_end: bytes = b"", **fields: Any) -> pb.RangeResponse:
        return await self.kv.Range(pb.RangeRequest(key=key, range_end=range_end, **fields))

    async def delete(
        self, key: bytes, range_end: bytes = b"", **fields: Any
    ) -> pb.DeleteRangeResponse:
        request = pb.DeleteRangeRequest(key=key, range_end=range_end, **fields)
        return await self.kv.DeleteRange(request)

    async def compact(self, revision: int, *, physical: bool = False) -> pb.CompactionResponse:
        return await self.kv.Compact(pb.CompactionRequest(revision=revision, physical=physical))

    async def grant(self, ttl: int, lease_id: int = 0) -> pb.LeaseGrantResponse:
        return await self.lease.LeaseGrant(pb.LeaseGrantRequest(TTL=ttl, ID=lease_id))

    async def revoke(self, lease_id: int) -> pb.LeaseRevokeResponse:
        return await self.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease_id))

    async def time_to_live(
        self, lease_id: int, *, keys: bool = False
    ) -> pb.LeaseTimeToLiveResponse:
        request = pb.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
        return await self.lease.LeaseTimeToLive(request)

    async def revision(self) -> int:
        """The store's current revision."""
        return (await self.get(b"\0", count_only=True)).header.revision

    def watching(self, metadata: Metadata = ()) -> Watching:
        return Watching(self.watch.Watch(metadata))

    async def raw(self, path: str, message: bytes = b"", metadata: Metadata = ()) -> bytes:
        """Any bytes to any path, as a unary call."""
        call = self.channel.unary_unary(path)
        reply: bytes = await asyncio.wait_for(
            call(message, metadata=tuple(metadata)), RECEIVE_TIMEOUT_S
        )
        return reply


async def refusal(call: Awaitable[object]) -> Status:
    """The status that a call was refused with. It is an error if it was not."""
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        return Status(Code(error.code().value[0]), error.details() or "")
    raise AssertionError(f"the call was not refused: {reply}")


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds. For what another thread or process brings about."""
    async with asyncio.timeout(RECEIVE_TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  # nobody signals it: that is what is tested
            await asyncio.sleep(0.001)


def _bind(channel: Any, method: MethodDescriptor) -> object:
    path = f"/{method.containing_service.full_name}/{method.name}"
    reply = GetMessageClass(method.output_type)
    if method.client_streaming:
        return Duplex(channel, path, reply)
    return (
        Download(channel, path, reply) if method.server_streaming else Unary(channel, path, reply)
    )


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
