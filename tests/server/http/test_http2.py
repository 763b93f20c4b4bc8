"""Requests on HTTP/2 that are no gRPC, by an honest client: python `h2`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from server.transport.asgi import WebCall
from server.transport.host import UNTAKEN_S
from server.transport.native import NativeServer
from server.transport.sending import SEND_AHEAD_BYTES
from tests.server.http.support import WAIT_S, b64, web
from tests.support.client import until
from tests.support.clock import FakeClock
from tests.support.loop import run_in_loop
from tests.support.serving import Running, running

CREATE: Final = b'{"create_request":{"key":"Zm9v"}}'


class Peer:
    """One connection of HTTP/2. What it receives is kept by stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.gives_back = True  # The window, as data comes.

    async def begin(self, **settings: int) -> None:
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={h2.settings.SettingCodes[key]: each for key, each in settings.items()},
        )
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def request(
        self, method: str, path: str, body: bytes | None = b"", **headers: str
    ) -> int:
        """The stream of a request; with None for a body it is left open."""
        number = self.h2.get_next_available_stream_id()
        fields = [
            (":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"),
            *headers.items(),
        ]  # fmt: skip
        self.h2.send_headers(number, fields, end_stream=body == b"")
        if body:
            self.h2.send_data(number, body, end_stream=True)
        self.bodies[number] = b""
        await self.flush()
        return number

    async def read(self) -> None:
        """What has come, once something has."""
        async with asyncio.timeout(WAIT_S):
            data = await self._reader.read(1 << 16)
        assert data, "the connection has ended"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.headers[event.stream_id] = {str(k): str(v) for k, v in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                if self.gives_back and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = int(event.error_code)
        await self.flush()

    async def answer(self, number: int) -> tuple[int, dict[str, str], bytes]:
        """The whole answer to a request."""
        while number not in self.ended and number not in self.resets:
            await self.read()
        headers = self.headers[number]
        return int(headers[":status"]), headers, self.bodies[number]

    async def line(self, number: int) -> Any:
        """The next message of a stream."""
        while b"\n" not in self.bodies[number]:
            await self.read()
        line, _, self.bodies[number] = self.bodies[number].partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def peer_of(server: Running, **settings: int) -> AsyncIterator[Peer]:
    peer = Peer(*await asyncio.open_unix_connection(str(server.socket)))
    await peer.begin(**settings)
    try:
        yield peer
    finally:
        peer.close()


@web()
async def test_the_same_app_answers_as_on_http1(server: Running) -> None:
    await server.client.put(b"foo", b"bar")
    async with peer_of(server) as peer:
        version = await peer.request("GET", "/version")
        found = await peer.request("POST", "/v3/kv/range", json.dumps({"key": "Zm9v"}).encode())
        missing = await peer.request("GET", "/nope?x=1")
        refused = await peer.request("POST", "/v3beta/lease/revoke", b'{"ID":5}')
        status, headers, body = await peer.answer(version)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["etcdserver"]
        assert headers["date"].endswith("GMT")
        assert headers["access-control-allow-origin"] == "*"
        assert json.loads((await peer.answer(found))[2])["kvs"][0]["value"] == "YmFy"
        assert (await peer.answer(missing))[::2] == (404, b"404 page not found\n")
        assert json.loads((await peer.answer(refused))[2])["code"] == 5


@web()
async def test_head_and_options_have_no_body(server: Running) -> None:
    async with peer_of(server) as peer:
        status, headers, body = await peer.answer(await peer.request("HEAD", "/nope"))
        assert (status, headers["content-length"], body) == (404, "19", b"")
        assert (await peer.answer(await peer.request("OPTIONS", "/")))[::2] == (200, b"")


@web()
async def test_a_watch_streams_and_ends_with_its_stream(server: Running) -> None:
    async with peer_of(server) as peer:
        watch = await peer.request("POST", "/v3/watch", CREATE)
        assert (await peer.line(watch))["result"]["created"]
        for each in range(3):
            await server.client.put(b"foo", b"%d" % each)
            (event,) = (await peer.line(watch))["result"]["events"]
            assert event["kv"]["value"] == b64(str(each))
        assert server.streams == 1
        peer.h2.reset_stream(watch, h2.errors.ErrorCodes.CANCEL)
        await peer.flush()
        await until(lambda: server.streams == 0)
        # The connection goes on.
        assert (await peer.answer(await peer.request("GET", "/health")))[0] == 200


@web()
async def test_requests_of_a_stream_may_follow_its_answers(server: Running) -> None:
    async with peer_of(server) as peer:
        number = await peer.request("POST", "/v3/lease/keepalive", None)
        for each in (1, 2):
            peer.h2.send_data(number, b'{"ID":%d}' % each)
            await peer.flush()
            assert (await peer.line(number))["result"]["ID"] == str(each)
        peer.h2.end_stream(number)
        await peer.flush()
        assert (await peer.answer(number))[0] == 200


@web()
async def test_streams_end_with_the_server_and_say_so(server: Running) -> None:
    async with peer_of(server) as peer:
        watch = await peer.request("POST", "/v3/watch", CREATE)
        assert (await peer.line(watch))["result"]["created"]
        stopping = asyncio.ensure_future(server.stop_serving())
        assert (await peer.line(watch))["error"]["code"] == 14
        await peer.answer(watch)
        await stopping


@web()
async def test_a_large_answer_comes_as_the_windows_allow(server: Running) -> None:
    await server.put_many(1, value=b"v" * 300_000)
    async with peer_of(server, INITIAL_WINDOW_SIZE=1000) as peer:
        body = json.dumps({"key": b64("a")}).encode()
        number = await peer.request("POST", "/v3/kv/range", body)
        _, headers, text = await peer.answer(number)
        assert len(text) == int(headers["content-length"]) > 400_000
        assert len(json.loads(text)["kvs"][0]["value"]) == 400_000


@web()
async def test_a_large_request_is_taken_whole(server: Running) -> None:
    async with peer_of(server) as peer:
        body = json.dumps({"key": "Zm9v", "value": b64("v" * 1_000_000)}).encode()
        number = await peer.request("POST", "/v3/kv/put", None)
        at = 0
        while at < len(body):
            room = min(peer.h2.local_flow_control_window(number), peer.h2.max_outbound_frame_size)
            if room == 0:
                await peer.read()
                continue
            peer.h2.send_data(number, body[at : at + room], end_stream=at + room >= len(body))
            at += room
            await peer.flush()
        assert (await peer.answer(number))[0] == 200
        assert len((await server.client.get(b"foo")).kvs[0].value) == 1_000_000


@web()
async def test_a_watch_that_nobody_reads_holds_little_and_nobody_up(server: Running) -> None:
    value, count = b"v" * 50_000, 60
    async with peer_of(server, INITIAL_WINDOW_SIZE=1000) as peer:
        peer.gives_back = False
        watch = await peer.request("POST", "/v3/watch", CREATE)
        assert (await peer.line(watch))["result"]["created"]
        for _ in range(count):
            await server.client.put(b"foo", value)
        assert isinstance(server.front.rpc, NativeServer)
        (call,) = [
            call
            for protocol in server.front.rpc.connections
            for call in protocol.connection._streams.values()
            if isinstance(call, WebCall)
        ]
        assert call.unsent_bytes < SEND_AHEAD_BYTES + 2 * len(value)
        other = await peer.request("POST", "/v3/lease/leases")
        await peer.answer(other)
        # Once it is read, it goes on from where it was.
        peer.gives_back = True
        peer.h2.increment_flow_control_window(1 << 24)
        peer.h2.increment_flow_control_window(1 << 24, watch)
        await peer.flush()
        seen = 0
        while seen < count:
            seen += len((await peer.line(watch))["result"]["events"])
        assert seen == count


def test_an_answer_that_nobody_takes_is_dropped_after_a_time() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with (
            running(transport="native", clock=clock) as server,
            peer_of(server, INITIAL_WINDOW_SIZE=0) as peer,
        ):
            number = await peer.request("GET", "/version")
            while number not in peer.headers:
                await peer.read()
            await clock.advance(UNTAKEN_S + 1)
            while number not in peer.resets:
                await peer.read()
            assert peer.resets[number] == h2.errors.ErrorCodes.CANCEL

    run_in_loop(scenario())


@web(max_request_bytes=1000)
async def test_a_body_without_end_is_refused_and_ends_its_stream_only(server: Running) -> None:
    async with peer_of(server) as peer:
        number = await peer.request("POST", "/v3/kv/put", None)
        piece = b" " * 10_000
        while number not in peer.headers:
            if peer.h2.local_flow_control_window(number) < len(piece):
                await peer.read()
                continue
            peer.h2.send_data(number, piece)
            await peer.flush()
            await asyncio.sleep(0)
            if peer._reader._buffer:  # type: ignore[attr-defined]  # something has come
                await peer.read()
        status, headers, body = await peer.answer(number)
        assert (status, json.loads(body)["code"]) == (429, 8)
        assert "connection" not in headers
        assert (await peer.answer(await peer.request("GET", "/version")))[0] == 200


@web(host_whitelist=("good",))
async def test_the_authority_is_the_host_and_the_scheme_is_not_believed(server: Running) -> None:
    async with peer_of(server) as peer:
        for scheme in ("http", "https"):
            for authority, expected in (("good:1", 200), ("bad", 421)):
                number = peer.h2.get_next_available_stream_id()
                fields = [
                    (":method", "GET"), (":scheme", scheme), (":path", "/version"),
                    (":authority", authority),
                ]  # fmt: skip
                peer.h2.send_headers(number, fields, end_stream=True)
                peer.bodies[number] = b""
                await peer.flush()
                assert (await peer.answer(number))[0] == expected
