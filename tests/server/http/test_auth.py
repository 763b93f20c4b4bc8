"""Users over the JSON gateway: the routes, and where a request carries its token."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.server.http.support import ask, b64, web
from tests.support.serving import Running
from tests.support.users import CHEAP, ROOT, add_user, as_user, enable, log_in

KEY = {"key": b64("a")}
EMPTY = (400, 3, "etcdserver: user name is empty")


async def _post(
    client: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    answer = await client.post(f"/v3/{path}", content=json.dumps(body), headers=headers)
    return answer.status_code, answer.json()


@web(bcrypt_cost=CHEAP)
async def test_every_route_of_users_and_roles_answers(client: httpx.AsyncClient) -> None:
    assert (await ask(client, "auth/status"))["authRevision"] == "1"
    await ask(client, "auth/user/add", {"name": ROOT, "password": "1"})
    await ask(client, "auth/user/add", {"name": "ann", "options": {"no_password": True}})
    await ask(client, "auth/role/add", {"name": "role"})
    granted = {"permType": "READWRITE", "key": b64("a"), "range_end": b64("b")}
    await ask(client, "auth/role/grant", {"name": "role", "perm": granted})
    assert (await ask(client, "auth/role/get", {"role": "role"}))["perm"] == [granted]
    await ask(client, "auth/user/grant", {"user": "ann", "role": "role"})
    assert (await ask(client, "auth/user/get", {"name": "ann"}))["roles"] == ["role"]
    assert (await ask(client, "auth/user/list"))["users"] == ["ann", ROOT]
    assert (await ask(client, "auth/role/list"))["roles"] == ["role"]
    await ask(client, "auth/user/changepw", {"name": ROOT, "password": "2"})
    await ask(client, "auth/user/revoke", {"name": "ann", "role": "role"})
    revoked = {"role": "role", "key": b64("a"), "range_end": b64("b")}
    await ask(client, "auth/role/revoke", revoked)
    await ask(client, "auth/role/delete", {"role": "role"})
    await ask(client, "auth/user/delete", {"name": "ann"})
    await ask(client, "auth/user/grant", {"user": ROOT, "role": ROOT})
    await ask(client, "auth/enable")
    token = (await ask(client, "auth/authenticate", {"name": ROOT, "password": "2"}))["token"]
    headers = {"Authorization": token}
    status, told = await _post(client, "auth/status", {}, headers)
    assert (status, told["enabled"], told["authRevision"]) == (200, True, "12")
    assert (await _post(client, "auth/disable", {}, headers))[0] == 200
    await ask(client, "kv/range", KEY)


@pytest.mark.parametrize(
    "header", ["Authorization", "Grpc-Metadata-Token", "Grpc-Metadata-Authorization"]
)
def test_a_token_comes_in_a_header(header: str) -> None:
    @web(bcrypt_cost=CHEAP)
    async def scenario(server: Running, client: httpx.AsyncClient) -> None:
        await enable(server.client)
        token = await log_in(server.client, ROOT)
        assert (await _post(client, "kv/put", KEY, {header: token}))[0] == 200
        assert (await _post(client, "kv/put", KEY, {header: f"Bearer {token}"}))[0] == 200
        status, told = await _post(client, "kv/put", KEY, {header: "nonsense"})
        assert (status, told["message"]) == (401, "etcdserver: invalid auth token")
        status, told = await _post(client, "kv/put", KEY)
        assert (status, told["code"], told["message"]) == EMPTY

    scenario()


@web(bcrypt_cost=CHEAP)
async def test_streams_carry_it_too(server: Running, client: httpx.AsyncClient) -> None:
    await add_user(server.client, "ann")
    await enable(server.client)
    tokens = {name: await log_in(server.client, name) for name in (ROOT, "ann")}
    root = await as_user(server, ROOT)
    await root.grant(60, 7)
    await root.put(b"k", lease=7)
    body = {"ID": "7"}
    status, told = await _post(client, "lease/keepalive", body, {"Authorization": tokens[ROOT]})
    assert (status, told["result"]["TTL"]) == (200, "60")
    status, told = await _post(client, "lease/keepalive", body, {"Authorization": tokens["ann"]})
    assert (status, told["error"]["message"]) == (403, "etcdserver: permission denied")
    status, told = await _post(client, "maintenance/defragment", {}, {"Authorization": "x.1"})
    assert (status, told["code"]) == (401, 16)
    status, told = await _post(client, "maintenance/hash", {}, {"Authorization": tokens["ann"]})
    assert (status, told["code"]) == (403, 7)


@web(bcrypt_cost=CHEAP)
async def test_health_and_version_are_for_everyone(
    server: Running, client: httpx.AsyncClient
) -> None:
    await enable(server.client)
    for path in ("/health", "/livez", "/readyz", "/version", "/metrics"):
        assert (await client.get(path)).status_code == 200
