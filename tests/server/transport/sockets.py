"""A client on a real socket that says each byte itself, and reads when the test says so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from google.protobuf.message import Message

from etcdpb.rpc_pb2 import WatchCreateRequest, WatchRequest
from server.settings.urls import URL
from server.transport.frames import (
    ACK,
    END_STREAM,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    frame,
    settings,
    window_update,
)
from server.transport.native import NativeProtocol, NativeServer
from tests.server.transport.support import data, headers, parsed, prefixed
from tests.support.serving import Running

WAIT_S: Final = 20.0  # What takes longer does not come.
ACKNOWLEDGED: Final = frame(SETTINGS, ACK, 0)
OPENING: Final = PREFACE + frame(SETTINGS, 0, 0) + ACKNOWLEDGED
# No window is in the way of what is sent: only the socket is.
WIDE: Final = (
    PREFACE
    + settings((4, WINDOW_MAX))
    + ACKNOWLEDGED
    + window_update(0, WINDOW_MAX - WINDOW_DEFAULT)
)


def request(stream_id: int, method: str, message: Message, *, is_last: bool = True) -> bytes:
    """A call of `service/method` with one message."""
    head = headers(stream_id, _path=f"/etcdserverpb.{method}".encode())
    body = prefixed(message.SerializeToString())
    return head + data(stream_id, body, flags=END_STREAM if is_last else 0)


def watch(stream_id: int, key: bytes) -> bytes:
    create = WatchRequest(create_request=WatchCreateRequest(key=key))
    return request(stream_id, "Watch/Watch", create, is_last=False)


class Raw:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._input = b""

    async def send(self, *frames: bytes) -> None:
        async with asyncio.timeout(WAIT_S):
            await self._loop.sock_sendall(self._socket, b"".join(frames))

    async def read(self, size: int = 1 << 16) -> bytes:
        """What is there, or comes next; nothing at the end of the connection."""
        async with asyncio.timeout(WAIT_S):
            return await self._loop.sock_recv(self._socket, size)

    async def rest(self) -> list[Any]:
        """All frames up to the end, which must be a clean one."""
        while some := await self.read():
            self._input += some
        taken, self._input = self._input, b""
        return parsed(taken)

    async def next(self, kind: int) -> Any:
        """The next frame of that kind; what comes before it is dropped."""
        while True:
            while len(self._input) >= 9:
                size = 9 + int.from_bytes(self._input[:3], "big")
                if len(self._input) < size:
                    break
                (each,) = parsed(self._input[:size])
                self._input = self._input[size:]
                if each.type == kind:
                    return each
            some = await self.read()
            assert some, "the connection has ended"
            self._input += some

    async def answer_ping(self) -> None:
        ping = await self.next(PING)
        await self.send(frame(PING, ACK, 0, ping.opaque_data))

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def raw(server: Running, opening: bytes = OPENING) -> AsyncIterator[Raw]:
    """By the server's unix socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, str(server.socket))
        client = Raw(made)
        await client.send(opening)
        yield client


@asynccontextmanager
async def raw_tcp(server: Running, opening: bytes = OPENING) -> AsyncIterator[Raw]:
    """By TCP, whose ways of ending are its own."""
    rpc = native(server)
    await rpc.listen(URL.parse("http://127.0.0.1:0"))
    with socket.socket() as made:
        made.setblocking(False)
        address = rpc._listeners[-1].sockets[0].getsockname()
        await asyncio.get_running_loop().sock_connect(made, address)
        client = Raw(made)
        await client.send(opening)
        yield client


def native(server: Running) -> NativeServer:
    assert isinstance(server.front.rpc, NativeServer)
    return server.front.rpc


def protocols(server: Running) -> list[NativeProtocol]:
    """The server's ends of its connections, in the order in which they came."""
    return list(native(server).connections)
