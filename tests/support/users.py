"""Users, roles and logins, in the words of the tests."""

from __future__ import annotations

from typing import Any, Final, cast

from google.protobuf.message import Message

from etcdpb import rpc_pb2 as pb
from etcdpb.auth_pb2 import Permission
from server.auth.caller import SERVER
from server.auth.tokens import Login
from tests.support.calls import Answer, Pipe
from tests.support.client import Client
from tests.support.clock import settle
from tests.support.server import ServerInProcess, bare_server
from tests.support.serving import Running

ROOT: Final = "root"
CHEAP: Final = 4  # The least cost of a hash; for `served(bcrypt_cost=CHEAP)`.
READ: Final = Permission.READ
WRITE: Final = Permission.WRITE
BOTH: Final = Permission.READWRITE


def password_of(name: str) -> str:
    return f"{name}'s"


async def add_user(client: Client, name: str, *roles: str) -> None:
    await client.auth.UserAdd(pb.AuthUserAddRequest(name=name, password=password_of(name)))
    for role in roles:
        await client.auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user=name, role=role))


async def add_role(client: Client, name: str, *granted: Permission) -> None:
    await client.auth.RoleAdd(pb.AuthRoleAddRequest(name=name))
    for each in granted:
        await grant(client, name, each)


async def grant(client: Client, role: str, permission: Permission) -> None:
    await client.auth.RoleGrantPermission(
        pb.AuthRoleGrantPermissionRequest(name=role, perm=permission)
    )


def permit(kind: Permission.Type, key: bytes, range_end: bytes = b"") -> Permission:
    return Permission(permType=kind, key=key, range_end=range_end)


async def enable(client: Client) -> None:
    """Users count from now on; root is made."""
    await add_user(client, ROOT, ROOT)
    await client.auth.AuthEnable(pb.AuthEnableRequest())


async def log_in(client: Client, name: str, password: str | None = None) -> str:
    """The token for that user."""
    secret = password_of(name) if password is None else password
    reply = await client.auth.Authenticate(pb.AuthenticateRequest(name=name, password=secret))
    return reply.token


async def as_user(server: Running, name: str) -> Client:
    """A connection of that user's."""
    return server.connect(await log_in(server.client, name))


def answer_to(token: Any) -> Answer:
    """The call of whoever has that token."""
    answer = Answer()
    answer.token = token
    return answer


def ask_as(server: ServerInProcess, token: Any, request: Message) -> Answer:
    """Ask a server in the same process, without a transport."""
    return server.ask(request, answer_to(token))


async def add_user_within(server: ServerInProcess, name: str) -> None:
    """A user without a password, added by the server itself."""
    pipe = Pipe()
    pipe.token = SERVER
    request = pb.AuthUserAddRequest(name=name)
    request.options.no_password = True
    pipe.write(request.SerializeToString())
    task = server.open("/etcdserverpb.Auth/UserAdd", pipe)
    await task


class _Claims:
    """Tokens that are believed: the name of a user, and an auth revision."""

    def find(self, token: str, revision: int, now: float) -> Login | None:  # noqa: ARG002  # as said
        name, _, claimed = token.partition(":")
        return Login(name, int(claimed)) if claimed else None


async def server_with_users(permission: Permission) -> tuple[ServerInProcess, int]:
    """A server where users count: root, and Ann, who has `permission`; and the auth revision.

    "ann:7" is a token of Ann's, of the auth revision 7.
    """
    server = bare_server()
    for name in (ROOT, "ann"):
        await add_user_within(server, name)
    granted = pb.AuthRoleGrantPermissionRequest(name="role")
    granted.perm.CopyFrom(permission)
    for request in (
        pb.AuthRoleAddRequest(name="role"),
        granted,
        pb.AuthUserGrantRoleRequest(user="ann", role="role"),
        pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT),
        pb.AuthEnableRequest(),
    ):
        ask_as(server, SERVER, request)
    await settle()
    server.state.gate.tokens = cast(Any, _Claims())
    return server, server.state.auth.revision
