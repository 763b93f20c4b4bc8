"""One listener for gRPC, HTTP/1.1 and everything else that is HTTP/2; and what is none of them."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from server.settings.config import Config, ConfigError
from server.settings.urls import URL, parse_urls
from server.transport.frames import PREFACE
from server.transport.host import UNTAKEN_S
from server.transport.http1 import HEAD_BYTES_MAX
from server.transport.sniff import LINE_BYTES_MAX
from server.transport.web import IDLE_MAX_S
from tests.server.http.support import Wire, http_client, web, wired
from tests.support.client import until
from tests.support.clock import FakeClock
from tests.support.loop import run_in_loop
from tests.support.serving import Running, running

BAD = "HTTP/1.1 400 "


@web()
async def test_grpc_and_http_are_served_on_one_socket(
    server: Running, client: httpx.AsyncClient
) -> None:
    await server.client.put(b"foo", b"bar")
    found = await client.post("/v3/kv/range", json={"key": "Zm9v"})
    assert found.json()["kvs"][0]["value"] == "YmFy"
    await client.post("/v3/kv/put", json={"key": "Zm9v", "value": "YmF6"})
    assert (await server.client.get(b"foo")).kvs[0].value == b"baz"


@web()
async def test_many_requests_go_over_one_connection_pipelined_or_not(server: Running) -> None:
    request = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
    async with wired(server) as wire:
        for at_once in (1, 5):
            await wire.send(request * at_once)
            for _ in range(at_once):
                status, headers = await wire.head()
                assert status == 200
                assert json.loads(await wire.body(headers))["etcdserver"]


@web()
async def test_a_request_may_come_octet_by_octet(server: Running) -> None:
    for method in (b"GET", b"PRO"):  # The second begins as HTTP/2's preface does.
        async with wired(server) as wire:
            for octet in method + b" /version HTTP/1.1\r\nHost: a\r\n\r\n":
                await wire.send(bytes((octet,)))
                await asyncio.sleep(0)
            status, _ = await wire.head()
            assert status == (200 if method == b"GET" else 405)


@web()
async def test_the_preface_may_come_octet_by_octet(server: Running) -> None:
    async with wired(server) as wire:
        for octet in PREFACE + b"\0\0\0\4\0\0\0\0\0":
            await wire.send(bytes((octet,)))
            await asyncio.sleep(0)
        assert (await wire._reader.readexactly(4))[3] == 4  # SETTINGS


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,  # A TLS handshake.
        b"\0\0\0\0",
        b"hello\r\n\r\n",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
        b"PRIOR * HTTP/2\r\n\r\n",
        b" / HTTP/1.1\r\n\r\n",
        b"GET /\x7f",
    ],
)
def test_what_is_no_http_is_closed_without_a_word(garbage: bytes) -> None:
    """As etcd's port does. A handshake of TLS, that etcd waits for more of, is closed at once."""

    @web()
    async def scenario(server: Running) -> None:
        async with wired(server) as wire:
            await wire.send(garbage)
            assert await ended(wire)
        await server.client.put(b"others are served")

    scenario()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\n\r\r\n bad: x\r\n\r\n",
        b"\r\n\r\n\r\n\x01",
        b"GET /version  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GE\xc3\xa4T / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_garbage_that_calls_itself_http_is_answered_with_400_and_the_end(garbage: bytes) -> None:
    @web()
    async def scenario(server: Running) -> None:
        async with wired(server) as wire:
            await wire.send(garbage)
            assert (await wire.rest()).startswith(BAD.encode())
        await server.client.put(b"others are served")

    scenario()


@web()
async def test_a_line_may_be_longer_than_is_looked_for_its_end(server: Running) -> None:
    async with wired(server) as wire:
        await wire.send(b"GET /" + b"a" * LINE_BYTES_MAX)
        await until(lambda: len(server.front.web.connections) == 1)
        await wire.send(b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await wire.head())[0] == 404


@web()
async def test_a_preface_that_is_none_but_begins_as_one_ends_in_http2(server: Running) -> None:
    """RFC 9113 section 3.4."""
    async with wired(server) as wire:
        await wire.send(b"PRI * HTTP/1.1\r\n\r\n")
        said = await wire.rest()
        assert said[-len(b"no HTTP/2 preface") :] == b"no HTTP/2 preface"


@web()
async def test_a_version_that_is_not_ours_is_refused(server: Running) -> None:
    async with wired(server) as wire:
        await wire.send(b"GET /version HTTP/9.9\r\nHost: a\r\n\r\n")
        assert (await wire.rest()).startswith(b"HTTP/1.1 505 ")


@web()
async def test_a_head_without_end_is_refused(server: Running) -> None:
    for line in (b"a: " + b"b" * 1000 + b"\r\n", b"b" * 1000):
        async with wired(server) as wire:
            await wire.send(b"GET / HTTP/1.1\r\n")
            try:
                for _ in range(HEAD_BYTES_MAX // len(line) + 10):
                    await wire.send(line)
                answer = await wire.rest()
            except ConnectionError:
                continue  # It was refused before all of it was sent.
            assert answer.startswith(BAD.encode())


def test_a_connection_that_asks_nothing_is_closed_in_the_end() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with running(transport="native", clock=clock) as server:
            silent, undecided, unfinished, used = [
                Wire(*await asyncio.open_unix_connection(str(server.socket))) for _ in range(4)
            ]
            await undecided.send(b"PR")
            await unfinished.send(b"GET / HTTP/1.1\r\n")
            await used.send(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
            _, headers = await used.head()
            await used.body(headers)
            await used.send(b"GET /")
            async with http_client(server) as client, wired(server) as watcher:
                await watcher.post("/v3/watch", b'{"create_request":{"key":"Zm9v"}}')
                await watcher.head()
                await watcher.chunk()
                for _ in range(IDLE_MAX_S + 2):
                    await clock.advance(1)
                for wire in (silent, undecided, unfinished, used):
                    assert await ended(wire)
                # A watch may be silent for as long as it likes.
                await client.post("/v3/kv/put", json={"key": "Zm9v"})
                assert b"events" in await watcher.chunk()
            for wire in (silent, undecided, unfinished, used):
                await wire.close()

    run_in_loop(scenario())


def test_an_answer_that_nobody_takes_is_dropped_after_a_time_and_a_watch_is_not() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with running(transport="native", clock=clock) as server:
            body = b'{"key":"YQ==","range_end":"AA=="}'
            head = f"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            request = head.encode() + body
            web = server.front.web
            async with wired(server) as watcher:
                await watcher.post("/v3/watch", b'{"create_request":%s}' % body)
                await watcher.head()
                await watcher.chunk()
                for _ in range(4):
                    await server.put_many(1, value=b"v" * 1_000_000)
                await until(lambda: any(each.flow.write_paused for each in web.connections))
                for at_once in (1, 3):
                    async with wired(server) as wire:
                        await wire.send(request * at_once)
                        await until(lambda: any(each.is_untaken for each in web.connections))
                        for _ in range(int(UNTAKEN_S) + 2):
                            await clock.advance(1)
                        await until(lambda: len(web.connections) == 1)
                assert len(json.loads(await watcher.chunk())["result"]["events"]) >= 1

    run_in_loop(scenario())


async def ended(wire: Wire) -> bool:
    try:
        return await wire.rest() == b""
    except ConnectionResetError:
        return True


@web()
async def test_requests_under_way_are_answered_when_the_server_ends_and_idle_connections_closed(
    server: Running,
) -> None:
    async with wired(server) as idle, wired(server) as silent:
        await idle.send(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
        _, headers = await idle.head()
        await idle.body(headers)
        await silent.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: len(server.front.web.connections) == 2)
        await server.stop_serving()
        assert await ended(idle)
        assert await ended(silent)


# --- HTTP on URLs of its own ---


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_http_can_be_given_urls_of_its_own_with_either_transport(transport: str) -> None:
    async def scenario() -> None:
        # Which URLs they are is the process's affair; that there are some is what counts here.
        async with running(
            transport=transport, listen_client_http_urls=parse_urls("http://127.0.0.1:1")
        ) as server:
            apart = server.socket.with_name("http.sock")
            await server.front.listen_http(URL.parse(f"unix://{apart}"))
            uds = httpx.AsyncHTTPTransport(uds=str(apart))
            async with httpx.AsyncClient(transport=uds, base_url="http://localhost") as client:
                await client.post("/v3/kv/put", json={"key": "Zm9v"})
            assert (await server.client.get(b"foo")).count == 1
            # And those for gRPC then are for nothing else.
            async with wired(server) as wire:
                await wire.send(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b"HTTP/1.1" not in await wire.rest()

    run_in_loop(scenario())


def test_one_address_cannot_be_for_both() -> None:
    for text in ("http://127.0.0.1:2379", "unix://a"):
        with pytest.raises(ConfigError, match="cannot bind both"):
            Config(
                listen_client_urls=parse_urls(f"http://127.0.0.1:1,{text}"),
                listen_client_http_urls=parse_urls(f"{text},http://127.0.0.1:2"),
            )
    Config(
        listen_client_urls=parse_urls("http://127.0.0.1:1"),
        listen_client_http_urls=parse_urls("http://127.0.0.1:2"),
    )
