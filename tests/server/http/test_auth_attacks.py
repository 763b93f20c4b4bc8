"""Ways to the keys that lead over HTTP: paths, headers, bodies and WebSockets, without a right.

What a browser may be made to send by a page is here too: that page knows no token.
"""

from __future__ import annotations

import json
from typing import Final

import httpx
import pytest

from server.http.paths import ROUTES, Route
from tests.server.http.sockets import connect, hear, say
from tests.server.http.support import b64, web, wired
from tests.support.serving import Running
from tests.support.users import (
    BOTH,
    CHEAP,
    ROOT,
    add_role,
    add_user,
    as_user,
    enable,
    log_in,
    permit,
)

SECRET: Final = "what they are after"
KEY: Final = json.dumps({"key": b64("b/key")})
OPEN: Final = ("/v3/auth/authenticate",)  # By itself: it is the door.


async def _made(server: Running) -> str:
    """ann's token, who may read and write below `a/`."""
    await server.client.put(b"b/key", SECRET.encode())
    await add_role(server.client, "role", permit(BOTH, b"a/", b"a0"))
    await add_user(server.client, "ann", "role")
    await enable(server.client)
    return await log_in(server.client, "ann")


@web(bcrypt_cost=CHEAP)
async def test_no_path_of_the_gateway_lets_in_who_has_no_token(
    server: Running, client: httpx.AsyncClient
) -> None:
    await _made(server)
    before = await _state(server)
    for path, route in ROUTES.items():
        if route.path.endswith("/Watch"):
            continue  # A refused watch leaves the stream open; see below.
        answer = await client.post(path, content=_body_for(route))
        told = answer.json()
        told = told.get("error", told) if isinstance(told.get("error"), dict) else told
        if route.path.endswith("/Txn"):
            assert answer.status_code == 200, "an empty one does nothing, as on etcd"
            continue
        if path in OPEN:
            assert told["code"] == 3
            continue
        assert "result" not in told, path
        assert answer.status_code in (400, 401, 403, 500), (path, answer.text)
        assert SECRET not in answer.text
        assert b64(SECRET) not in answer.text
    assert await _state(server) == before


def _body_for(route: Route) -> str:
    return KEY if "key" in route.request.DESCRIPTOR.fields_by_name else "{}"


async def _state(server: Running) -> tuple[int, int]:
    root = await as_user(server, ROOT)
    return await root.revision(), len(server.core.recovered.state.auth.users)


@web(bcrypt_cost=CHEAP)
async def test_a_watch_over_http_asks_for_the_right_too(server: Running) -> None:
    token = await _made(server)
    for subprotocols in (None, ["Bearer", "x.1"], ["Bearer", token]):
        async with connect(server, "/v3/watch", subprotocols=subprotocols) as socket:
            for key in (b64("b/key"), ""):
                await say(socket, {"create_request": {"key": key, "range_end": b64("\0")}})
                assert (await hear(socket))["result"]["canceled"] is True


@pytest.mark.parametrize(
    "path",
    [
        "/v3/kv/range",
        "/v3beta/kv/range",
        "/v3/kv/range/",
        "/v3//kv/range",
        "//v3/kv/range",
        "/v3/./kv/range",
        "/v3/x/../kv/range",
        "/health/../v3/kv/range",
        "/metrics/../v3/kv/range",
        "/V3/KV/RANGE",
        "/v3/kv/range?token=x.1",
        "/v3/kv/range;x",
        "/v3/%6bv/range",
        "/v3/kv%2frange",
        "/v3/kv/range%00",
        "/v3alpha/kv/range",
        "/etcdserverpb.KV/Range",
        "/v2/keys/b/key",
    ],
)
@web(bcrypt_cost=CHEAP)
async def test_no_spelling_of_a_path_goes_around_the_rights(server: Running, path: str) -> None:
    token = await _made(server)
    for header in ("", f"Authorization: {token}\r\n"):
        async with wired(server) as wire:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}"
            await wire.send(f"{head}Content-Length: {len(KEY)}\r\n\r\n{KEY}".encode())
            answer = await wire.rest()
        assert not answer.startswith(b"HTTP/1.1 2"), answer
        assert b64(SECRET).encode() not in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Client-Cert": 'Subject="CN=root"'},
        {"X-Remote-User": "root"},
        {"Grpc-Metadata-Grpcgateway-Authorization": "{token}"},
        {"Token": "{token}"},
        {"Cookie": "token={token}"},
        {"Authorization": "Basic cm9vdDpyb290J3M="},
        {"Authorization": "Bearer Bearer {token}"},
        {"Authorization": "bearer {token}"},
        {"Authorization": "{token},{token}"},
        {"Grpc-Metadata-Token": "x.1", "Authorization": "{token}"},
        {"Grpc-Metadata-Token": "", "Authorization": "{token}"},
    ],
)
@web(bcrypt_cost=CHEAP)
async def test_what_is_no_token_header_is_none_even_with_roots_token_in_it(
    server: Running, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """A cookie above all: a browser would send it for whichever page asks."""
    await _made(server)
    token = await log_in(server.client, ROOT)
    filled = {name: value.format(token=token) for name, value in headers.items()}
    answer = await client.post("/v3/kv/range", content=KEY, headers=filled)
    assert answer.status_code in (400, 401)
    assert token not in answer.text


@web(bcrypt_cost=CHEAP)
async def test_a_page_elsewhere_does_not_act_as_the_user_of_the_browser(server: Running) -> None:
    """It can open a WebSocket, and the browser adds the cookie; but it is not that page's."""
    await _made(server)
    token = await log_in(server.client, ROOT)
    cookie = {"cookie": f"token={token}"}
    for origin, is_let_in in (
        (None, True),
        ("http://localhost", True),
        ("http://evil.example", False),
        ("null", False),
        ("http://localhost.evil.example", False),
        ("http://evil.example/localhost", False),
    ):
        async with connect(
            server, "/v3/kv/range", additional_headers=cookie, origin=origin
        ) as socket:
            await say(socket, {"key": b64("b/key")})
            assert ("kvs" in await hear(socket)) is is_let_in, origin


@web(bcrypt_cost=CHEAP, cors=("http://app.example",))
async def test_a_page_that_cors_names_may(server: Running) -> None:
    await _made(server)
    cookie = {"cookie": f"token={await log_in(server.client, ROOT)}"}
    for origin, is_let_in in (("http://app.example", True), ("http://evil.example", False)):
        async with connect(
            server, "/v3/kv/range", additional_headers=cookie, origin=origin
        ) as socket:
            await say(socket, {"key": b64("b/key")})
            assert ("kvs" in await hear(socket)) is is_let_in, origin


@web(bcrypt_cost=CHEAP)
async def test_a_preflight_tells_no_more_than_who_may_ask(
    server: Running, client: httpx.AsyncClient
) -> None:
    """No `allow-credentials`, so no page reads what a browser's credentials fetched."""
    await _made(server)
    answer = await client.options("/v3/kv/range", headers={"Origin": "http://evil.example"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert "access-control-allow-credentials" not in answer.headers


@web(bcrypt_cost=CHEAP)
async def test_a_body_says_nothing_of_who_asks(server: Running, client: httpx.AsyncClient) -> None:
    await _made(server)
    token = await log_in(server.client, ROOT)
    for extra in ({"token": token}, {"authorization": token}, {"user": "root"}):
        body = json.dumps({"key": b64("b/key"), **extra})
        answer = await client.post("/v3/kv/range", content=body)
        assert answer.status_code == 400
        assert b64(SECRET) not in answer.text


@web(bcrypt_cost=CHEAP)
async def test_what_is_open_to_everyone_tells_no_key_no_user_and_no_token(
    server: Running, client: httpx.AsyncClient
) -> None:
    """/metrics and /health ask for no token, as on etcd: numbers, versions and method names."""
    token = await _made(server)
    await client.post("/v3/kv/range", content=KEY, headers={"Authorization": token})
    for path in ("/metrics", "/health", "/livez?verbose", "/readyz?verbose", "/version"):
        answer = await client.get(path)
        assert answer.status_code == 200
        for told in ("b/key", SECRET, b64("b/key"), "ann", token):
            assert told not in answer.text, path
    for path in ("/debug/pprof/", "/debug/vars", "/config/local/log", "/v2/keys", "/v3", "/"):
        assert (await client.get(path)).status_code == 404
