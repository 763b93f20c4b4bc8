"""Who may call what: every method, asked by six callers, and what each of them is told.

One table of questions, put to any server that speaks etcd's API. The world it is asked in has the
users root, `in`, who may read and write below `a/`, and `out`, who may do nothing; a lease with
keys that `in` may write, and one with a key that it may not. Tokens are JWTs, so that there are
old ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio

from etcdpb import rpc_pb2 as pb
from etcdpb import v3election_pb2 as epb
from etcdpb import v3lock_pb2 as lpb
from etcdpb.rpc_pb2 import RequestOp, TxnRequest
from server import status
from server.status import Code, Status
from tests.support.client import Client, Talk
from tests.support.users import BOTH, READ, ROOT, add_role, add_user, enable, grant, log_in, permit

SECRET: Final = b"a secret of more than thirty-two bytes"
CALLERS: Final = ("nobody", "forger", "late", "out", "in", "root")
OWN_LEASE: Final = 101
FOREIGN_LEASE: Final = 102
_NO_LEASE: Final = 109  # Never granted.

# What a caller is told, in a word, by the text of the refusal. Anything else: it was let in.
_REFUSALS: Final[Mapping[str, tuple[str, Code]]] = {
    told.message: (word, told.code)
    for told, word in (
        (status.USER_EMPTY, "empty"),
        (status.INVALID_AUTH_TOKEN, "token"),
        (status.OLD_AUTH_REVISION, "old"),
        (status.PERMISSION_DENIED, "denied"),
        (Status(Code.UNAUTHENTICATED, "auth: user name is empty"), "empty"),
        (Status(Code.UNAUTHENTICATED, "auth: invalid auth token"), "token"),
        (Status(Code.UNAUTHENTICATED, "auth: permission denied"), "denied"),
        (Status(Code.UNAUTHENTICATED, "auth: revision in header is old"), "old"),
    )
}
LET_IN: Final = "ok"
ABSENT: Final = "absent"  # There is no such method.


def word_for(told: Status) -> str:
    """A star says that the code, which should be another, is Unknown."""
    if told.code == Code.UNIMPLEMENTED:
        return ABSENT
    word, code = _REFUSALS.get(told.message, (LET_IN, told.code))
    if word != LET_IN and told.code == Code.UNKNOWN:
        return word + "*"
    assert told.code == code, f"{told} has a code of its own"
    return word


class ToldError(Exception):
    """A refusal that came by a stream."""

    def __init__(self, told: Status) -> None:
        super().__init__(told)
        self.told = told


class Question(NamedTuple):
    name: str
    ask: Callable[[Client], Awaitable[Any]]


# A watch is refused within its stream, where a status stands as Go prints it.
_READ_BACK: Final = {
    status.go_text(told): told
    for told in (
        status.USER_EMPTY,
        status.INVALID_AUTH_TOKEN,
        status.OLD_AUTH_REVISION,
        status.PERMISSION_DENIED,
    )
}


Table = dict[str, tuple[str, ...]]  # By question, the answer to each caller.


def read_table(file: Path) -> Table:
    """Lines of a question's name and an answer for each caller; `#` begins a remark."""
    rows = [
        re.split(r" {2,}", line.strip())
        for line in file.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert all(len(answers) == len(CALLERS) for _, *answers in rows)
    return {name: tuple(answers) for name, *answers in rows}


async def ask_all(target: str) -> Table:
    """Put every question to a server that nobody has used; a method that is absent has no row."""
    world = World(target)
    await world.make()
    table = {
        question.name: tuple([await world.answer(question, caller) for caller in CALLERS])
        for question in QUESTIONS
    }
    return {name: answers for name, answers in table.items() if set(answers) != {ABSENT}}


class World:
    """A server with those users, and clients of it."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._root: Client | None = None
        self._late = ""
        self._clients: list[Client] = []

    def _client(self, token: str | None = None) -> Client:
        self._clients.append(Client(self._target, token=token))
        return self._clients[-1]

    async def make(self) -> None:
        """On a server that nobody has used."""
        client = self._client()
        await client.put(b"a/1")
        await client.put(b"b/1")
        await add_role(client, "role", permit(BOTH, b"a/", b"a0"))
        await add_user(client, "in", "role")
        await add_user(client, "out")
        await enable(client)
        self._late = await log_in(client, "in")
        await self._log_in_as_root()
        assert self._root is not None
        await grant(self._root, "role", permit(READ, b"spare"))

    async def _log_in_as_root(self) -> None:
        client = self._client()
        try:
            token = await log_in(client, ROOT)
        except grpc.aio.AioRpcError as error:
            if error.details() != status.AUTH_NOT_ENABLED.message:
                raise
            # The last question has disabled it all.
            await client.auth.AuthEnable(pb.AuthEnableRequest())
            token = await log_in(client, ROOT)
        self._root = self._client(token)

    async def answer(self, question: Question, caller: str) -> str:
        """What `caller` is told; everything is as it was made before."""
        await self._repair()
        client = await self._as(caller)
        try:
            await asyncio.wait_for(question.ask(client), 10)
        except grpc.aio.AioRpcError as error:
            return word_for(Status(Code(error.code().value[0]), error.details() or ""))
        except ToldError as error:
            return word_for(error.told)
        finally:
            for each in self._clients:
                await each.close()
            self._clients.clear()
        return LET_IN

    async def _repair(self) -> None:
        """The last question may have deleted things, or made root's token an old one."""
        await self._log_in_as_root()
        root = self._root
        assert root is not None
        for lease_id, key in ((OWN_LEASE, b"a/leased"), (FOREIGN_LEASE, b"b/leased")):
            left = await root.time_to_live(lease_id)
            if left.TTL < 0:
                await root.grant(3600, lease_id)
            await root.put(key, lease=lease_id)

    async def _as(self, caller: str) -> Client:
        if caller == "nobody":
            return self._client()
        if caller == "forger":
            return self._client("abcdefghijklmnop.7")
        if caller == "late":
            return self._client(self._late)
        return self._client(await log_in(self._client(), caller))

    async def close(self) -> None:
        for each in self._clients:
            await each.close()


async def _first(talk: Talk[Any, Any]) -> Any:
    """The first message of a stream.

    Raises:
        ToldError: it ends instead.
    """
    try:
        message = await talk.receive_or_end()
    except AssertionError:
        raise ToldError(await talk.status()) from None
    talk.cancel()
    return message


def _put(key: bytes, **fields: Any) -> RequestOp:
    return RequestOp(request_put=pb.PutRequest(key=key, **fields))


def _nested(operation: RequestOp) -> TxnRequest:
    """The operation in a branch that is not taken, of a transaction in one."""
    inner = TxnRequest(failure=[operation])
    return TxnRequest(success=[RequestOp(request_txn=inner)])


async def _watch(client: Client, key: bytes, range_end: bytes = b"") -> None:
    watching = client.watching()
    await watching.ask(key, range_end)
    created = await _first(watching.talk)
    if created.canceled:
        raise ToldError(_READ_BACK[created.cancel_reason])


async def _keep_alive(client: Client, lease_id: int) -> None:
    talk = client.lease.LeaseKeepAlive()
    await talk.send(pb.LeaseKeepAliveRequest(ID=lease_id))
    await _first(talk)


def _kv() -> dict[str, Callable[[Client], Awaitable[Any]]]:
    reading = RequestOp(request_range=pb.RangeRequest(key=b"a/1"))
    return {
        "KV.Range own": lambda c: c.get(b"a/", b"a0"),
        "KV.Range own, serializable": lambda c: c.get(b"a/1", serializable=True),
        "KV.Range wider": lambda c: c.get(b"a/", b"a0\0"),
        "KV.Range all": lambda c: c.get(b"\0", b"\0"),
        "KV.Put own": lambda c: c.put(b"a/1"),
        "KV.Put own, prev_kv": lambda c: c.put(b"a/1", prev_kv=True),
        "KV.Put own, own lease": lambda c: c.put(b"a/1", lease=OWN_LEASE),
        "KV.Put own, foreign lease": lambda c: c.put(b"a/1", lease=FOREIGN_LEASE),
        "KV.Put own, no lease": lambda c: c.put(b"a/1", lease=_NO_LEASE),
        "KV.Put foreign": lambda c: c.put(b"b/1"),
        "KV.DeleteRange own": lambda c: c.delete(b"a/", b"a0"),
        "KV.DeleteRange own, prev_kv": lambda c: c.delete(b"a/1", prev_kv=True),
        "KV.DeleteRange wider": lambda c: c.delete(b"a/", b"b"),
        "KV.Txn empty": lambda c: c.kv.Txn(TxnRequest()),
        "KV.Txn own": lambda c: c.kv.Txn(TxnRequest(success=[_put(b"a/1")])),
        "KV.Txn reads own": lambda c: c.kv.Txn(TxnRequest(success=[reading])),
        "KV.Txn compares foreign": lambda c: c.kv.Txn(
            TxnRequest(compare=[pb.Compare(key=b"b/1")], success=[reading])
        ),
        "KV.Txn other branch foreign": lambda c: c.kv.Txn(TxnRequest(failure=[_put(b"b/1")])),
        "KV.Txn nested own": lambda c: c.kv.Txn(_nested(_put(b"a/1"))),
        "KV.Txn nested foreign": lambda c: c.kv.Txn(_nested(_put(b"b/1"))),
        "KV.Txn nested foreign lease": lambda c: c.kv.Txn(
            _nested(_put(b"a/1", lease=FOREIGN_LEASE))
        ),
        "KV.Compact": lambda c: c.compact(1),
        "Watch.Watch own": lambda c: _watch(c, b"a/", b"a0"),
        "Watch.Watch foreign": lambda c: _watch(c, b"b/1"),
        "Watch.Watch all": lambda c: _watch(c, b"", b"\0"),
    }


def _leases() -> dict[str, Callable[[Client], Awaitable[Any]]]:
    return {
        "Lease.LeaseGrant": lambda c: c.grant(60),
        "Lease.LeaseRevoke own": lambda c: c.revoke(OWN_LEASE),
        "Lease.LeaseRevoke foreign": lambda c: c.revoke(FOREIGN_LEASE),
        "Lease.LeaseRevoke none": lambda c: c.revoke(_NO_LEASE),
        "Lease.LeaseKeepAlive own": lambda c: _keep_alive(c, OWN_LEASE),
        "Lease.LeaseKeepAlive foreign": lambda c: _keep_alive(c, FOREIGN_LEASE),
        "Lease.LeaseKeepAlive none": lambda c: _keep_alive(c, _NO_LEASE),
        "Lease.LeaseTimeToLive foreign": lambda c: c.time_to_live(FOREIGN_LEASE),
        "Lease.LeaseTimeToLive own, keys": lambda c: c.time_to_live(OWN_LEASE, keys=True),
        "Lease.LeaseTimeToLive foreign, keys": lambda c: c.time_to_live(FOREIGN_LEASE, keys=True),
        "Lease.LeaseTimeToLive none, keys": lambda c: c.time_to_live(_NO_LEASE, keys=True),
        "Lease.LeaseLeases": lambda c: c.lease.LeaseLeases(pb.LeaseLeasesRequest()),
    }


def _members() -> dict[str, Callable[[Client], Awaitable[Any]]]:
    """The changes are of a member that is not there, or would change nothing."""
    alarm, no_space = pb.AlarmRequest, pb.AlarmType.NOSPACE
    deactivate = alarm(action=alarm.DEACTIVATE, alarm=no_space, memberID=7)
    return {
        "Cluster.MemberList": lambda c: c.cluster.MemberList(pb.MemberListRequest()),
        "Cluster.MemberAdd": lambda c: c.cluster.MemberAdd(
            pb.MemberAddRequest(peerURLs=["http://localhost:2380"])
        ),
        "Cluster.MemberRemove": lambda c: c.cluster.MemberRemove(pb.MemberRemoveRequest(ID=7)),
        "Cluster.MemberUpdate": lambda c: c.cluster.MemberUpdate(
            pb.MemberUpdateRequest(ID=7, peerURLs=["http://localhost:7"])
        ),
        "Cluster.MemberPromote": lambda c: c.cluster.MemberPromote(pb.MemberPromoteRequest(ID=7)),
        "Maintenance.Status": lambda c: c.maintenance.Status(pb.StatusRequest()),
        "Maintenance.Alarm get": lambda c: c.maintenance.Alarm(alarm(action=alarm.GET)),
        "Maintenance.Alarm deactivate": lambda c: c.maintenance.Alarm(deactivate),
        "Maintenance.Defragment": lambda c: c.maintenance.Defragment(pb.DefragmentRequest()),
        "Maintenance.Hash": lambda c: c.maintenance.Hash(pb.HashRequest()),
        "Maintenance.HashKV": lambda c: c.maintenance.HashKV(pb.HashKVRequest()),
        "Maintenance.Snapshot": lambda c: _first(c.maintenance.Snapshot(pb.SnapshotRequest())),
        "Maintenance.MoveLeader": lambda c: c.maintenance.MoveLeader(
            pb.MoveLeaderRequest(targetID=7)
        ),
        "Maintenance.Downgrade": lambda c: c.maintenance.Downgrade(pb.DowngradeRequest()),
    }


def _users() -> dict[str, Callable[[Client], Awaitable[Any]]]:
    """Changes that change nothing, or are refused once they have been let in."""
    spare = permit(READ, b"spare")
    return {
        "Auth.AuthEnable": lambda c: c.auth.AuthEnable(pb.AuthEnableRequest()),
        "Auth.AuthStatus": lambda c: c.auth.AuthStatus(pb.AuthStatusRequest()),
        "Auth.UserAdd": lambda c: c.auth.UserAdd(pb.AuthUserAddRequest(name="in")),
        "Auth.UserGet self": lambda c: c.auth.UserGet(pb.AuthUserGetRequest(name="in")),
        "Auth.UserGet other": lambda c: c.auth.UserGet(pb.AuthUserGetRequest(name=ROOT)),
        "Auth.UserList": lambda c: c.auth.UserList(pb.AuthUserListRequest()),
        "Auth.UserDelete": lambda c: c.auth.UserDelete(pb.AuthUserDeleteRequest(name="none")),
        "Auth.UserChangePassword": lambda c: c.auth.UserChangePassword(
            pb.AuthUserChangePasswordRequest(name="none", password="1")
        ),
        "Auth.UserGrantRole": lambda c: c.auth.UserGrantRole(
            pb.AuthUserGrantRoleRequest(user="none", role="role")
        ),
        "Auth.UserRevokeRole": lambda c: c.auth.UserRevokeRole(
            pb.AuthUserRevokeRoleRequest(name="none", role="role")
        ),
        "Auth.RoleAdd": lambda c: c.auth.RoleAdd(pb.AuthRoleAddRequest(name="role")),
        "Auth.RoleGet own": lambda c: c.auth.RoleGet(pb.AuthRoleGetRequest(role="role")),
        "Auth.RoleGet other": lambda c: c.auth.RoleGet(pb.AuthRoleGetRequest(role=ROOT)),
        "Auth.RoleList": lambda c: c.auth.RoleList(pb.AuthRoleListRequest()),
        "Auth.RoleDelete": lambda c: c.auth.RoleDelete(pb.AuthRoleDeleteRequest(role="none")),
        "Auth.RoleGrantPermission": lambda c: grant(c, "none", spare),
        "Auth.RoleRevokePermission": lambda c: c.auth.RoleRevokePermission(
            pb.AuthRoleRevokePermissionRequest(role="none", key=b"spare")
        ),
        "Auth.AuthDisable": lambda c: c.auth.AuthDisable(pb.AuthDisableRequest()),
    }


def _queues() -> dict[str, Callable[[Client], Awaitable[Any]]]:
    own = lpb.LockRequest(name=b"a/lock", lease=OWN_LEASE)
    foreign = lpb.LockRequest(name=b"b/lock", lease=FOREIGN_LEASE)
    return {
        "Lock.Lock own": lambda c: c.lock.Lock(own),
        "Lock.Lock foreign": lambda c: c.lock.Lock(foreign),
        "Lock.Unlock own": lambda c: c.lock.Unlock(lpb.UnlockRequest(key=b"a/lock/65")),
        "Election.Campaign own": lambda c: c.election.Campaign(
            epb.CampaignRequest(name=b"a/led", lease=OWN_LEASE)
        ),
        "Election.Leader own": lambda c: c.election.Leader(epb.LeaderRequest(name=b"a/led")),
        "Election.Leader foreign": lambda c: c.election.Leader(epb.LeaderRequest(name=b"b/led")),
    }


QUESTIONS: Final = tuple(
    Question(name, ask)
    for part in (_kv(), _leases(), _members(), _users(), _queues())
    for name, ask in part.items()
)
