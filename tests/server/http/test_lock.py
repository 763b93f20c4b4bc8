"""Locks and elections over the JSON gateway: what waits, waits for the client and no longer."""

from __future__ import annotations

import asyncio
import json

import h2.errors
import httpx

from tests.server.http.sockets import connect
from tests.server.http.support import WAIT_S, ask, b64, refused, web, wired
from tests.server.http.test_http2 import peer_of
from tests.support.client import until
from tests.support.serving import Running
from tests.support.waits import queued

LOCK = "/v3lockpb.Lock/Lock"
NAME = b64("a")


def _request(**fields: object) -> bytes:
    return json.dumps({"name": NAME, **fields}).encode()


@web()
async def test_a_lock_is_taken_and_given_back(client: httpx.AsyncClient) -> None:
    await ask(client, "lease/grant", {"TTL": 60, "ID": 7})
    held = await ask(client, "lock/lock", {"name": NAME, "lease": 7})
    assert held["key"] == b64("a/7")
    assert held["header"]["revision"] == "2"
    released = await ask(client, "lock/unlock", {"key": held["key"]})
    assert set(released) == {"header"}


@web()
async def test_an_election_is_held(server: Running, client: httpx.AsyncClient) -> None:
    await ask(client, "lease/grant", {"TTL": 60, "ID": 7})
    won = await ask(client, "election/campaign", {"name": NAME, "lease": 7, "value": b64("x")})
    leader = won["leader"]
    assert leader == {"name": NAME, "key": b64("a/7"), "rev": "2", "lease": "7"}
    await ask(client, "election/proclaim", {"leader": leader, "value": b64("y")})
    assert (await ask(client, "election/leader", {"name": NAME}))["kv"]["value"] == b64("y")
    async with wired(server) as wire:
        await wire.post("/v3/election/observe", _request())
        assert (await wire.head())[0] == 200
        said = json.loads(await wire.chunk())["result"]
        assert said["kv"]["value"] == b64("y")
        await ask(client, "election/proclaim", {"leader": leader, "value": b64("z")})
        assert json.loads(await wire.chunk())["result"]["kv"]["value"] == b64("z")
    await ask(client, "election/resign", {"leader": leader})
    await until(lambda: server.core.tails.count == 0)


@web()
async def test_refusals_are_unknown_and_so_500(client: httpx.AsyncClient) -> None:
    """As etcd's: the texts are its client's, which have no code."""
    lock = _request(lease=9)
    lost = (500, 2, "etcdserver: requested lease not found")
    assert await refused(client, "lock/lock", lock) == lost
    assert await refused(client, "election/leader", _request()) == (500, 2, "election: no leader")
    missing = (500, 2, '"leader" field must be provided')
    assert await refused(client, "election/resign", b"{}") == missing


@web()
async def test_a_client_that_leaves_its_lock_request_leaves_the_queue(server: Running) -> None:
    await server.client.put(b"a/held")
    async with wired(server) as wire:
        await wire.post("/v3/lock/lock", _request())
        await queued(server.client, b"a", 2)
    await queued(server.client, b"a", 1)
    await until(lambda: server.streams == 0)
    method = server.core.methods.get(LOCK)
    assert method is not None
    assert (method.counts.started, method.counts.failed[1]) == (1, 1)


@web()
async def test_the_end_of_the_server_answers_who_waits(server: Running) -> None:
    await server.client.put(b"a/held")
    async with wired(server) as wire:
        await wire.post("/v3/lock/lock", _request())
        await queued(server.client, b"a", 2)
        async with asyncio.timeout(WAIT_S):
            await server.stop_serving()
        status, headers = await wire.head()
        assert status == 503
        assert json.loads(await wire.body(headers))["message"] == "etcdserver: server stopped"


@web()
async def test_what_follows_the_one_request_of_a_stream_does_not_hide_that_its_client_left(
    server: Running,
) -> None:
    async with wired(server) as wire:
        await wire.post("/v3/election/observe", _request() * 3, b"x", is_last=False)
        await until(lambda: server.core.tails.count == 1)
    await until(lambda: not server.streams and server.core.tails.count == 0)
    async with connect(server, "/v3/election/observe") as socket:
        for _ in range(3):
            await socket.send(_request().decode())
        await until(lambda: server.core.tails.count == 1)
    await until(lambda: not server.streams and server.core.tails.count == 0)


@web()
async def test_a_stream_of_http2_that_is_reset_leaves_the_queue(server: Running) -> None:
    await server.client.put(b"a/held")
    async with peer_of(server) as peer:
        call = await peer.request("POST", "/v3/lock/lock", _request())
        await queued(server.client, b"a", 2)
        peer.h2.reset_stream(call, h2.errors.ErrorCodes.CANCEL)
        await peer.flush()
        await queued(server.client, b"a", 1)
        # The connection is as good as before.
        held = await peer.request("POST", "/v3/lock/lock", json.dumps({"name": b64("b")}).encode())
        assert (await peer.answer(held))[0] == 200
