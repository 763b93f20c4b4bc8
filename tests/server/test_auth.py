"""Users log in and do what they may, over both transports."""

from __future__ import annotations

import re
from typing import Any

from etcdpb import rpc_pb2 as pb
from etcdpb.auth_pb2 import Permission, User
from mvcc.backend.base import Column
from server import status
from tests.support.client import refusal
from tests.support.clock import FakeClock
from tests.support.serving import Running, served
from tests.support.users import (
    BOTH,
    CHEAP,
    READ,
    ROOT,
    WRITE,
    add_role,
    add_user,
    as_user,
    enable,
    grant,
    log_in,
    password_of,
    permit,
)


async def _revision(server: Running) -> int:
    reply = await server.client.auth.AuthStatus(pb.AuthStatusRequest())
    return reply.authRevision


@served(bcrypt_cost=CHEAP)
async def test_without_users_that_count_everyone_may_do_everything(server: Running) -> None:
    """A token is not even looked at."""
    await server.connect("nonsense").put(b"a")
    reply = await server.client.auth.AuthStatus(pb.AuthStatusRequest())
    assert (reply.enabled, reply.authRevision) == (False, 1)
    refused = await refusal(log_in(server.client, ROOT))
    assert refused == status.AUTH_NOT_ENABLED


@served(bcrypt_cost=CHEAP)
async def test_root_is_needed_before_users_count(server: Running) -> None:
    """TestAuthEnable, server/auth/store_test.go."""
    request = pb.AuthEnableRequest()
    assert await refusal(server.client.auth.AuthEnable(request)) == status.ROOT_USER_NOT_EXIST
    await add_user(server.client, ROOT)
    assert await refusal(server.client.auth.AuthEnable(request)) == status.ROOT_ROLE_NOT_EXIST
    grant_root = pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT)
    await server.client.auth.UserGrantRole(grant_root)
    await server.client.auth.AuthEnable(request)
    assert await refusal(server.client.put(b"a")) == status.USER_EMPTY
    root = await as_user(server, ROOT)
    await root.auth.AuthEnable(request)  # Again is harmless.
    await root.auth.AuthDisable(pb.AuthDisableRequest())
    await server.client.auth.AuthDisable(pb.AuthDisableRequest())
    await server.client.put(b"a")


@served(bcrypt_cost=CHEAP)
async def test_a_user_may_do_what_the_union_of_its_roles_permits(server: Running) -> None:
    client = server.client
    await add_role(client, "left", permit(BOTH, b"a", b"c"))
    await add_role(client, "right", permit(READ, b"c", b"e"), permit(WRITE, b"x"))
    await add_user(client, "ann", "left", "right")
    await client.put(b"d", b"1")
    await enable(client)
    ann = await as_user(server, "ann")
    await ann.put(b"b", b"2")
    assert [kv.key for kv in (await ann.get(b"a", b"e")).kvs] == [b"b", b"d"]
    assert await refusal(ann.get(b"a", b"e\0")) == status.PERMISSION_DENIED
    assert await refusal(ann.put(b"d")) == status.PERMISSION_DENIED
    await ann.put(b"x")
    assert await refusal(ann.get(b"x")) == status.PERMISSION_DENIED
    assert await refusal(ann.put(b"x", prev_kv=True)) == status.PERMISSION_DENIED
    assert await refusal(ann.get(b"a", b"\0")) == status.PERMISSION_DENIED


@served(bcrypt_cost=CHEAP)
async def test_a_change_of_roles_counts_at_once(server: Running) -> None:
    """A simple token stays good: it carries no revision of its own."""
    client = server.client
    await add_role(client, "role", permit(BOTH, b"a"))
    await add_user(client, "ann", "role")
    await enable(client)
    ann, root = await as_user(server, "ann"), await as_user(server, ROOT)
    await ann.put(b"a")
    await grant(root, "role", permit(READ, b"a"))
    assert await refusal(ann.put(b"a")) == status.PERMISSION_DENIED
    await ann.get(b"a")
    await root.auth.RoleDelete(pb.AuthRoleDeleteRequest(role="role"))
    assert await refusal(ann.get(b"a")) == status.PERMISSION_DENIED
    assert not (await root.auth.UserGet(pb.AuthUserGetRequest(name="ann"))).roles


@served(bcrypt_cost=CHEAP)
async def test_each_change_moves_the_auth_revision_by_one_and_no_other(server: Running) -> None:
    """Observed on etcd 3.5.1, but for the store's revision, which stays where it is."""
    auth = server.client.auth
    seen = [await _revision(server)]
    for request in (
        auth.UserAdd(pb.AuthUserAddRequest(name=ROOT, password=password_of(ROOT))),
        auth.UserAdd(pb.AuthUserAddRequest(name="ann", password="1")),
        auth.UserChangePassword(pb.AuthUserChangePasswordRequest(name="ann", password="2")),
        auth.RoleAdd(pb.AuthRoleAddRequest(name="role")),
        auth.RoleGrantPermission(
            pb.AuthRoleGrantPermissionRequest(name="role", perm=permit(READ, b"a"))
        ),
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="ann", role="role")),
        auth.UserRevokeRole(pb.AuthUserRevokeRoleRequest(name="ann", role="role")),
        auth.RoleRevokePermission(pb.AuthRoleRevokePermissionRequest(role="role", key=b"a")),
        auth.RoleDelete(pb.AuthRoleDeleteRequest(role="role")),
        auth.UserDelete(pb.AuthUserDeleteRequest(name="ann")),
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT)),
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT)),
    ):
        reply = await request
        assert reply.header.revision == 1
        seen.append(await _revision(server))
    assert seen == [*range(1, 13), 12]
    await auth.AuthEnable(pb.AuthEnableRequest())
    root = await as_user(server, ROOT)
    assert (await root.auth.AuthStatus(pb.AuthStatusRequest())).authRevision == 12
    await root.auth.AuthDisable(pb.AuthDisableRequest())
    assert await _revision(server) == 13


@served(bcrypt_cost=CHEAP)
async def test_names_are_told_in_byte_order(server: Running) -> None:
    auth = server.client.auth
    for name in ("b", "a", "\N{LATIN SMALL LETTER E WITH ACUTE}", "Z"):
        await auth.UserAdd(pb.AuthUserAddRequest(name=name))
        await auth.RoleAdd(pb.AuthRoleAddRequest(name=name))
        await auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="b", role=name))
    names = ["Z", "a", "b", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
    assert (await auth.UserList(pb.AuthUserListRequest())).users == names
    assert (await auth.RoleList(pb.AuthRoleListRequest())).roles == names
    assert (await auth.UserGet(pb.AuthUserGetRequest(name="b"))).roles == names


@served(bcrypt_cost=CHEAP)
async def test_the_role_root_has_everything_once_it_is_made(server: Running) -> None:
    auth = server.client.auth
    request = pb.AuthRoleGetRequest(role=ROOT)
    assert await refusal(auth.RoleGet(request)) == status.ROLE_NOT_FOUND
    await add_role(server.client, ROOT, permit(READ, b"a"))
    assert list((await auth.RoleGet(request)).perm) == [permit(BOTH, b"", b"\0")]


@served(bcrypt_cost=CHEAP)
async def test_a_token_is_sixteen_letters_and_a_number(server: Running) -> None:
    await enable(server.client)
    first, second = await log_in(server.client, ROOT), await log_in(server.client, ROOT)
    assert re.fullmatch(r"[A-Za-z]{16}\.\d+", first)
    assert first != second


@served(bcrypt_cost=CHEAP, clock=FakeClock, auth_token_ttl_s=10)
async def test_a_token_lives_as_long_as_it_is_used(server: Running) -> None:
    await enable(server.client)
    root = await as_user(server, ROOT)
    for _ in range(3):
        await server.time.advance(9.5)
        await root.put(b"a")
    await server.time.advance(10)
    assert await refusal(root.put(b"a")) == status.INVALID_AUTH_TOKEN


@served(bcrypt_cost=CHEAP)
async def test_tokens_end_with_their_user_its_password_and_with_users_counting(
    server: Running,
) -> None:
    await add_user(server.client, "ann")
    await add_user(server.client, "bob")
    await enable(server.client)
    root = await as_user(server, ROOT)
    ann, bob = await as_user(server, "ann"), await as_user(server, "bob")
    change = pb.AuthUserChangePasswordRequest(name="ann", password="new")
    await root.auth.UserChangePassword(change)
    assert await refusal(ann.grant(60)) == status.INVALID_AUTH_TOKEN
    assert await refusal(log_in(server.client, "ann")) == status.AUTH_FAILED
    ann = server.connect(await log_in(server.client, "ann", "new"))
    await ann.grant(60)
    await root.auth.UserDelete(pb.AuthUserDeleteRequest(name="ann"))
    assert await refusal(ann.grant(60)) == status.INVALID_AUTH_TOKEN
    await bob.grant(60)
    await root.auth.AuthDisable(pb.AuthDisableRequest())
    await server.client.auth.AuthEnable(pb.AuthEnableRequest())
    assert await refusal(bob.grant(60)) == status.INVALID_AUTH_TOKEN


@served(bcrypt_cost=CHEAP)
async def test_who_logs_in_wrongly_is_not_told_what_was_wrong(server: Running) -> None:
    await add_user(server.client, "ann")
    await enable(server.client)
    assert await refusal(log_in(server.client, "ann", "wrong")) == status.AUTH_FAILED
    assert await refusal(log_in(server.client, "ann", "")) == status.AUTH_FAILED
    assert await refusal(log_in(server.client, "nobody")) == status.AUTH_FAILED
    assert await refusal(log_in(server.client, "")) == status.AUTH_FAILED


@served(bcrypt_cost=CHEAP)
async def test_a_user_without_a_password_cannot_log_in_by_one(server: Running) -> None:
    """CheckPassword in server/auth/store.go; the code is Unknown, as etcd's."""
    request = pb.AuthUserAddRequest(name="ann", password="given")
    request.options.no_password = True
    await server.client.auth.UserAdd(request)
    await enable(server.client)
    for password in ("given", ""):
        refused = await refusal(log_in(server.client, "ann", password))
        assert refused == status.NO_PASSWORD_USER
    root = await as_user(server, ROOT)
    change = pb.AuthUserChangePasswordRequest(name="ann", password="new")
    await root.auth.UserChangePassword(change)
    assert await refusal(log_in(server.client, "ann", "new")) == status.NO_PASSWORD_USER


@served(bcrypt_cost=CHEAP)
async def test_passwords_are_of_up_to_72_bytes_and_may_be_empty(server: Running) -> None:
    auth = server.client.auth
    await enable(server.client)
    root = await as_user(server, ROOT)
    for number, password in enumerate(("", "p" * 72, "with\0zero")):
        await root.auth.UserAdd(pb.AuthUserAddRequest(name=f"u{number}", password=password))
        await log_in(server.client, f"u{number}", password)
        assert await refusal(log_in(server.client, f"u{number}", "x")) == status.AUTH_FAILED
    too_long = pb.AuthUserAddRequest(name="long", password="p" * 73)
    assert await refusal(root.auth.UserAdd(too_long)) == status.PASSWORD_TOO_LONG
    assert await refusal(auth.UserAdd(too_long)) == status.USER_EMPTY  # And nothing is hashed.


@served(bcrypt_cost=CHEAP)
async def test_a_hash_that_a_client_sends_counts_for_a_change_only(server: Running) -> None:
    """UserAdd and UserChangePassword in server/etcdserver/v3_server.go."""
    auth = server.client.auth
    hashed = "JDJhJDA0JEhwS3loTVJWMFhvc1ZuZ1lpTjJjdC42RnB1MkVwYUNPd3J5ZGpoa2V2dC9jdGFvd3dwZzZh"
    await auth.UserAdd(pb.AuthUserAddRequest(name="ann", password="1", hashedPassword="!"))
    change = pb.AuthUserChangePasswordRequest(name="ann", hashedPassword="!")
    assert await refusal(auth.UserChangePassword(change)) == status.NO_PASSWORD_USER
    change = pb.AuthUserChangePasswordRequest(name="ann", hashedPassword=hashed)
    await auth.UserChangePassword(change)
    row = server.backend.get(Column.AUTH_USERS, b"ann")
    assert row is not None
    assert User.FromString(row).password.startswith(b"$2a$04$")


@served(bcrypt_cost=CHEAP)
async def test_rows_are_etcds(server: Running) -> None:
    """Names, records, options that are there even if none is set, and no password in clear."""
    await add_role(server.client, "role", permit(WRITE, b"k", b"l"), permit(READ, b"a"))
    await add_user(server.client, "ann", "role")
    await enable(server.client)
    rows = {
        column: dict(server.backend.scan(column))
        for column in (Column.AUTH, Column.AUTH_USERS, Column.AUTH_ROLES)
    }
    assert rows[Column.AUTH] == {
        b"authEnabled": b"\1",
        b"authRevision": (8).to_bytes(8, "big"),
    }
    assert rows[Column.AUTH_ROLES] == {
        b"role": b"\n\x04role\x12\x03\x12\x01a\x12\x08\x08\x01\x12\x01k\x1a\x01l"
    }
    ann = rows[Column.AUTH_USERS][b"ann"]
    user = User.FromString(ann)
    assert ann == b"\n\x03ann\x12\x3c" + user.password + b"\x1a\x04role" + b"\x22\x00"
    assert user.password.startswith(b"$2a$04$")
    assert password_of("ann").encode() not in ann


@served(bcrypt_cost=CHEAP)
async def test_users_see_themselves_and_their_roles_and_nobody_elses(server: Running) -> None:
    await add_role(server.client, "role", permit(READ, b"a"))
    await add_role(server.client, "other")
    await add_user(server.client, "ann", "role")
    await enable(server.client)
    ann = await as_user(server, "ann")
    reply = await ann.auth.UserGet(pb.AuthUserGetRequest(name="ann"))
    assert list(reply.roles) == ["role"]
    role = await ann.auth.RoleGet(pb.AuthRoleGetRequest(role="role"))
    assert list(role.perm) == [Permission(key=b"a")]
    for request in (
        ann.auth.UserGet(pb.AuthUserGetRequest(name=ROOT)),
        ann.auth.UserGet(pb.AuthUserGetRequest(name="nobody")),
        ann.auth.RoleGet(pb.AuthRoleGetRequest(role="other")),
        ann.auth.RoleGet(pb.AuthRoleGetRequest(role="none")),
    ):
        assert await refusal(request) == status.PERMISSION_DENIED


@served(bcrypt_cost=CHEAP)
async def test_root_cannot_be_shut_out_while_users_count(server: Running) -> None:
    await add_role(server.client, ROOT)
    await enable(server.client)
    root = await as_user(server, ROOT)
    for request in (
        root.auth.UserDelete(pb.AuthUserDeleteRequest(name=ROOT)),
        root.auth.UserRevokeRole(pb.AuthUserRevokeRoleRequest(name=ROOT, role=ROOT)),
        root.auth.RoleDelete(pb.AuthRoleDeleteRequest(role=ROOT)),
    ):
        assert await refusal(request) == status.INVALID_AUTH_MANAGEMENT


@served(bcrypt_cost=CHEAP)
async def test_a_nested_operation_is_looked_at_as_any_other(server: Running) -> None:
    """CVE-2026-33343 and CVE-2026-44283: nested ones, prev_kv and leases went past the checks."""
    client = server.client
    await add_role(client, "role", permit(BOTH, b"a"), permit(WRITE, b"w"))
    await add_user(client, "ann", "role")
    lease = (await client.grant(60)).ID
    await client.put(b"other", lease=lease)
    await enable(client)
    ann = await as_user(server, "ann")

    def put(key: bytes, **fields: Any) -> pb.RequestOp:
        return pb.RequestOp(request_put=pb.PutRequest(key=key, **fields))

    def nested(operation: pb.RequestOp) -> pb.TxnRequest:
        inner = pb.RequestOp(request_txn=pb.TxnRequest(failure=[operation]))
        return pb.TxnRequest(failure=[pb.RequestOp(request_txn=pb.TxnRequest(success=[inner]))])

    await ann.kv.Txn(nested(put(b"w")))
    for operation in (
        put(b"b"),
        put(b"w", prev_kv=True),
        put(b"a", lease=lease),
        pb.RequestOp(request_range=pb.RangeRequest(key=b"w")),
        pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a", range_end=b"b")),
        pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"w", prev_kv=True)),
        pb.RequestOp(request_txn=pb.TxnRequest(compare=[pb.Compare(key=b"w")])),
    ):
        assert await refusal(ann.kv.Txn(nested(operation))) == status.PERMISSION_DENIED
    reading = pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))
    await ann.kv.Txn(pb.TxnRequest(compare=[pb.Compare(key=b"a")], success=[reading]))
    request = pb.TxnRequest(compare=[pb.Compare(key=b"b")], success=[reading])
    assert await refusal(ann.kv.Txn(request)) == status.PERMISSION_DENIED
