"""A TCP proxy between the clients and the server, whose connections can be cut or held up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

CHUNK_BYTES: Final = 1 << 16  # What one direction of a held connection keeps at most, twice.


class Link:
    """One connection and its other half."""

    def __init__(self, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._ends = ends
        self.flowing = asyncio.Event()
        self.flowing.set()

    def cut(self) -> None:
        """Break it off at once, on both sides; what was under way is gone."""
        for end in self._ends:
            end.transport.abort()
        self.flowing.set()


class Proxy:
    """Forwards to `port` of this machine; `links` are the connections that are open."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self.links: list[Link] = []

    async def start(self) -> int:
        """The port to connect to."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self, links: Iterable[Link]) -> None:
        for link in links:
            link.cut()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut(list(self.links))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link((writer, up_writer))
        self.links.append(link)
        try:
            await asyncio.gather(
                _pump(reader, up_writer, link.flowing), _pump(up_reader, writer, link.flowing)
            )
        finally:
            self.links.remove(link)
            link.cut()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
) -> None:
    """Until one end is gone; then the other one goes too."""
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            await flowing.wait()
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()
