"""One port for HTTP/2 and HTTP/1.1: the first bytes tell which it is.

HTTP/2 with prior knowledge begins with a preface that no HTTP/1.1 request begins with; four bytes
of it are enough. Whatever else comes is HTTP/1.1's to serve or to refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from server.transport.frames import PREFACE
from server.transport.http1 import WebServer

_ENOUGH: Final = 4  # "PRI ": a method that HTTP/1.1 has promised never to have.


class SniffingProtocol(asyncio.Protocol):
    """The socket's protocol until it is known what the client speaks."""

    def __init__(self, web: WebServer, http2: Callable[[], asyncio.Protocol]) -> None:
        self._web = web
        self._http2 = http2
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self.begun_at = web.clock.now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._web.undecided[self] = None

    def data_received(self, data: bytes) -> None:
        data = self._read + data
        if data[:_ENOUGH] == PREFACE[:_ENOUGH]:
            self._become(self._http2(), data)
        elif PREFACE.startswith(data):
            self._read = data
        else:
            self._become(self._web.protocol(), data)

    def _become(self, protocol: asyncio.Protocol, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self._web.undecided.pop(self, None)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # lost is lost
        self._web.undecided.pop(self, None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
