"""What a client costs that begins a TLS handshake and does not go on with it."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.clock import SystemClock
from server.loop import as_transport
from server.settings.security import Security
from server.tls import HANDSHAKE_TIMEOUT_S, ServerTLS
from server.tls_files import ALPN_HTTP1, Files
from tests.support.authority import Authority
from tests.support.client import until
from tests.support.clock import FakeClock
from tests.support.loop import run_in_loop
from tests.support.secure import trusting

# The beginning of a ClientHello: a record of 512 bytes is announced, and few of them follow.
BEGUN = bytes.fromhex("1603010200010001fc0303")

# A whole record with a ServerHello, which no client sends.
OUT_OF_ORDER = bytes.fromhex("160301000402000000")


class Greeter(asyncio.Protocol):
    """Says one word to everybody who got in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = as_transport(transport)
        transport.write(b"in")
        transport.close()


class Door:
    def __init__(self, tls: ServerTLS, socket: Path, authority: Authority) -> None:
        self.tls = tls
        self.socket = socket
        self.authority = authority

    async def begin(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that says no more than the beginning of a handshake."""
        before = self.tls.handshakes
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(BEGUN)
        await until(lambda: self.tls.handshakes > before)
        return reader, writer

    async def enter(self) -> bytes:
        """A whole handshake; what is said to the one who made it."""
        reader, writer = await asyncio.open_unix_connection(
            self.socket, ssl=trusting(self.authority), server_hostname="localhost"
        )
        said = await reader.read()
        writer.transport.abort()
        return said


@asynccontextmanager
async def door(
    directory: Path, socket: Path, *, clock: FakeClock | None = None, timeout_s: float, most: int
) -> AsyncIterator[Door]:
    authority = Authority.make(directory)
    own = authority.issue("server")
    tls = ServerTLS(
        Security(),
        Files(own.cert_file, own.key_file, None),
        clock or SystemClock(),
        time.time,
        handshake_timeout_s=timeout_s,
        handshakes_max=most,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(Greeter, socket, **tls.listening())
    try:
        yield Door(tls, socket, authority)
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "s"


def test_a_handshake_that_does_not_end_is_ended(tmp_path: Path, socket: Path) -> None:
    async def scenario() -> None:
        async with door(tmp_path, socket, timeout_s=0.05, most=9) as open_door:
            reader, writer = await open_door.begin()
            async with asyncio.timeout(20):
                assert await reader.read() == b""
            writer.transport.abort()
            assert await open_door.enter() == b"in"

    run_in_loop(scenario())


def test_a_client_gets_in_while_others_do_not_get_on(tmp_path: Path, socket: Path) -> None:
    async def scenario() -> None:
        async with door(tmp_path, socket, timeout_s=60, most=9) as open_door:
            begun = [await open_door.begin() for _ in range(8)]
            assert open_door.tls.handshakes == 8
            assert await open_door.enter() == b"in"
            assert open_door.tls.handshakes == 8
            for _, writer in begun:
                writer.transport.abort()

    run_in_loop(scenario())


def test_so_many_may_be_under_way_and_no_more(
    tmp_path: Path, socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with door(tmp_path, socket, clock=clock, timeout_s=60, most=3) as open_door:
            begun = [await open_door.begin() for _ in range(3)]
            for _ in range(2):
                with pytest.raises((ConnectionError, OSError)):
                    await open_door.enter()
            warned = [each for each in caplog.records if "too many" in each.getMessage()]
            assert len(warned) == 1, "once, until there is room again"
            # By now asyncio has dropped them; that they are not freed yet must not count.
            await clock.advance(60)
            assert await open_door.enter() == b"in"
            for _, writer in begun:
                writer.transport.abort()

    run_in_loop(scenario())


def test_a_client_is_told_why_and_waiting_for_it_to_go_leaves_room(
    tmp_path: Path, socket: Path
) -> None:
    async def scenario() -> None:
        async with door(tmp_path, socket, timeout_s=60, most=4) as open_door:
            failed = []
            for _ in range(9):
                reader, writer = await asyncio.open_unix_connection(socket)
                writer.write(OUT_OF_ORDER)
                async with asyncio.timeout(20):
                    if alert := await reader.read(1):
                        assert alert == b"\x15"  # TLS's kind of record for it.
                        failed.append(writer)
                    else:
                        writer.transport.abort()
            assert 0 < len(failed) <= 3
            assert open_door.tls.handshakes == len(failed)
            assert await open_door.enter() == b"in"
            for writer in failed:
                writer.transport.abort()

    run_in_loop(scenario())


def test_garbage_is_rejected_in_a_line_of_the_log(
    tmp_path: Path, socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with door(tmp_path, socket, timeout_s=60, most=9) as open_door:
            reader, writer = await asyncio.open_unix_connection(socket)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(20):
                await reader.read()
            writer.transport.abort()
            await until(lambda: open_door.tls.handshakes == 0)
        rejected = [each for each in caplog.records if each.getMessage() == "rejected connection"]
        assert [each.levelno for each in rejected] == [logging.WARNING]

    run_in_loop(scenario())


def test_a_listener_may_offer_other_protocols(tmp_path: Path, socket: Path) -> None:
    async def scenario() -> None:
        authority = Authority.make(tmp_path)
        own = authority.issue("server")
        tls = ServerTLS(
            Security(), Files(own.cert_file, own.key_file, None), SystemClock(), time.time
        )
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(Greeter, socket, **tls.listening(ALPN_HTTP1))
        reader, writer = await asyncio.open_unix_connection(
            socket, ssl=trusting(authority, alpn=("h2", "http/1.1")), server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert await reader.read() == b"in"
        writer.transport.abort()
        server.close()
        await server.wait_closed()

    run_in_loop(scenario())


def test_the_bounds_are_told_to_the_loop(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    own = authority.issue("server")
    tls = ServerTLS(Security(), Files(own.cert_file, own.key_file, None), SystemClock(), time.time)
    assert tls.listening()["ssl_handshake_timeout"] == HANDSHAKE_TIMEOUT_S
