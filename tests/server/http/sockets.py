"""WebSockets to a server's one socket: by a real client, and by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, unix_connect

from tests.server.http.support import WAIT_S, Wire, wired
from tests.support.serving import Running

TEXT: Final = 0x1
CONTINUED: Final = 0x0
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_SHORT_MAX: Final = 125
_TWO_OCTETS: Final = 126


def connect(server: Running, path: str, *, host: str = "localhost", **options: Any) -> Any:
    """The library's client; compression is offered as browsers do."""
    uri = f"ws://{host}{path}"
    return unix_connect(str(server.socket), uri, open_timeout=WAIT_S, **options)


async def say(socket: ClientConnection, value: object) -> None:
    await socket.send(json.dumps(value))


async def hear(socket: ClientConnection) -> Any:
    """The next message, which is JSON."""
    async with asyncio.timeout(WAIT_S):
        return json.loads(await socket.recv())


def frame(opcode: int, payload: bytes = b"", *, is_final: bool = True) -> bytes:
    """As a client sends it: masked, by zeros."""
    first = opcode | (_FINAL if is_final else 0)
    if len(payload) <= _SHORT_MAX:
        head = bytes((first, _MASKED | len(payload)))
    else:
        head = bytes((first, _MASKED | _TWO_OCTETS)) + len(payload).to_bytes(2, "big")
    return head + bytes(4) + payload


def handshake(path: str, *, method: str = "GET", version: int = 13, more: str = "") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: {version}\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
    ).encode()


@asynccontextmanager
async def by_hand(server: Running, path: str) -> AsyncIterator[Wire]:
    """A WebSocket on which the test says each byte itself."""
    async with wired(server) as wire:
        await wire.send(handshake(path))
        status, _ = await wire.head()
        assert status == 101
        yield wire
