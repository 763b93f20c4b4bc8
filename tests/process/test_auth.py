"""Users of a process: what kill -9 leaves of them, who is known by name, and what is logged."""

from __future__ import annotations

import json
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb.auth_pb2 import Permission
from tests.process.client import Client
from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.process.world import World
from tests.support.authority import Issued
from tests.support.secure import trusting

pytestmark = ON_EACH_TRANSPORT

CALL_MAX_S: Final = 20
PASSWORD: Final = "rather-secret"


def _auth(client: Client, name: str, request: Any, token: str | None = None) -> Any:
    metadata = None if token is None else (("token", token),)
    return client.method("Auth", name)(request, timeout=CALL_MAX_S, metadata=metadata)


def _make_users(client: Client) -> None:
    """Root, and ann, who may write `k`; they count from the end on."""
    granted = Permission(permType=Permission.READWRITE, key=b"k")
    for name, request in (
        ("UserAdd", pb.AuthUserAddRequest(name="root", password=PASSWORD)),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
        ("RoleAdd", pb.AuthRoleAddRequest(name="role")),
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="role", perm=granted)),
        ("UserAdd", pb.AuthUserAddRequest(name="ann", password=PASSWORD)),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="role")),
        ("AuthEnable", pb.AuthEnableRequest()),
    ):
        _auth(client, name, request)


def _log_in(client: Client, name: str, password: str = PASSWORD) -> str:
    request = pb.AuthenticateRequest(name=name, password=password)
    return str(_auth(client, "Authenticate", request).token)


def _put(client: Client, token: str | None, key: bytes = b"k") -> str:
    """What the client is told; empty if it may."""
    metadata = None if token is None else (("token", token),)
    try:
        request = pb.PutRequest(key=key)
        client.method("KV", "Put")(request, timeout=CALL_MAX_S, metadata=metadata)
    except grpc.RpcError as error:
        return str(error.details())
    return ""


@pytest.mark.power
def test_kill_9_leaves_users_roles_and_that_they_count_but_no_simple_token(
    servers: Servers,
) -> None:
    server, client = servers.start("--bcrypt-cost=4")
    _make_users(client)
    ann = _log_in(client, "ann")
    assert _put(client, ann) == ""
    server.kill()
    _, client = servers.start("--bcrypt-cost=4")
    assert _put(client, None) == "etcdserver: user name is empty"
    assert _put(client, ann) == "etcdserver: invalid auth token"
    ann = _log_in(client, "ann")
    assert _put(client, ann) == ""
    assert _put(client, ann, b"other") == "etcdserver: permission denied"
    root = _log_in(client, "root")
    status = _auth(client, "AuthStatus", pb.AuthStatusRequest(), root)
    assert (status.enabled, status.authRevision) == (True, 7)


@pytest.mark.power
def test_a_signed_token_is_good_for_the_next_process_too(servers: Servers, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret of more than thirty-two bytes")
    flags = ("--bcrypt-cost=4", f"--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl=1h")
    server, client = servers.start(*flags)
    _make_users(client)
    ann, root = _log_in(client, "ann"), _log_in(client, "root")
    server.kill()
    _, client = servers.start(*flags)
    assert _put(client, ann) == ""
    _auth(client, "RoleAdd", pb.AuthRoleAddRequest(name="another"), root)
    assert _put(client, ann) == "etcdserver: revision of auth store is old"


def test_no_secret_is_logged(servers: Servers) -> None:
    server, client = servers.start("--bcrypt-cost=4", "--log-level=debug")
    _make_users(client)
    ann, root = _log_in(client, "ann"), _log_in(client, "root")
    with pytest.raises(grpc.RpcError):
        _log_in(client, "ann", "quite wrong")
    assert _put(client, "forged-token.1") == "etcdserver: invalid auth token"
    change = pb.AuthUserChangePasswordRequest(name="ann", password="another-secret")
    _auth(client, "UserChangePassword", change, root)
    server.wait_for("changed a password of a user")
    log = server.described()
    for secret in (PASSWORD, "another-secret", "quite wrong", ann, root, "$2a$", "forged-token"):
        assert secret not in log
    assert "invalid authentication was requested" in log


@pytest.mark.parametrize("setting", ["nonsense", "jwt", "jwt,sign-method=RS256,priv-key=/nowhere"])
def test_tokens_that_cannot_be_made_end_the_start(servers: Servers, setting: str) -> None:
    server = servers.spawn(f"--auth-token={setting}")
    assert server.wait() == 1
    assert str(server.fatal()["error"]).startswith("--auth-token: ")


class _Secure:
    """Puts over TLS, as whoever shows that certificate."""

    def __init__(self, world: World) -> None:
        self._world = world

    def put(self, own: Issued, *metadata: tuple[str, str], key: bytes = b"k") -> str:
        """What the client is told; empty if it may."""
        try:
            self.call(own, "KV", "Put", pb.PutRequest(key=key), *metadata)
        except grpc.RpcError as error:
            return str(error.details())
        return ""

    def call(
        self, own: Issued, service: str, name: str, request: Any, *metadata: tuple[str, str]
    ) -> bytes:
        credentials = grpc.ssl_channel_credentials(
            self._world.authority.ca_file.read_bytes(),
            own.key_file.read_bytes(),
            own.cert_file.read_bytes(),
        )
        target = f"127.0.0.1:{self._world.port}"
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(target, credentials, options=options) as channel:
            path = f"/etcdserverpb.{service}/{name}"
            method = channel.unary_unary(path, type(request).SerializeToString, bytes)
            answer: bytes = method(request, timeout=CALL_MAX_S, metadata=metadata)
            return answer


def test_who_shows_no_token_is_known_by_its_certificate(servers: Servers, tmp_path: Path) -> None:
    """AuthInfoFromTLS in server/auth/store.go."""
    world = World(tmp_path)
    servers.spawn(*world.flags, "--bcrypt-cost=4", url=world.url).wait_until_ready()
    secure = _Secure(world)
    bob = world.authority.issue("bob")
    granted = Permission(permType=Permission.READWRITE, key=b"k")
    alice_without = pb.AuthUserAddRequest(name="alice")
    alice_without.options.no_password = True
    for name, request in (
        ("UserAdd", pb.AuthUserAddRequest(name="root", password=PASSWORD)),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
        ("RoleAdd", pb.AuthRoleAddRequest(name="role")),
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="role", perm=granted)),
        ("UserAdd", alice_without),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="alice", role="role")),
        ("AuthEnable", pb.AuthEnableRequest()),
    ):
        secure.call(bob, "Auth", name, request)
    assert secure.put(world.alice) == ""
    assert secure.put(world.alice, key=b"other") == "etcdserver: permission denied"
    # A name that no user has; one that is asked about itself is told so.
    assert secure.put(bob) == "etcdserver: permission denied"
    with pytest.raises(grpc.RpcError, match="etcdserver: user name not found"):
        secure.call(bob, "Auth", "UserList", pb.AuthUserListRequest())
    # A token counts before the name, and a bad one is not made good by it.
    assert secure.put(world.alice, ("token", "x.1")) == "etcdserver: invalid auth token"
    logging_in = pb.AuthenticateRequest(name="root", password=PASSWORD)
    reply = secure.call(bob, "Auth", "Authenticate", logging_in)
    root = pb.AuthenticateResponse.FromString(reply).token
    assert secure.put(bob, ("token", root), key=b"other") == ""
    assert secure.put(bob, ("authorization", root), key=b"other") == ""
    assert secure.put(bob, ("authorization", f"Bearer {root}"), key=b"other") == ""
    two = (("token", "x.1"), ("authorization", root))
    assert secure.put(bob, *two, key=b"other") == "etcdserver: invalid auth token"
    # The certificate of a gateway says nothing about whom it asks for.
    passed_on = ("grpcgateway-accept", "*/*")
    assert secure.put(world.alice, passed_on) == "etcdserver: user name is empty"


def test_the_gateway_takes_nobody_whose_certificate_has_a_name(
    servers: Servers, transport: str, tmp_path: Path
) -> None:
    """server/embed/serve.go: the client would think that it is known by it."""
    if transport == "grpcio":
        pytest.skip("it has no HTTP beside it")
    world = World(tmp_path)
    servers.spawn(*world.flags, "--bcrypt-cost=4", url=world.url).wait_until_ready()
    secure = _Secure(world)
    body = json.dumps({"key": "aw=="})
    assert _post(world, body)[0] == 200
    for name, request in (
        ("UserAdd", pb.AuthUserAddRequest(name="root", password=PASSWORD)),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
        ("AuthEnable", pb.AuthEnableRequest()),
    ):
        secure.call(world.alice, "Auth", name, request)
    assert _post(world, body) == (
        400,
        "CommonName of client sending a request against gateway will be ignored and not used as"
        " expected\n",
    )


def _post(world: World, body: str) -> tuple[int, str]:
    context = trusting(world.authority, world.alice, alpn=())
    connection = HTTPSConnection("127.0.0.1", world.port, context=context, timeout=CALL_MAX_S)
    try:
        connection.request("POST", "/v3/kv/range", body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
