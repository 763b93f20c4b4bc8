"""etcdserverpb.Cluster for the one member there is.

What one member can do is done: its peer URLs are changed. What would need a second one is
refused: etcd lets its only member add another, and is without a quorum from that moment on until
the other one has started. None ever starts here, so a member or a learner is not added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from etcdpb.rpc_pb2 import (
    Member,
    MemberAddRequest,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MemberUpdateResponse,
)
from server import status
from server.call import PeerCall
from server.commands.base import State
from server.commands.membership import SetPeerURLs
from server.engine import Engine
from server.header import Headers
from server.settings.urls import URL
from server.status import RpcError

ReplyT = TypeVar("ReplyT", MemberListResponse, MemberUpdateResponse)


class ClusterService:
    def __init__(
        self,
        engine: Engine,
        state: State,
        headers: Headers,
        *,
        name: str,
        peer_urls: Sequence[str],
        client_urls: Sequence[str],
    ) -> None:
        """`peer_urls` are told until others are given by request."""
        self._engine = engine
        self._membership = state.membership
        self._headers = headers
        self._name = name
        self._peer_urls = tuple(peer_urls)
        self._client_urls = tuple(client_urls)

    def MemberList(self, message: bytes, call: PeerCall) -> bytes | None:
        """Clients dial the client URLs that this answers. Linearizable or not is all the same."""
        return self._engine.read(self._list, MemberListRequest.FromString(message), call)

    def _list(self, request: MemberListRequest) -> bytes:  # noqa: ARG002  # nothing is asked
        return self._reply(MemberListResponse())

    def _reply(self, reply: ReplyT) -> bytes:
        """The header has no revision, as etcd's."""
        reply.members.add().CopyFrom(self._member())
        return self._headers.at(0) + reply.SerializeToString()

    def _member(self) -> Member:
        return Member(
            ID=self._headers.member_id,
            name=self._name,
            peerURLs=self._told_peer_urls(),
            clientURLs=self._client_urls,
        )

    def _told_peer_urls(self) -> tuple[str, ...]:
        changed = self._membership.peer_urls
        return self._peer_urls if changed is None else changed

    def MemberAdd(self, message: bytes, call: PeerCall) -> None:  # noqa: ARG002  # always refused
        request = MemberAddRequest.FromString(message)
        try:
            urls = {URL.parse(text).text for text in request.peerURLs}
        except ValueError as error:
            raise RpcError(status.MEMBER_BAD_URLS) from error
        if not urls:
            raise RpcError(status.MEMBER_BAD_URLS)
        if not urls.isdisjoint(self._told_peer_urls()):
            raise RpcError(status.PEER_URL_EXISTS)
        raise RpcError(status.NOT_ENOUGH_STARTED)

    def MemberRemove(self, message: bytes, call: PeerCall) -> None:  # noqa: ARG002  # always refused
        self._check_id(MemberRemoveRequest.FromString(message).ID)
        raise RpcError(status.NOT_ENOUGH_STARTED)

    def MemberPromote(self, message: bytes, call: PeerCall) -> None:  # noqa: ARG002  # always refused
        self._check_id(MemberPromoteRequest.FromString(message).ID)
        raise RpcError(status.MEMBER_NOT_LEARNER)

    def MemberUpdate(self, message: bytes, call: PeerCall) -> None:
        """Change the member's peer URLs. They may be any texts, or none, as etcd has it."""
        request = MemberUpdateRequest.FromString(message)
        self._check_id(request.ID)
        command = SetPeerURLs(tuple(request.peerURLs))
        self._engine.submit(command, call, self._update_reply, len(message))

    def _update_reply(self, _: None) -> bytes:
        return self._reply(MemberUpdateResponse())

    def _check_id(self, member_id: int) -> None:
        if member_id != self._headers.member_id:
            raise RpcError(status.MEMBER_NOT_FOUND)
