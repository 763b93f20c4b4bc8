"""A server, and HTTP to its one socket: by a real client, and by hand.

@web(host_whitelist=("a",))
async def test_something(server: Running, client: httpx.AsyncClient) -> None: ...
"""

from __future__ import annotations

import asyncio
import base64
import functools
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from tests.support.loop import run_in_loop
from tests.support.serving import Running, running

WAIT_S: Final = 10.0  # An answer that takes longer is none.

Scenario = Callable[..., Awaitable[None]]


def web(**settings: Any) -> Callable[[Scenario], Callable[..., None]]:
    """Run an async test with a server and a client of HTTP/1.1; settings as of `served`."""

    def decorate(scenario: Scenario) -> Callable[..., None]:
        @functools.wraps(scenario)
        def test(**arguments: Any) -> None:
            async def run() -> None:
                async with (
                    running(transport="native", **settings) as server,
                    http_client(server) as client,
                ):
                    given = {"server": server, "client": client}
                    named = {name: each for name, each in given.items() if name in parameters}
                    await scenario(**named, **arguments)

            run_in_loop(run())

        del test.__wrapped__
        signature = inspect.signature(scenario)
        parameters = signature.parameters
        others = [
            each for name, each in signature.parameters.items() if name not in ("server", "client")
        ]
        test.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return test

    return decorate


def http_client(server: Running) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(server.socket))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=WAIT_S)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Wire:
    """A connection on which the test says each byte itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def post(self, path: str, *parts: bytes, is_last: bool = True) -> None:
        """A POST whose body comes in these chunks, and ends if `is_last`."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        await self.send(head.encode())
        await self.send_chunks(*parts, is_last=is_last)

    async def send_chunks(self, *parts: bytes, is_last: bool = False) -> None:
        for part in parts:
            await self.send(b"%x\r\n%s\r\n" % (len(part), part))
        if is_last:
            await self.send(b"0\r\n\r\n")

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer."""
        async with asyncio.timeout(WAIT_S):
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.split("\r\n")[:-2]
        return int(first.split()[1]), {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }

    async def chunk(self) -> bytes:
        """The next chunk of the body as it is on the wire; empty at the end."""
        async with asyncio.timeout(WAIT_S):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
        return data[:-2]

    async def body(self, headers: dict[str, str]) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self._reader.readexactly(int(headers["content-length"]))

    async def up_to(self, mark: bytes) -> bytes:
        """What comes, to the end of `mark`."""
        async with asyncio.timeout(WAIT_S):
            return await self._reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(WAIT_S):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def wired(server: Running) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_unix_connection(str(server.socket)))
    try:
        yield wire
    finally:
        await wire.close()


async def ask(client: httpx.AsyncClient, path: str, body: Any = None) -> Any:
    """The answer to a request that must be granted."""
    answer = await client.post(f"/v3/{path}", content=json.dumps(body or {}))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client: httpx.AsyncClient, path: str, body: bytes | str) -> tuple[int, int, str]:
    """HTTP status, code and text of a request that must not."""
    answer = await client.post(f"/v3/{path}", content=body)
    said = answer.json()
    assert said["error"] == said["message"]
    assert set(said) == {"error", "code", "message"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, said["code"], said["message"]
