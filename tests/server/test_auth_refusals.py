"""What the management of users and roles refuses, as a client hears it: code and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from server.status import Code, Status
from tests.support.client import Client, refusal
from tests.support.serving import Running, served
from tests.support.users import CHEAP, READ, add_role, add_user, permit

WRONG: Final = Code.INVALID_ARGUMENT
NOT_NOW: Final = Code.FAILED_PRECONDITION

Ask = Callable[[Client], Any]


@pytest.mark.parametrize(
    ("ask", "code", "text"),
    [
        (lambda c: c.auth.UserAdd(pb.AuthUserAddRequest()), WRONG, "user name is empty"),
        (
            lambda c: c.auth.UserAdd(pb.AuthUserAddRequest(name="ann")),
            NOT_NOW,
            "user name already exists",
        ),
        (
            lambda c: c.auth.UserGet(pb.AuthUserGetRequest(name="none")),
            NOT_NOW,
            "user name not found",
        ),
        (
            lambda c: c.auth.UserDelete(pb.AuthUserDeleteRequest(name="none")),
            NOT_NOW,
            "user name not found",
        ),
        (
            lambda c: c.auth.UserChangePassword(
                pb.AuthUserChangePasswordRequest(name="none", password="1")
            ),
            NOT_NOW,
            "user name not found",
        ),
        (
            lambda c: c.auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="none", role="r")),
            NOT_NOW,
            "user name not found",
        ),
        (
            lambda c: c.auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="ann", role="none")),
            NOT_NOW,
            "role name not found",
        ),
        (
            lambda c: c.auth.UserRevokeRole(pb.AuthUserRevokeRoleRequest(name="none", role="r")),
            NOT_NOW,
            "user name not found",
        ),
        (
            lambda c: c.auth.UserRevokeRole(pb.AuthUserRevokeRoleRequest(name="ann", role="r")),
            NOT_NOW,
            "role is not granted to the user",
        ),
        (lambda c: c.auth.RoleAdd(pb.AuthRoleAddRequest()), WRONG, "role name is empty"),
        (
            lambda c: c.auth.RoleAdd(pb.AuthRoleAddRequest(name="r")),
            NOT_NOW,
            "role name already exists",
        ),
        (
            lambda c: c.auth.RoleGet(pb.AuthRoleGetRequest(role="none")),
            NOT_NOW,
            "role name not found",
        ),
        (
            lambda c: c.auth.RoleDelete(pb.AuthRoleDeleteRequest(role="none")),
            NOT_NOW,
            "role name not found",
        ),
        (
            lambda c: c.auth.RoleGrantPermission(pb.AuthRoleGrantPermissionRequest(name="r")),
            WRONG,
            "permission not given",
        ),
        (
            lambda c: c.auth.RoleGrantPermission(
                pb.AuthRoleGrantPermissionRequest(name="none", perm=permit(READ, b"a"))
            ),
            NOT_NOW,
            "role name not found",
        ),
        (
            lambda c: c.auth.RoleGrantPermission(
                pb.AuthRoleGrantPermissionRequest(name="r", perm=permit(READ, b"b", b"a"))
            ),
            WRONG,
            "invalid auth management",
        ),
        (
            lambda c: c.auth.RoleRevokePermission(
                pb.AuthRoleRevokePermissionRequest(role="r", key=b"a", range_end=b"b")
            ),
            NOT_NOW,
            "permission is not granted to the role",
        ),
        (
            lambda c: c.auth.Authenticate(pb.AuthenticateRequest(name="ann")),
            NOT_NOW,
            "authentication is not enabled",
        ),
    ],
)
@served(bcrypt_cost=CHEAP)
async def test_a_refusal_has_etcds_code_and_text(
    server: Running, ask: Ask, code: Code, text: str
) -> None:
    """api/v3rpc/rpctypes/error.go; the role has a permission on the key, not on the range."""
    await add_role(server.client, "r", permit(READ, b"a"))
    await add_user(server.client, "ann")
    assert await refusal(ask(server.client)) == Status(code, f"etcdserver: {text}")
