"""One port for HTTP/2 and HTTP/1.1: the first line tells which it is.

HTTP/2 with prior knowledge begins with a preface that no HTTP/1.1 request begins with; four bytes
of it are enough, and where TLS has agreed on HTTP/2 none is needed. A line that ends in a version
of HTTP is HTTP/1.1's to serve or to refuse. What is neither is closed without a word, for nobody
knows in which language to say one; etcd's port does so too (cmux, which its listeners stand on).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

from server.loop import as_transport
from server.transport.frames import PREFACE
from server.transport.web import WebServer

_ENOUGH: Final = 4  # "PRI ": a method that HTTP/1.1 has promised never to have.
_HTTP2: Final = "h2"  # By TLS's name for it.
LINE_BYTES_MAX: Final = 4096  # As far as is looked for its end; a longer one is HTTP/1.1's affair.
_REQUEST_LINE: Final = re.compile(rb"[^ ]+ .* HTTP/\d\.\d")
_CONTROL: Final = re.compile(rb"[^\n\r -\x7e\x80-\xff]")  # What no line of text has in it.


class SniffingProtocol(asyncio.Protocol):
    """The socket's protocol until it is known what the client speaks."""

    def __init__(self, web: WebServer, http2: Callable[[], asyncio.Protocol]) -> None:
        self._web = web
        self._http2 = http2
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self.begun_at = web.clock.now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = as_transport(transport)
        self._web.undecided[self] = None
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == _HTTP2:
            self._become(self._http2())

    def data_received(self, data: bytes) -> None:
        self._read += data
        if self._read[:_ENOUGH] == PREFACE[:_ENOUGH]:
            self._become(self._http2())
            return
        line, is_whole, _ = self._read.partition(b"\n")
        line = line.removesuffix(b"\r")
        # An empty line before a request is to be ignored (RFC 9112 section 2.2).
        if (is_whole and not (not line or _REQUEST_LINE.fullmatch(line))) or _CONTROL.search(line):
            self._web.undecided.pop(self, None)
            assert self._transport is not None
            self._transport.close()
        elif is_whole or len(line) > LINE_BYTES_MAX:
            self._become(self._web.protocol())

    def _become(self, protocol: asyncio.Protocol) -> None:
        transport = self._transport
        assert transport is not None
        self._web.undecided.pop(self, None)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._read:
            protocol.data_received(self._read)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # lost is lost
        self._web.undecided.pop(self, None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
