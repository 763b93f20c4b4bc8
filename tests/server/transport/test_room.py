"""How many connections are let in, and how many at a time."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from server.settings.urls import URL
from server.transport.room import TCP_KEEPALIVE_S, Room
from tests.support.client import until
from tests.support.loop import in_server_loop

UNLIMITED = 1 << 30


class Guests:
    """Whoever is let in, by a listener on a unix socket."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.made = 0
        self.inside: set[asyncio.BaseTransport] = set()
        room.holds(self.inside.__len__)

    def make(self) -> asyncio.Protocol:
        self.made += 1
        return Guest(self.inside)

    async def listen(self, where: Path | URL) -> asyncio.Server:
        url = where if isinstance(where, URL) else URL.parse(f"unix://{where}")
        return await self._room.listen(url, self.make, {})


class Guest(asyncio.Protocol):
    def __init__(self, inside: set[asyncio.BaseTransport]) -> None:
        self._inside = inside

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inside.add(transport)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # lost is lost
        self._inside.discard(self._transport)


def connect(path: Path) -> socket.socket:
    """At once, or not at all: the kernel has to hold it."""
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    made.connect(str(path))
    return made


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "s"


def test_a_crowd_waits_in_the_kernel_and_is_let_in_turn_by_turn(path: Path) -> None:
    @in_server_loop
    async def scenario() -> None:
        guests = Guests(Room(UNLIMITED))
        server = await guests.listen(path)
        crowd = [connect(path) for _ in range(40)]
        turns = []
        while guests.made < len(crowd):
            before = guests.made
            await asyncio.sleep(0)
            turns.append(guests.made - before)
        assert max(turns) == 1
        for each in crowd:
            each.close()
        server.close()
        await until(lambda: not guests.inside)

    scenario()


@in_server_loop
async def test_tcp_asks_whether_a_silent_client_is_still_there() -> None:
    guests = Guests(Room(UNLIMITED))
    server = await guests.listen(URL.parse("http://127.0.0.1:0"))
    with socket.create_connection(server.sockets[0].getsockname()):
        await until(lambda: bool(guests.inside))
        (inside,) = guests.inside
        accepted = inside.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            assert accepted.getsockopt(socket.IPPROTO_TCP, option) == TCP_KEEPALIVE_S
    server.close()
    await until(lambda: not guests.inside)


def test_who_comes_when_it_is_full_is_closed_until_somebody_leaves(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_server_loop
    async def scenario() -> None:
        guests = Guests(Room(2))
        server = await guests.listen(path)
        inside = []
        for count in (1, 2):
            inside.append(connect(path))
            await until(lambda count=count: len(guests.inside) == count)  # type: ignore[misc]
        for _ in range(3):
            reader, writer = await asyncio.open_unix_connection(str(path))
            assert await reader.read() == b""
            writer.close()
        assert guests.made == 2
        warned = [each for each in caplog.records if "too many" in each.getMessage()]
        assert [each.levelno for each in warned] == [logging.WARNING], "once, until there is room"
        inside.pop().close()
        await until(lambda: len(guests.inside) == 1)
        inside.append(connect(path))
        await until(lambda: len(guests.inside) == 2)
        for each in inside:
            each.close()
        server.close()
        await until(lambda: not guests.inside)

    scenario()
