"""Which gateway path is which method: the google.api.http annotations of etcd's .proto files.

All of etcd's routes stand here. Whether a service has the method is asked of the method table at
each request, so a service that is added is reachable by its routes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2, v3election_pb2, v3lock_pb2

PREFIX: Final = "/v3/"
OLD_PREFIX: Final = "/v3beta/"  # Means the same; clients of etcd 3.3 ask for it.

# By file and service: the first path is the method's own, others mean the same.
_ROUTES: Final[tuple[tuple[FileDescriptor, str, dict[str, str]], ...]] = (
    (
        rpc_pb2.DESCRIPTOR,
        "KV",
        {
            "kv/range": "Range",
            "kv/put": "Put",
            "kv/deleterange": "DeleteRange",
            "kv/txn": "Txn",
            "kv/compaction": "Compact",
        },
    ),
    (rpc_pb2.DESCRIPTOR, "Watch", {"watch": "Watch"}),
    (
        rpc_pb2.DESCRIPTOR,
        "Lease",
        {
            "lease/grant": "LeaseGrant",
            "lease/revoke": "LeaseRevoke",
            "lease/keepalive": "LeaseKeepAlive",
            "lease/timetolive": "LeaseTimeToLive",
            "lease/leases": "LeaseLeases",
            "kv/lease/revoke": "LeaseRevoke",
            "kv/lease/timetolive": "LeaseTimeToLive",
            "kv/lease/leases": "LeaseLeases",
        },
    ),
    (
        rpc_pb2.DESCRIPTOR,
        "Cluster",
        {
            "cluster/member/add": "MemberAdd",
            "cluster/member/remove": "MemberRemove",
            "cluster/member/update": "MemberUpdate",
            "cluster/member/list": "MemberList",
            "cluster/member/promote": "MemberPromote",
        },
    ),
    (
        rpc_pb2.DESCRIPTOR,
        "Maintenance",
        {
            "maintenance/alarm": "Alarm",
            "maintenance/status": "Status",
            "maintenance/defragment": "Defragment",
            "maintenance/hash": "Hash",
            "maintenance/hashkv": "HashKV",
            "maintenance/snapshot": "Snapshot",
            "maintenance/transfer-leadership": "MoveLeader",
            "maintenance/downgrade": "Downgrade",
        },
    ),
    (
        rpc_pb2.DESCRIPTOR,
        "Auth",
        {
            "auth/enable": "AuthEnable",
            "auth/disable": "AuthDisable",
            "auth/status": "AuthStatus",
            "auth/authenticate": "Authenticate",
            "auth/user/add": "UserAdd",
            "auth/user/get": "UserGet",
            "auth/user/list": "UserList",
            "auth/user/delete": "UserDelete",
            "auth/user/changepw": "UserChangePassword",
            "auth/user/grant": "UserGrantRole",
            "auth/user/revoke": "UserRevokeRole",
            "auth/role/add": "RoleAdd",
            "auth/role/get": "RoleGet",
            "auth/role/list": "RoleList",
            "auth/role/delete": "RoleDelete",
            "auth/role/grant": "RoleGrantPermission",
            "auth/role/revoke": "RoleRevokePermission",
        },
    ),
    (v3lock_pb2.DESCRIPTOR, "Lock", {"lock/lock": "Lock", "lock/unlock": "Unlock"}),
    (
        v3election_pb2.DESCRIPTOR,
        "Election",
        {
            "election/campaign": "Campaign",
            "election/proclaim": "Proclaim",
            "election/leader": "Leader",
            "election/observe": "Observe",
            "election/resign": "Resign",
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Route:
    path: str  # Of the method, as gRPC calls it.
    request: type[Message]
    reply: type[Message]
    is_stream: bool  # The answer is any number of messages.


def _route(method: MethodDescriptor) -> Route:
    return Route(
        f"/{method.containing_service.full_name}/{method.name}",
        GetMessageClass(method.input_type),
        GetMessageClass(method.output_type),
        method.server_streaming,
    )


ROUTES: Final[Mapping[str, Route]] = {
    PREFIX + path: _route(file.services_by_name[service].methods_by_name[name])
    for file, service, methods in _ROUTES
    for path, name in methods.items()
}
