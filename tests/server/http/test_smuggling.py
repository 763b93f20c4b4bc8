"""Requests of HTTP/1.1 that two readers might take for different ones, and those of one reading."""

from __future__ import annotations

from typing import Final

import pytest

from tests.server.http.support import web, wired
from tests.support.serving import Running

BAD: Final = "HTTP/1.1 400 "
NEXT: Final = b"GET /nope HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        # Two lengths, or a length and an encoding: who stands between may believe the other one.
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3, 4",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: +3",
        b"Content-Length: -3",
        b"Content-Length: 0x3",
        b"Content-Length: 3 3",
        b"Content-Length: ",
        b"Content-Length: 3\r\n 0",
        b"Content-Length: \xc2\xb2",
        b"Content-Length: 99999999999999999999999",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: \xa0chunked",
        b"X: a\rContent-Length: 3",
        b"Host: b",
        b"X: a\0b",
        b"X\x01: a",
        b": a",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_ends_its_connection(
    head: bytes,
) -> None:
    @web()
    async def scenario(server: Running) -> None:
        smuggled = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
        async with wired(server) as wire:
            await wire.send(
                b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n0\r\n\r\n" + smuggled
            )
            answer = (await wire.rest()).decode()
        assert answer.startswith(BAD)
        assert answer.count("HTTP/1.1 ") == 1
        assert "etcdserver" not in answer
        assert "connection: close" in answer.lower()

    scenario()


@web()
async def test_an_older_version_has_no_chunks(server: Running) -> None:
    """RFC 9112 section 6.1: who stands between may not know them."""
    async with wired(server) as wire:
        chunked = b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        await wire.send(b"POST /v3/kv/put HTTP/1.0\r\n" + chunked)
        assert (await wire.rest()).startswith(BAD.encode())


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Host: a\nContent-Length: 14\n\n", b'{"key":"YQ=="}'),
        (b"Host: a\r\nX: a\r\n b\r\nContent-Length: 14\r\n\r\n", b'{"key":"YQ=="}'),
        (
            b"Host: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
            b'e \r\n{"key":"YQ=="}\r\n0\r\nContent-Length: 99\r\n\r\n',
        ),
        (b"Host: a\r\nContent-Length: 14\r\nContent-Length: 14\r\n\r\n", b'{"key":"YQ=="}'),
    ],
    ids=["lines that end in LF", "a folded line", "a folded encoding", "one length, twice"],
)
def test_what_the_rules_let_pass_is_one_request_and_the_next_is_the_next(
    head: bytes, body: bytes
) -> None:
    """RFC 9112 sections 2.2, 5.2, 6.3 and 7.1.2. etcd's port takes bare LF as well."""

    @web()
    async def scenario(server: Running) -> None:
        async with wired(server) as wire:
            await wire.send(b"POST /v3/kv/put HTTP/1.1\r\n" + head + body + NEXT)
            statuses = []
            for _ in range(2):
                status, headers = await wire.head()
                await wire.body(headers)
                statuses.append(status)
        assert statuses == [200, 404]
        assert (await server.client.get(b"a")).count == 1

    scenario()


@pytest.mark.parametrize(
    "chunk", [b"x\r\n", b"-1\r\n", b"0x1\r\n", b"1\r\nab\r\n", b"f" * 30 + b"\r\n"]
)
def test_a_chunk_of_no_size_ends_its_connection(chunk: bytes) -> None:
    @web()
    async def scenario(server: Running) -> None:
        async with wired(server) as wire:
            await wire.send(
                b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
            )
            answer = await wire.rest()
        assert answer.startswith(BAD.encode())

    scenario()
