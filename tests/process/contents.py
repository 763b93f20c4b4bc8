"""All that a server has, as one value that JSON can hold: what an upgrade may not change."""

from __future__ import annotations

import base64
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from etcdpb import rpc_pb2 as pb
from tests.process.client import ALL_KEYS, CALL_MAX_S, Client


class Asker:
    """Asks with root's token, once there is one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.token = ""

    def __call__(self, service: str, name: str, request: Message) -> Any:
        """Raises grpc.RpcError: it is refused."""
        metadata = (("token", self.token),) if self.token else None
        method = self._client.method(service, name)
        return method(request, timeout=CALL_MAX_S, metadata=metadata)

    def log_in(self, name: str, password: str) -> None:
        request = pb.AuthenticateRequest(name=name, password=password)
        self.token = self("Auth", "Authenticate", request).token


LEFT_OUT: Final = ("header", "raft")  # Of an answer: they change with each start.


def contents(ask: Asker) -> dict[str, Any]:
    """Asked of a server that nobody else asks anything."""
    everything = ask("KV", "Range", pb.RangeRequest(key=ALL_KEYS, range_end=ALL_KEYS))
    whole = ask("Maintenance", "HashKV", pb.HashKVRequest())
    first, last = whole.compact_revision, whole.hash_revision
    leases = ask("Lease", "LeaseLeases", pb.LeaseLeasesRequest()).leases
    users = ask("Auth", "UserList", pb.AuthUserListRequest()).users
    roles = ask("Auth", "RoleList", pb.AuthRoleListRequest()).roles
    status = ask("Auth", "AuthStatus", pb.AuthStatusRequest())
    return {
        "revision": everything.header.revision,
        "compact_revision": first,
        "ids": [everything.header.cluster_id, everything.header.member_id],
        "keys": [_told(kv) for kv in everything.kvs],
        # Each revision's hash, so that history is compared too.
        "hashes": [
            ask("Maintenance", "HashKV", pb.HashKVRequest(revision=revision)).hash
            for revision in range(first, last + 1)
        ],
        "leases": {str(lease.ID): _lease(ask, lease.ID) for lease in leases},
        "users": {
            name: list(ask("Auth", "UserGet", pb.AuthUserGetRequest(name=name)).roles)
            for name in users
        },
        "roles": {
            name: _told(ask("Auth", "RoleGet", pb.AuthRoleGetRequest(role=name))).get("perm", [])
            for name in roles
        },
        "auth": [status.enabled, status.authRevision],
        "alarms": _told(ask("Maintenance", "Alarm", pb.AlarmRequest())),
        "peer_urls": list(ask("Cluster", "MemberList", pb.MemberListRequest()).members[0].peerURLs),
    }


def _lease(ask: Asker, lease_id: int) -> list[Any]:
    request = pb.LeaseTimeToLiveRequest(ID=lease_id, keys=True)
    told = ask("Lease", "LeaseTimeToLive", request)
    return [told.grantedTTL, [base64.b64encode(key).decode() for key in told.keys]]


def _told(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(message)
    return {name: value for name, value in told.items() if not name.startswith(LEFT_OUT)}
