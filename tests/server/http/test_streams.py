"""Watch and keepalive over HTTP: what is a chunk, what ends when, and what a refusal looks like."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import httpx
import pytest
from starlette.types import Message

from server.call import Stream
from server.http.mapping import Documents
from server.http.streams import GatewayStream
from server.status import NO_MESSAGE, RpcError
from tests.server.http.support import WAIT_S, Wire, b64, web, wired
from tests.support.client import until
from tests.support.clock import settle
from tests.support.loop import run_in_loop
from tests.support.serving import Running

FOO = b64("foo")
CREATE = json.dumps({"create_request": {"key": FOO}}).encode()
WATCH_PATH = "/etcdserverpb.Watch/Watch"


async def result(wire: Wire) -> Any:
    """What the next chunk says. Each chunk is one document of one line."""
    chunk = await wire.chunk()
    assert chunk.endswith(b"}\n")
    assert chunk.count(b"\n") == 1
    document = json.loads(chunk)
    assert set(document) == {"result"}
    return document["result"]


async def begun(wire: Wire) -> None:
    status, headers = await wire.head()
    assert status == 200
    assert headers["transfer-encoding"] == "chunked"
    assert headers["content-type"] == "application/json"
    assert headers["grpc-metadata-content-type"] == "application/grpc"


@web()
async def test_a_watch_says_created_first_and_then_one_chunk_for_each_revision(
    server: Running,
) -> None:
    async with wired(server) as wire:
        await wire.post("/v3/watch", CREATE)
        await begun(wire)
        created = await result(wire)
        assert created["created"] is True
        assert "watch_id" not in created
        for each in range(20):
            await server.client.put(b"foo", b"%d" % each)
            (event,) = (await result(wire))["events"]
            assert "type" not in event  # PUT is the default.
            assert event["kv"]["mod_revision"] == str(2 + each)
        await server.client.delete(b"foo")
        (event,) = (await result(wire))["events"]
        assert event["type"] == "DELETE"


@web()
async def test_a_watch_outlives_its_request_and_ends_when_the_client_leaves(
    server: Running,
) -> None:
    async with wired(server) as wire:
        await wire.post("/v3/watch", CREATE)
        await begun(wire)
        await result(wire)
        assert server.streams == 1
        await server.client.put(b"foo")
        assert "events" in await result(wire)
    await until(lambda: server.streams == 0)
    counts = server.core.methods.get(WATCH_PATH)
    assert counts is not None
    assert counts.counts.active == 0
    assert counts.counts.failed[1] == 1


@web()
async def test_several_requests_in_one_body_are_all_taken_however_they_are_cut(
    server: Running,
) -> None:
    body = (
        CREATE
        + b'\n {"create_request":{"key":"YQ==","watch_id":"5"}}'
        + b'{"progress_request":{}}{"cancel_request":{"watch_id":5}}'
    )
    for size in (1, 7, 1000):
        async with wired(server) as wire:
            parts = [body[at : at + size] for at in range(0, len(body), size)]
            await wire.post("/v3/watch", *parts)
            await begun(wire)
            got = [await result(wire) for _ in range(4)]
            assert got[0]["created"]
            assert got[1]["watch_id"] == "5"
            assert {"watch_id": "5", "canceled": True}.items() <= next(
                each for each in got[2:] if "canceled" in each
            ).items()
            assert [each["watch_id"] for each in got[2:] if "canceled" not in each] == ["-1"]


@web()
async def test_requests_may_follow_while_answers_stream(server: Running) -> None:
    async with wired(server) as wire:
        await wire.post("/v3/watch", CREATE, is_last=False)
        await begun(wire)
        assert (await result(wire))["created"]
        await wire.send_chunks(CREATE)
        assert (await result(wire))["watch_id"] == "1"


@web()
async def test_a_keepalive_answers_each_object_and_ends_with_the_body(server: Running) -> None:
    await server.client.grant(60, 7)
    async with wired(server) as wire:
        await wire.post("/v3/lease/keepalive", b'{"ID":"7"}{"ID":', b"8}")
        await begun(wire)
        renewed, gone = await result(wire), await result(wire)
        assert (renewed["ID"], renewed["TTL"]) == ("7", "60")
        assert set(gone) == {"header", "ID"}
        assert await wire.chunk() == b""
        # And the connection is of use for the next one.
        await wire.post("/v3/lease/keepalive")
        await begun_without_messages(wire)


async def begun_without_messages(wire: Wire) -> None:
    status, _ = await wire.head()
    assert status == 200
    assert await wire.chunk() == b""


@web()
async def test_a_refusal_before_the_first_message_is_the_status_and_an_error_of_its_own(
    client: httpx.AsyncClient,
) -> None:
    for body in (b"{bad}", b"[]", b'{"ID":', b'{"ID":"x"}'):
        answer = await client.post("/v3/lease/keepalive", content=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == error["grpc_code"] == 3
        assert (error["http_code"], error["http_status"]) == (400, "Bad Request")
        assert error["message"]


@web()
async def test_a_refusal_after_the_first_message_is_the_last_chunk(server: Running) -> None:
    async with wired(server) as wire:
        await wire.post("/v3/lease/keepalive", b'{"ID":"7"}', b"]", is_last=False)
        await begun(wire)
        await result(wire)
        assert json.loads(await wire.chunk())["error"]["code"] == 3
        assert await wire.chunk() == b""


@web()
async def test_streams_end_with_the_server_and_say_so(server: Running) -> None:
    async with wired(server) as wire:
        await wire.post("/v3/watch", CREATE)
        await begun(wire)
        await result(wire)
        await server.stop_serving()
        error = json.loads(await wire.chunk())["error"]
        assert (error["code"], error["message"]) == (14, "etcdserver: server stopped")
        assert await wire.chunk() == b""
        assert await wire.rest() == b""


@web()
async def test_a_wrong_method_on_a_stream_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v3/watch")
    assert (answer.status_code, answer.json()["code"]) == (501, 12)


@web()
async def test_a_watch_that_nobody_reads_is_caught_up_once_somebody_does(server: Running) -> None:
    value, count = b"v" * 100_000, 100
    async with wired(server) as wire:
        await wire.post("/v3/watch", CREATE)
        await begun(wire)
        await result(wire)
        for _ in range(count):
            await server.client.put(b"foo", value)
        revisions: list[int] = []
        while len(revisions) < count:
            events = (await result(wire))["events"]
            revisions += [int(event["kv"]["mod_revision"]) for event in events]
        assert revisions == list(range(2, 2 + count))


def test_no_more_is_read_of_a_request_than_its_service_takes() -> None:
    async def scenario() -> None:
        reads = 0
        take = asyncio.Event()

        async def receive() -> Message:
            nonlocal reads
            if reads == 4:
                return {"type": "http.disconnect"}
            reads += 1
            return {"type": "http.request", "body": b"{}{}", "more_body": reads < 4}

        async def send(message: Message) -> None:
            sent.append(message)

        async def serve(stream: Stream) -> None:
            await take.wait()
            while await stream.receive() is not None:
                taken.append(reads)

        sent: list[Message] = []
        taken: list[int] = []
        stream = GatewayStream(
            receive, send, decode=bytes, encode=_never, limit_bytes=10, takes_many=True, token=None
        )
        serving = asyncio.ensure_future(stream.run(serve))
        await settle()
        assert reads == 1
        take.set()
        await asyncio.wait((serving,), timeout=WAIT_S)
        assert len(taken) == 8

    run_in_loop(scenario())


def test_a_refusal_that_nobody_is_there_to_hear_is_not_logged() -> None:
    async def scenario() -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None: ...

        async def serve(stream: Stream) -> None:
            try:
                await stream.receive()
            except asyncio.CancelledError:
                raise RpcError(NO_MESSAGE) from None

        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        stream = GatewayStream(
            receive,
            send,
            decode=bytes,
            encode=_never,
            limit_bytes=10,
            token=None,
            takes_many=True,
        )
        await stream.run(serve)
        del stream
        gc.collect()
        assert complaints == []

    run_in_loop(scenario())


async def _never(message: bytes) -> bytes:
    raise AssertionError(f"nothing is sent: {message!r}")


@web()
async def test_a_server_that_is_stopping_refuses_what_comes_then(
    server: Running, client: httpx.AsyncClient
) -> None:
    server.front.web.app.stop()
    for path in ("kv/range", "watch"):
        answer = await client.post(f"/v3/{path}", content=CREATE)
        assert answer.status_code == 503
        assert answer.json()["message"] == "etcdserver: server stopped"


# --- where one object ends ---


def test_objects_are_found_wherever_the_bytes_are_cut() -> None:
    objects = [
        b"{}",
        b'{"a":"}{"}',
        b'{"a":"\\"}"}',
        b'{"a":{"b":[{}]},"c":"\\\\"}',
        b'{"\\u007b":1}',
    ]
    text = b" \n".join(objects)
    for size in range(1, len(text) + 1):
        documents = Documents(100)
        found = []
        for at in range(0, len(text), size):
            found += documents.feed(text[at : at + size])
        documents.end()
        assert found == objects
        assert documents.refusal is None


@pytest.mark.parametrize("text", [b"[", b"x", b"1", b'"', b"}", b"{}]", b"{},{}"])
def test_anything_but_objects_is_refused(text: bytes) -> None:
    documents = Documents(100)
    documents.feed(text)
    assert documents.refusal is not None
    assert documents.feed(b"{}") == []


def test_an_object_may_be_as_large_as_the_limit_and_no_larger() -> None:
    documents = Documents(10)
    assert documents.feed(b'{"a":"bcd"') == []
    assert documents.refusal is None
    assert documents.feed(b" ") == []
    assert documents.refusal is not None
    assert Documents(10).feed(b'{"a":"bc"}{"a":"bc"}{"a"') == [b'{"a":"bc"}'] * 2


def test_an_object_that_is_not_whole_is_known_as_such() -> None:
    documents = Documents(10)
    assert documents.feed(b'{}  {"a') == [b"{}"]
    assert documents.refusal is None
    documents.end()
    assert documents.refusal is not None
