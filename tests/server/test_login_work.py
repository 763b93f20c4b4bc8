"""What a login costs the server says nothing of whether there is such a user.

Counted, not timed: each login is one hash computed, of the same cost, whoever it is for. Only then
is it known whether there is a token.
"""

from __future__ import annotations

from collections.abc import Callable

import bcrypt
import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import refusal
from tests.support.serving import Running, served
from tests.support.users import ROOT, add_user, enable, log_in

COST = 5


class _Counted:
    """bcrypt's own function, and the first letters of each hash that it was asked about."""

    def __init__(self, real: Callable[[bytes, bytes], bool]) -> None:
        self._real = real
        self.asked: list[bytes] = []

    def __call__(self, password: bytes, stored: bytes) -> bool:
        self.asked.append(stored[:7])
        return self._real(password, stored)


@pytest.mark.parametrize(
    ("name", "password", "told"),
    [
        (ROOT, "wrong", status.AUTH_FAILED),
        (ROOT, "", status.AUTH_FAILED),
        (ROOT, "p" * 100_000, status.AUTH_FAILED),
        ("nobody", "wrong", status.AUTH_FAILED),
        ("", "", status.AUTH_FAILED),
        ("n" * 100_000, "wrong", status.AUTH_FAILED),
        # It is told that it is one without a password, as on etcd; not sooner, though.
        ("certified", "wrong", status.NO_PASSWORD_USER),
        (ROOT, None, None),
    ],
)
@served(bcrypt_cost=COST)
async def test_every_login_is_one_hash_of_the_same_cost(
    server: Running,
    name: str,
    password: str | None,
    told: status.Status | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = pb.AuthUserAddRequest(name="certified")
    request.options.no_password = True
    await server.client.auth.UserAdd(request)
    await add_user(server.client, "ann")
    await enable(server.client)
    counted = _Counted(bcrypt.checkpw)
    monkeypatch.setattr(bcrypt, "checkpw", counted)
    if told is None:
        assert await log_in(server.client, name, password)
    else:
        assert await refusal(log_in(server.client, name, password)) == told
    assert counted.asked == [b"$2a$%02d$" % COST]
