"""Those who say that they are somebody else, or still somebody: none gets further by it.

The world is that of `tests.support.attacked`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from server.settings.config import TRANSPORTS
from server.status import Code
from tests.support.attacked import DENIED, made
from tests.support.client import refusal
from tests.support.loop import run_in_loop
from tests.support.serving import Running, running, served
from tests.support.users import (
    BOTH,
    CHEAP,
    ROOT,
    add_user,
    as_user,
    enable,
    log_in,
    password_of,
    permit,
)


@served(bcrypt_cost=CHEAP)
async def test_a_token_of_a_user_who_is_gone_is_not_that_of_one_who_comes_by_its_name(
    server: Running,
) -> None:
    world = await made(server)
    await world.root.auth.UserDelete(pb.AuthUserDeleteRequest(name="ann"))
    await add_user(world.root, "ann", ROOT)
    assert await refusal(world.ann.get(b"b/key")) == status.INVALID_AUTH_TOKEN
    anew = await as_user(server, "ann")
    assert (await anew.get(b"b/key")).count == 1


@served(bcrypt_cost=CHEAP)
async def test_no_token_opens_what_is_the_servers_own(server: Running) -> None:
    """What the server shows itself is an object, and no text that a client could send."""
    await made(server)
    for token in ("SERVER", "server", "root", "Bearer ", "Bearer", "None", "<ServerToken>"):
        assert await refusal(server.connect(token).get(b"b/key")) == status.INVALID_AUTH_TOKEN
    first = await log_in(server.client, ROOT)
    metadata = (("token", "x.1"), ("token", first), ("authorization", first))
    request = pb.RangeRequest(key=b"b/key")
    assert await refusal(server.client.kv.Range(request, metadata)) == status.INVALID_AUTH_TOKEN


@served(bcrypt_cost=CHEAP)
async def test_a_user_does_not_make_itself_more_than_it_is(server: Running) -> None:
    world = await made(server)
    auth = world.ann.auth
    wide = permit(BOTH, b"\0", b"\0")
    for request in (
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="ann", role=ROOT)),
        auth.RoleGrantPermission(pb.AuthRoleGrantPermissionRequest(name="role", perm=wide)),
        auth.UserChangePassword(pb.AuthUserChangePasswordRequest(name=ROOT, password="x")),
        auth.UserChangePassword(pb.AuthUserChangePasswordRequest(name="ann", password="x")),
        auth.UserAdd(pb.AuthUserAddRequest(name="eve", password="x")),
        auth.AuthDisable(pb.AuthDisableRequest()),
    ):
        assert await refusal(request) == DENIED
    assert await log_in(server.client, ROOT, password_of(ROOT))


@served(bcrypt_cost=CHEAP)
async def test_names_that_are_no_text_reach_no_user(server: Running) -> None:
    """Bytes that are no UTF-8 where a name stands, which protobuf forbids."""
    await made(server)
    for path, message in (
        ("Authenticate", b"\n\x04\xffann\x12\x01x"),
        ("UserGet", b"\n\x04\xffann"),
        ("UserAdd", b"\n\x02\xc0\x80"),
    ):
        told = await refusal(server.client.raw(f"/etcdserverpb.Auth/{path}", message))
        assert told.code in (Code.INTERNAL, Code.INVALID_ARGUMENT)
    await server.client.auth.Authenticate(
        pb.AuthenticateRequest(name=ROOT, password=password_of(ROOT))
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_jwt_from_before_reads_no_key_and_is_void_for_who_is_root_no_more(
    transport: str, tmp_path: Path
) -> None:
    """That it manages users until then is a known limit, as on etcd: IsAdminPermitted."""

    async def scenario() -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"a secret of more than thirty-two bytes")
        token = f"jwt,sign-method=HS256,priv-key={secret}"
        async with running(transport=transport, auth_token=token, bcrypt_cost=CHEAP) as server:
            await add_user(server.client, "eve", ROOT)
            await enable(server.client)
            eve = await as_user(server, "eve")
            root = await as_user(server, ROOT)
            change = pb.AuthUserChangePasswordRequest(name="eve", password="new")
            await root.auth.UserChangePassword(change)
            assert await refusal(eve.get(b"k")) == status.OLD_AUTH_REVISION
            assert "eve" in (await eve.auth.UserList(pb.AuthUserListRequest())).users
            revoked = pb.AuthUserRevokeRoleRequest(name="eve", role=ROOT)
            await (await as_user(server, ROOT)).auth.UserRevokeRole(revoked)
            assert await refusal(eve.auth.UserList(pb.AuthUserListRequest())) == DENIED

    run_in_loop(scenario())
