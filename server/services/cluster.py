"""etcdserverpb.Cluster for the one member there is."""

from __future__ import annotations

from collections.abc import Sequence

from etcdpb.rpc_pb2 import Member, MemberListResponse
from server.call import Call
from server.header import Headers


class ClusterService:
    def __init__(
        self,
        headers: Headers,
        *,
        name: str,
        peer_urls: Sequence[str],
        client_urls: Sequence[str],
    ) -> None:
        self._headers = headers
        self._member = Member(
            ID=headers.member_id, name=name, peerURLs=peer_urls, clientURLs=client_urls
        )

    def MemberList(self, message: bytes, call: Call) -> bytes:  # noqa: ARG002  # nothing to ask
        """Clients dial the client URLs that this answers. The header has no revision, as etcd's."""
        body = MemberListResponse(members=[self._member])
        return self._headers.at(0) + body.SerializeToString()
