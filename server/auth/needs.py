"""What each method asks of its caller before it is called at all, while authentication counts.

KV, Lease and Watch look at the keys of each request, when it is carried out; what stands here is
all that can be said of a method as such (etcd's server/etcdserver/api/v3rpc: AuthAdmin, and
needAdminPermission in server/etcdserver/apply/auth.go). A method that is missing here is not
served: see `need_of`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from server.auth.principal import Principal


class Need(enum.Enum):
    NOTHING = enum.auto()  # Or the service looks for itself.
    LOGIN = enum.auto()
    ROOT = enum.auto()

    def check(self, principal: Principal) -> None:
        """Raises UserEmptyError, UserNotFoundError, PermissionDeniedError."""
        if self is Need.LOGIN:
            principal.must_be_somebody()
        elif self is Need.ROOT:
            principal.must_be_root()


# By service; a name that is not in the inner table needs what stands under "".
_NEEDS: Final[Mapping[str, Mapping[str, Need]]] = {
    "etcdserverpb.KV": {"": Need.NOTHING},
    "etcdserverpb.Watch": {"": Need.NOTHING},
    "etcdserverpb.Lease": {"": Need.NOTHING},
    "etcdserverpb.Cluster": {"": Need.ROOT, "MemberList": Need.LOGIN},
    # An Alarm may be a question or a change.
    "etcdserverpb.Maintenance": {"": Need.ROOT, "Status": Need.LOGIN, "Alarm": Need.NOTHING},
    # UserGet and RoleGet answer each user what is its own.
    "etcdserverpb.Auth": {
        "": Need.ROOT,
        "Authenticate": Need.NOTHING,
        "UserGet": Need.NOTHING,
        "RoleGet": Need.NOTHING,
    },
    # They ask KV and Lease in the name of their caller.
    "v3lockpb.Lock": {"": Need.NOTHING},
    "v3electionpb.Election": {"": Need.NOTHING},
    "grpc.health.v1.Health": {"": Need.NOTHING},
}


def need_of(path: str) -> Need:
    """What the method of that path needs.

    Raises:
        KeyError: nobody has said, and a guess could open a door.
    """
    service, _, method = path.removeprefix("/").rpartition("/")
    needs = _NEEDS[service]
    return needs.get(method, needs[""])
