"""What changes while a password is looked at: that takes long, and the writer does not wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import bcrypt
import pytest
from google.protobuf.message import Message

from etcdpb import rpc_pb2 as pb
from server import status
from server.auth.caller import SERVER
from tests.support.client import refusal
from tests.support.serving import Running, running
from tests.support.users import CHEAP, add_role, add_user, enable, log_in

WAIT_S = 20.0


class _Held:
    """bcrypt, which looks at a password only when the test lets it."""

    def __init__(self, real: Callable[[bytes, bytes], bool]) -> None:
        self._real = real
        self.looks = 0
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, password: bytes, stored: bytes) -> bool:
        self.looks += 1
        self.begun.set()
        self.go.wait(WAIT_S)
        return self._real(password, stored)


class _Quiet:
    """The server asking itself, without an answer wanted."""

    token = SERVER
    peer_cn = None

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    def reply(self, message: bytes) -> None:  # noqa: ARG002  # that it came is enough
        self.answered.set()

    def fail(self, error: Exception) -> None:
        raise error


async def _change(server: Running, method: str, request: Message) -> None:
    quiet = _Quiet()
    found = server.core.methods.get(f"/etcdserverpb.Auth/{method}")
    assert found is not None
    found.handle(request.SerializeToString(), quiet)  # type: ignore[union-attr]  # they are unary
    await asyncio.wait_for(quiet.answered.wait(), WAIT_S)


async def _race(
    monkeypatch: pytest.MonkeyPatch, method: str, request: Message
) -> tuple[_Held, str | status.Status]:
    """Change something while ann's password is looked at: her token, or what she is told."""
    async with running(bcrypt_cost=CHEAP) as server:
        await add_role(server.client, "role")
        await add_user(server.client, "ann")
        await enable(server.client)
        held = _Held(bcrypt.checkpw)
        monkeypatch.setattr(bcrypt, "checkpw", held)
        login = asyncio.ensure_future(log_in(server.client, "ann"))
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        await _change(server, method, request)
        held.go.set()
        try:
            return held, await asyncio.shield(login)
        except Exception:  # noqa: BLE001  # `refusal` says what it was
            return held, await refusal(login)


def test_a_change_of_rights_makes_it_look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """server/etcdserver/v3_server.go: a password is right as of a revision."""
    request = pb.AuthUserGrantRoleRequest(user="ann", role="role")
    held, token = asyncio.run(_race(monkeypatch, "UserGrantRole", request))
    assert isinstance(token, str)
    assert held.looks == 2


def test_a_user_who_is_deleted_meanwhile_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    request = pb.AuthUserDeleteRequest(name="ann")
    held, told = asyncio.run(_race(monkeypatch, "UserDelete", request))
    assert told == status.AUTH_FAILED
    assert held.looks == 2  # The second time at nobody's.


def test_nobody_gets_a_token_once_users_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    held, told = asyncio.run(_race(monkeypatch, "AuthDisable", pb.AuthDisableRequest()))
    assert told == status.AUTH_NOT_ENABLED
    assert held.looks == 1
