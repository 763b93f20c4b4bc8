"""A client who sends very much at once takes turns with the others."""

from __future__ import annotations

import asyncio

import pytest

from etcdpb.rpc_pb2 import PutRequest, RangeRequest
from server import engine
from server.transport import native
from server.transport.frames import END_STREAM, GOAWAY, HEADERS, RST_STREAM
from tests.server.transport.sockets import WIDE, Raw, protocols, raw, request
from tests.support.client import until
from tests.support.serving import running

GREEDY = PutRequest(key=b"greedy", value=b"v" * 40)
PUTS = 8000


def puts(first: int, number: int) -> bytes:
    return b"".join(request(first + 2 * each, "KV/Put", GREEDY) for each in range(number))


class Count:
    """Reads answers to their last trailers, as fast as they come."""

    def __init__(self, client: Raw) -> None:
        self._client = client
        self.answered = 0

    async def up_to(self, number: int) -> None:
        rest = b""
        while self.answered < number:
            rest += await self._client.read()
            at = 0
            while len(rest) - at >= 9:
                end = at + 9 + int.from_bytes(rest[at : at + 3], "big")
                if len(rest) < end:
                    break
                kind, flags = rest[at + 3], rest[at + 4]
                assert kind not in (RST_STREAM, GOAWAY)
                # A refusal is trailers and nothing else, which are longer.
                if kind == HEADERS and flags & END_STREAM:
                    assert b"too many" not in rest[at:end]
                    self.answered += 1
                at = end
            rest = rest[at:]


def test_who_sends_more_than_may_wait_keeps_nobody_from_being_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is any of it refused: what is not read yet waits in the client's socket."""
    monkeypatch.setattr(engine, "QUEUE_COMMANDS_MAX", 3000)
    monkeypatch.setattr(native, "CROWD", 1000)

    async def scenario() -> None:
        async with running(transport="native") as server, raw(server, WIDE) as greedy:
            sending = asyncio.ensure_future(greedy.send(puts(1, PUTS)))
            reading = asyncio.ensure_future(Count(greedy).up_to(PUTS))
            modest = 0
            while not reading.done():
                await server.client.put(b"modest", b"v")
                modest += 1
            await sending
            await reading
            reply = await server.client.get(b"modest")
            assert reply.header.revision == 1 + PUTS + modest, "none was refused"

    asyncio.run(scenario())


def test_what_came_at_once_is_served_to_the_end_and_then_the_socket_is_read_again() -> None:
    async def scenario() -> None:
        async with running(transport="native") as server, raw(server, WIDE) as greedy:
            count = Count(greedy)
            sending = asyncio.ensure_future(greedy.send(puts(1, PUTS)))
            await count.up_to(PUTS)
            await sending
            await greedy.send(request(1_000_003, "KV/Range", RangeRequest(key=b"greedy")))
            await count.up_to(PUTS + 1)

    asyncio.run(scenario())


def test_a_connection_that_is_lost_with_a_rest_is_forgotten() -> None:
    async def scenario() -> None:
        async with running(transport="native") as server:
            async with raw(server, WIDE) as greedy:
                sending = asyncio.ensure_future(greedy.send(puts(1, PUTS)))
                await until(lambda: any(each._rest for each in protocols(server)))
                (protocol,) = (each for each in protocols(server) if each._rest)
                sending.cancel()
                protocol.close()
                await until(lambda: not protocol._rest)
                assert protocol not in protocols(server)
            await server.client.put(b"k", b"v")

    asyncio.run(scenario())
