"""Random requests of Lease, Watch and Auth."""

import itertools
from random import Random
from typing import Final

from compat.differential.kv_requests import INT64_MAX, INT64_MIN, LEASES, KVRequests
from compat.differential.operations import KEEP_ALIVE, WATCH, Operation, of
from compat.differential.world import ROOT, World
from etcdpb import rpc_pb2 as rpc
from etcdpb.auth_pb2 import Permission, UserAddOptions

# Seconds. Nothing runs out while it is looked at: how late that is, is each server's own matter.
# They are far enough apart to be listed in one order, however long an episode takes.
TTLS: Final = (600, 2_000, 5_000, 9_000_000_000, 9_000_000_001, INT64_MAX)
SHORT_TTLS: Final = (0, -1, 1, INT64_MIN)  # Seconds, all below the least.
SHORT_LIVED: Final = 99  # The lease they are for, which is revoked at once.
# Not -1, which is every watcher's that was refused.
WATCH_IDS: Final = (0, 0, 0, 1, 2, 5, -2, -7, INT64_MAX, INT64_MIN)
FRESH_WATCH_ID_MIN: Final = 1_000
USERS: Final = (ROOT, "u", "v", "w/x", "")
ROLES: Final = (ROOT, "r", "s", "")
PASSWORDS: Final = ("p", "q", "")
# One end for each beginning: see `permission-replaced`.
PERMISSION_RANGES: Final = ((b"a", b""), (b"aa", b"ac"), (b"b", b"c"), (b"\xff", b"\0"))


class LeaseRequests:
    def __init__(self, random: Random, world: World, kv: KVRequests) -> None:
        self._random = random
        self._world = world
        self._kv = kv

    def _lease(self) -> int:
        if self._kv.chance(0.05):
            return 0
        known = tuple(sorted(self._world.leases))
        return self._random.choice(known if known and self._kv.chance(0.7) else LEASES)

    def draw(self, caller: str) -> list[Operation]:
        drawn, random = self._random.random(), self._random
        if drawn < 0.35:
            lease = 0 if self._kv.chance(0.05) else random.choice(LEASES)
            grant = rpc.LeaseGrantRequest(TTL=random.choice(TTLS), ID=lease)
            return [of("Lease/LeaseGrant", grant, caller)]
        if drawn < 0.4:
            short = rpc.LeaseGrantRequest(TTL=random.choice(SHORT_TTLS), ID=SHORT_LIVED)
            end = rpc.LeaseRevokeRequest(ID=SHORT_LIVED)
            return [of("Lease/LeaseGrant", short, caller), of("Lease/LeaseRevoke", end, caller)]
        if drawn < 0.55:
            return [of("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=self._lease()), caller)]
        if drawn < 0.75:
            asked = rpc.LeaseTimeToLiveRequest(ID=self._lease(), keys=self._kv.chance(0.7))
            return [of("Lease/LeaseTimeToLive", asked, caller)]
        if drawn < 0.85:
            return [of("Lease/LeaseLeases", rpc.LeaseLeasesRequest(), caller)]
        renewals = tuple(
            rpc.LeaseKeepAliveRequest(ID=self._lease()).SerializeToString()
            for _ in range(random.randint(1, 4))
        )
        return [Operation(KEEP_ALIVE, renewals, caller)]


class WatchRequests:
    STREAMS: Final = 3

    def __init__(self, random: Random, kv: KVRequests) -> None:
        self._random = random
        self._kv = kv
        self._fresh_ids = itertools.count(FRESH_WATCH_ID_MIN)

    def draw(self, caller: str, *, may_be_refused: bool) -> Operation:
        """A watch that may be refused has an id of its own.

        Refusing one, etcd 3.5.1 lets the watcher that has the id go silent: see `watch-refusal`.
        """
        drawn, stream = self._random.random(), self._random.randrange(self.STREAMS)
        if drawn < 0.06:
            return Operation(WATCH, (), caller, stream)
        request = rpc.WatchRequest()
        if drawn < 0.6:
            request.create_request.CopyFrom(self._create())
            if may_be_refused:
                request.create_request.watch_id = next(self._fresh_ids)
        elif drawn < 0.8:
            request.cancel_request.watch_id = self._random.choice((*range(6), *WATCH_IDS, 99))
        elif drawn < 0.97:
            request.progress_request.SetInParent()
        return of(WATCH, request, caller, stream)

    def closing(self) -> list[Operation]:
        """All streams, so that the next ones are new."""
        return [Operation(WATCH, (), stream=stream) for stream in range(self.STREAMS)]

    def _create(self) -> rpc.WatchCreateRequest:
        chance, random = self._kv.chance, self._random
        request = rpc.WatchCreateRequest(
            key=self._kv.key(),
            range_end=self._kv.end(),
            prev_kv=chance(0.4),
            progress_notify=chance(0.2),
            fragment=chance(0.2),
            watch_id=random.choice(WATCH_IDS),
        )
        if chance(0.5):
            # Below zero, see `negative-watch-revision`.
            request.start_revision = max(self._kv.revision(), 0)
        if chance(0.3):
            request.filters.extend(random.choices((0, 1, 5), k=random.randint(1, 3)))  # type: ignore[arg-type]
        return request


class AlarmRequests:
    """Alarms of members that are not there; each stays for a few operations only."""

    def __init__(self, random: Random, world: World) -> None:
        self._random = random
        self._world = world

    def draw(self) -> Operation:
        """Any of them, or the end of one that there is."""
        alarms = sorted(self._world.alarms)
        member, alarm = self._random.choice(alarms or [(7, 1), (7, 2), (8, 1), (8, 0)])
        action = rpc.AlarmRequest.DEACTIVATE if alarms else self._random.randrange(3)
        request = rpc.AlarmRequest(action=action, memberID=member, alarm=alarm)  # type: ignore[arg-type]
        return of("Maintenance/Alarm", request)


class AuthRequests:
    def __init__(self, random: Random, kv: KVRequests) -> None:
        self._random = random
        self._kv = kv

    def login(self, name: str, password: str = "p") -> Operation:
        return of("Auth/Authenticate", rpc.AuthenticateRequest(name=name, password=password), name)

    def setting_up(self) -> list[Operation]:
        """Root, a user with a few rights, and both logged in."""
        operations = []
        for name, role in ((ROOT, ROOT), ("u", "r")):
            operations += [
                of("Auth/UserAdd", rpc.AuthUserAddRequest(name=name, password="p")),
                of("Auth/RoleAdd", rpc.AuthRoleAddRequest(name=role)),
                of("Auth/UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=role)),
            ]
        operations += [self._grant("r", "") for _ in range(2)]
        operations.append(of("Auth/AuthEnable", rpc.AuthEnableRequest()))
        return [*operations, self.login(ROOT), self.login("u")]

    def login_of_root(self) -> Operation:
        return self.login(ROOT, self._random.choice(PASSWORDS))

    def disabling(self) -> Operation:
        return of("Auth/AuthDisable", rpc.AuthDisableRequest(), ROOT)

    def _grant(self, role: str, caller: str) -> Operation:
        key, end = self._random.choice(PERMISSION_RANGES)
        kind = self._random.randrange(3)
        permission = Permission(permType=kind, key=key, range_end=end)  # type: ignore[arg-type]
        request = rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)
        return of("Auth/RoleGrantPermission", request, caller)

    def draw(self, caller: str) -> Operation:
        random = self._random
        user, role = random.choice(USERS), random.choice(ROLES)
        password = random.choice(PASSWORDS)
        key, end = random.choice((*PERMISSION_RANGES, (b"a", b"b"), (b"", b"")))
        options = UserAddOptions(no_password=True) if self._kv.chance(0.1) else None
        requests = {
            "UserAdd": rpc.AuthUserAddRequest(name=user, password=password, options=options),
            "UserGet": rpc.AuthUserGetRequest(name=user),
            "UserList": rpc.AuthUserListRequest(),
            "UserDelete": rpc.AuthUserDeleteRequest(name=user),
            "UserChangePassword": rpc.AuthUserChangePasswordRequest(name=user, password=password),
            "UserGrantRole": rpc.AuthUserGrantRoleRequest(user=user, role=role),
            "UserRevokeRole": rpc.AuthUserRevokeRoleRequest(name=user, role=role),
            "RoleAdd": rpc.AuthRoleAddRequest(name=role),
            "RoleGet": rpc.AuthRoleGetRequest(role=role),
            "RoleList": rpc.AuthRoleListRequest(),
            "RoleDelete": rpc.AuthRoleDeleteRequest(role=role),
            "RoleRevokePermission": rpc.AuthRoleRevokePermissionRequest(
                role=role, key=key, range_end=end
            ),
            "AuthStatus": rpc.AuthStatusRequest(),
            "AuthEnable": rpc.AuthEnableRequest(),
            "AuthDisable": rpc.AuthDisableRequest(),
        }
        drawn = random.random()
        if drawn < 0.15:
            return self._grant(role, caller)
        if drawn < 0.3:
            return self.login(user, password)
        name = random.choice(tuple(requests))
        return of(f"Auth/{name}", requests[name], caller)
