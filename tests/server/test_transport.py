"""What grpc.aio makes of us: texts for what we do not offer, ends of streams, nothing left behind.

What a client library will not send (a ping at will, metadata that is no text) is written to the
socket as HTTP/2 frames.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from server.status import Code, Status
from tests.support.client import Client, Talk, refusal, until
from tests.support.clock import FakeClock, settle
from tests.support.loop import run_in_loop
from tests.support.ops import fill_for_a_long_sweep
from tests.support.serving import Running, running, served

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS: Final = 4


# --- what is not offered ---


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"),
        ("/a.B/Put", "unknown service a.B"),
        ("/grpc.health.v1.Nope/Check", "unknown service grpc.health.v1.Nope"),
        ("/foo", 'malformed method name: "/foo"'),
    ],
)
@served()
async def test_what_is_not_offered_is_refused_with_grpc_gos_text(
    server: Running, path: str, text: str
) -> None:
    expected = Status(Code.UNIMPLEMENTED, text)
    assert await refusal(server.client.raw(path)) == expected
    assert await refusal(server.client.raw(path, b"some message")) == expected


@pytest.mark.parametrize("path", ["KV/Put", "KV/Range", "Lease/LeaseGrant", "Maintenance/HashKV"])
@served()
async def test_bytes_that_are_no_message_are_refused_and_are_no_bug(
    server: Running, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """grpc-go: Internal, with the reason behind its own words."""
    refused = await refusal(server.client.raw(f"/etcdserverpb.{path}", b"\xff\xff"))
    assert refused.code == Code.INTERNAL
    assert refused.message.startswith("grpc: error unmarshalling request: ")
    assert not caplog.records


@served()
async def test_a_stream_of_bytes_that_are_no_message_ends_alike(server: Running) -> None:
    for path in ("/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"):
        refused = await refusal(server.client.raw(path, b"\xff\xff"))
        assert refused.code == Code.INTERNAL
        assert refused.message.startswith("grpc: failed to unmarshal the received message: ")
    await until(lambda: server.streams == 0)
    assert len(server.hub) == 0


@served()
async def test_metadata_of_clients_is_taken_and_ignored(server: Running) -> None:
    """clientv3 sends its version everywhere and `hasleader` where it wants a leader."""
    metadata = (("client-api-version", "3.5"), ("hasleader", "true"), ("token", "x"))
    await server.client.kv.Put(pb.PutRequest(key=b"a"), metadata)
    watching = server.client.watching(metadata)
    assert (await watching.create(b"a")).header.revision == 2


# --- frames ---


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _headers(**fields: bytes) -> bytes:
    """HPACK literals without indexing; underscores of a name are dashes, a first one a colon."""
    block = b""
    for name, value in fields.items():
        spelled = name.replace("_", ":", 1) if name.startswith("_") else name.replace("_", "-")
        block += b"\0" + bytes((len(spelled),)) + spelled.encode()
        block += bytes((len(value),)) + value
    return block


class _Frames:
    """A connection spoken frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        writer.write(PREFACE + _frame(SETTINGS, 0, 0, b""))

    async def receive(self) -> tuple[int, int, bytes]:
        """Kind, flags and payload of the next frame."""
        async with asyncio.timeout(20):
            head = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], payload


async def _connect(server: Running) -> _Frames:
    return _Frames(*await asyncio.open_unix_connection(str(server.socket)))


@served()
async def test_pings_without_an_open_stream_are_answered_and_not_punished(
    server: Running,
) -> None:
    """Real clients ping an idle connection every few seconds; fifty at once are far worse."""
    frames = await _connect(server)
    sent = [number.to_bytes(8, "big") for number in range(50)]
    for payload in sent:
        frames.writer.write(_frame(PING, 0, 0, payload))
    answered: list[bytes] = []
    while len(answered) < len(sent):
        kind, flags, payload = await frames.receive()
        assert kind != GOAWAY, payload
        if kind == PING and flags & ACK:
            answered.append(payload)
    assert answered == sent
    frames.writer.close()


@pytest.mark.parametrize(
    ("version", "expected"),
    [(b"3.\xff", b"etcdserver: invalid client api version"), (b"3.6", None)],
)
@served()
async def test_an_api_version_that_is_no_text_is_refused(
    server: Running, version: bytes, expected: bytes | None
) -> None:
    """etcd 3.6 (server/etcdserver/api/v3rpc/interceptor.go); 3.5 ends its process over it."""
    frames = await _connect(server)
    fields = {
        "_method": b"POST",
        "_scheme": b"http",
        "_path": b"/etcdserverpb.KV/Put",
        "_authority": b"localhost",
        "te": b"trailers",
        "content_type": b"application/grpc",
        "client_api_version": version,
    }
    frames.writer.write(_frame(HEADERS, END_HEADERS, 1, _headers(**fields)))
    message = pb.PutRequest(key=b"a").SerializeToString()
    prefixed = b"\0" + len(message).to_bytes(4, "big") + message
    frames.writer.write(_frame(DATA, END_STREAM, 1, prefixed))
    received = b""
    while True:
        kind, flags, payload = await frames.receive()
        received += payload if kind == HEADERS else b""
        if kind == HEADERS and flags & END_STREAM:
            break
    if expected is not None:
        assert expected in received
    assert (await server.client.get(b"a")).count == (0 if expected else 1)
    frames.writer.close()


# --- the end of the server ---


def test_stopping_ends_open_streams_as_etcd_does() -> None:
    """Unavailable, so that clients look for another server, and not Canceled."""

    async def scenario() -> None:
        async with running() as server:
            watching = server.client.watching()
            await watching.create(b"a")
            silent = server.client.watch.Watch()
            keeping = server.client.lease.LeaseKeepAlive()
            await keeping.send(pb.LeaseKeepAliveRequest(ID=1))
            await keeping.receive()
            await silent.send(pb.WatchRequest())
            await until(lambda: server.streams == 3)
            await server.stop_serving()
            for talk in (watching.talk, keeping, silent):
                assert await talk.refusal() == status.SERVER_STOPPED
            assert len(server.hub) == 0

    run_in_loop(scenario())


def test_a_half_closed_watch_is_ended_by_the_stop_as_well() -> None:
    async def scenario() -> None:
        async with running() as server:
            watching = server.client.watching()
            await watching.create(b"a")
            await watching.talk.half_close()
            await server.stop_serving()
            assert await watching.talk.refusal() == status.SERVER_STOPPED

    run_in_loop(scenario())


def test_after_the_stop_calls_find_nobody() -> None:
    async def scenario() -> None:
        async with running() as server:
            await server.client.put(b"a")
            await server.stop_serving()
            assert (await refusal(server.client.put(b"a"))).code == Code.UNAVAILABLE

    run_in_loop(scenario())


# --- cancelled calls ---


@served(clock=FakeClock)
async def test_a_cancelled_call_that_waits_leaves_nothing_behind(server: Running) -> None:
    """A physical compaction waits for its sweep; its answer goes to nobody, and harms nobody."""
    newest = await fill_for_a_long_sweep(server.client)
    await server.client.compact(newest)
    await settle()
    before = len(asyncio.all_tasks())
    waiting = asyncio.ensure_future(server.client.compact(newest, physical=True))
    await until(lambda: len(server.core.sweeper._waiting) == 1)
    waiting.cancel()
    await asyncio.wait((waiting,))
    await until(lambda: len(asyncio.all_tasks()) <= before)
    await server.time.advance(1)
    assert server.core.sweeper._waiting == []
    assert (await server.client.put(b"b")).header.revision == newest + 1


@served(clock=FakeClock)
async def test_cancelled_streams_leave_nothing_behind(server: Running) -> None:
    """TestV3WatchClose: many streams, dropped at once, with watchers and tickers."""
    await server.client.put(b"a")
    before = len(asyncio.all_tasks())
    talks: list[Talk[Any, Any]] = []
    for _ in range(20):
        watching = server.client.watching()
        await watching.create(b"a", progress_notify=True)
        await watching.create(b"a", b"z")
        keeping = server.client.lease.LeaseKeepAlive()
        await keeping.send(pb.LeaseKeepAliveRequest(ID=1))
        await keeping.receive()
        talks += [watching.talk, keeping]
    assert len(server.hub) == 40
    for talk in talks:
        talk.cancel()
    await until(lambda: server.streams == 0)
    assert len(server.hub) == 0
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert (await server.client.put(b"a")).header.revision == 3


@served()
async def test_a_connection_that_is_gone_takes_its_watchers_along(server: Running) -> None:
    """Those of another connection stay."""
    others = server.client.watching()
    await others.create(b"a")
    client: Client = server.connect()
    for _ in range(5):
        watching = client.watching()
        for _ in range(4):
            await watching.create(b"a")
    assert len(server.hub) == 21
    await client.close()
    await until(lambda: len(server.hub) == 1)
    server.hub.check_invariants()
    await server.client.put(b"a")
    assert (await others.receive()).events[0].kv.key == b"a"


# --- many calls ---


@served(clock=FakeClock)
async def test_a_call_that_waits_holds_up_no_other(server: Running) -> None:
    newest = await fill_for_a_long_sweep(server.client)
    await server.client.compact(newest)
    waiting = asyncio.ensure_future(refusal(server.client.compact(newest, physical=True)))
    await until(lambda: len(server.core.sweeper._waiting) == 1)
    replies = await asyncio.gather(*[server.client.put(b"%d" % n) for n in range(100)])
    revisions = sorted(reply.header.revision for reply in replies)
    assert revisions == list(range(newest + 1, newest + 101))
    assert not waiting.done()
    await server.time.advance(1)
    assert await waiting == status.COMPACTED


@served(max_concurrent_streams=1)
async def test_more_calls_than_a_connection_may_have_wait_for_one_to_end(
    server: Running,
) -> None:
    """--max-concurrent-streams, as SETTINGS tells it to the client."""
    watching = server.client.watching()
    await watching.create(b"a")
    waiting = asyncio.ensure_future(server.client.put(b"a"))
    await server.connect().put(b"b")  # Another connection has a stream of its own.
    await settle()
    assert not waiting.done()
    watching.talk.cancel()
    assert (await waiting).header.revision == 3
