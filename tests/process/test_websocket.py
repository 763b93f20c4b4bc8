"""A process, and watch and keepalive by WebSocket with a client that is not ours."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.process.conftest import Servers
from tests.process.tools import free_url
from tests.process.world import World
from tests.support.process import ServerProcess
from tests.support.secure import trusting

WAIT_S: Final = 20.0


def hear(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(WAIT_S))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(params=["ws", "wss"])
def server(request: pytest.FixtureRequest, servers: Servers, world: World) -> ServerProcess:
    """One that serves WebSockets, plain or with TLS and a certificate of the client's."""
    if request.param == "ws":
        return servers.spawn(url=free_url()).wait_until_ready()
    return servers.spawn(*world.flags, url=world.url).wait_until_ready()


def opened(
    server: ServerProcess, world: World, path: str
) -> AbstractContextManager[ClientConnection]:
    is_tls = server.url.startswith("https")
    return connect(
        f"{server.url.replace('http', 'ws', 1)}{path}",
        ssl=trusting(world.authority, world.alice, alpn=("http/1.1",)) if is_tls else None,
        open_timeout=WAIT_S,
    )


def test_a_watch_sees_what_a_put_and_a_keepalive_do(server: ServerProcess, world: World) -> None:
    key = base64.b64encode(b"k").decode()
    with opened(server, world, "/v3/watch") as watch:
        watch.send(json.dumps({"create_request": {"key": key}}))
        assert hear(watch)["result"]["created"] is True
        with opened(server, world, "/v3/lease/grant") as grant:
            grant.send('{"ID": "7", "TTL": "60"}')
            assert hear(grant)["TTL"] == "60"
        with opened(server, world, "/v3/lease/keepalive") as keepalive:
            for _ in range(2):
                keepalive.send('{"ID": "7"}')
                assert hear(keepalive)["result"]["TTL"] == "60"
        for path, request in (
            ("/v3/kv/put", {"key": key, "lease": "7"}),
            ("/v3/lease/revoke", {"ID": "7"}),
        ):
            with opened(server, world, path) as socket:
                socket.send(json.dumps(request))
                hear(socket)
        events = [hear(watch)["result"]["events"][0] for _ in range(2)]
        assert [event.get("type", "PUT") for event in events] == ["PUT", "DELETE"]
        server.terminate()
        assert hear(watch)["error"]["message"] == "etcdserver: server stopped"
    assert not server.noise
