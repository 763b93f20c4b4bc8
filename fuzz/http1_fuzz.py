"""Whatever a client sends over HTTP/1.1 or by WebSocket, and whenever it leaves: nothing stays
behind of it, no connection, stream, watcher or task, and it writes nothing to the server's log.

    python -m fuzz.http1_fuzz --clients 20000 --seed 1

Clients come twenty at a time to a server of their own for each seed: half of them speak HTTP/1.1,
half ask for a WebSocket. What they send is made of requests that are nearly right, some of them
damaged by a bit; they read little or nothing, and leave with or without a word. What is left of
each is looked at when they have all gone. A failure names its seed; `--clients 1 --seed THAT` runs
that one again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
from collections import Counter
from typing import Final

from tests.server.http.sockets import frame, handshake
from tests.support.client import until
from tests.support.serving import Running, running

TOGETHER: Final = 20
ROUNDS: Final = 10  # For each seed.
READ_S: Final = (0.0, 0.002, 0.01)  # How long a client waits for something to read.

_PATHS: Final = (
    "watch",
    "lease/keepalive",
    "kv/put",
    "kv/range",
    "kv/txn",
    "lock/lock",
    "election/observe",
    "election/campaign",
    "maintenance/snapshot",
    "maintenance/status",
    "nowhere",
)
_PLAIN: Final = ("/health", "/readyz", "/metrics", "/version", "/nowhere")
_METHODS: Final = ("POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS")
_PIECES: Final = (
    b'{"create_request":{"key":"YQ=="}}',
    b'{"progress_request":{}}',
    b'{"name":"YQ=="}',
    b'{"key":"YQ=="}',
    b'{"ID":"1"}',
    b'{"a":"',
    b"{}",
    b"null",
    b"[",
    b"\xff",
)
_OPCODES: Final = (0, 1, 2, 3, 8, 9, 10, 11)


def run(clients: int, seed: int) -> Counter[str]:
    """Let at least so many clients come; return what was done how often.

    Raises:
        AssertionError: the invariant does not hold.
    """
    counts: Counter[str] = Counter()
    while counts["clients"] < clients:
        try:
            asyncio.run(_episode(random.Random(seed), counts))
        except Exception as error:
            raise AssertionError(f"the episode of seed {seed}") from error
        seed += 1
    return counts


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


async def _episode(rng: random.Random, counts: Counter[str]) -> None:
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        async with running(transport="native") as server:
            for _ in range(ROUNDS):
                await asyncio.gather(*[_client(server, rng, counts) for _ in range(TOGETHER)])
            web, core = server.front.web, server.core
            await until(lambda: not (web.connections or web.sockets or web.undecided or web.tasks))
            assert (server.streams, len(core.hub), core.tails.count) == (0, 0, 0)
        gc.collect()  # A task that nobody asked how it ended says so when it goes.
    finally:
        logging.getLogger().removeHandler(complaints)
    assert complaints.records == []


async def _client(server: Running, rng: random.Random, counts: Counter[str]) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.socket))
    counts["clients"] += 1
    if rng.random() < 0.5:
        parts = [_request(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        counts["requests"] += len(parts)
    else:
        prefix = rng.choice(("/v3/", "/v3beta/"))
        parts = [handshake(prefix + rng.choice(_PATHS))]
        parts += [_frame(rng) for _ in range(rng.randrange(6))]
        counts["frames"] += len(parts) - 1
    for part in parts:
        writer.write(part)
        if rng.random() < 0.3:
            await asyncio.sleep(0)
    try:
        async with asyncio.timeout(rng.choice(READ_S)):
            counts["answered"] += bool(await reader.read(rng.choice((1, 1000, 1_000_000))))
    except (TimeoutError, ConnectionError):
        counts["not waited for"] += 1
    if rng.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()


def _request(rng: random.Random) -> bytes:
    path = rng.choice(_PLAIN) if rng.random() < 0.2 else f"/v3/{rng.choice(_PATHS)}"
    body = b"".join(rng.choice(_PIECES) for _ in range(rng.randrange(4)))
    head = f"{rng.choice(_METHODS)} {path} HTTP/1.1\r\nHost: a\r\n"
    if rng.random() < 0.5:
        length = len(body) + rng.choice((0, 0, 0, 5))  # More is promised than comes.
        request = f"{head}Content-Length: {length}\r\n\r\n".encode() + body
    else:
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        end = b"0\r\n\r\n" if rng.random() < 0.6 else b""
        request = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + end
    return _damaged(rng, request) if rng.random() < 0.1 else request


def _frame(rng: random.Random) -> bytes:
    piece = rng.choice(_PIECES) + rng.choice(_PIECES)[: rng.randrange(9)]
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 60))
    if kind == 1:
        return frame(rng.choice(_OPCODES), piece, is_final=rng.random() < 0.7)
    text = frame(rng.choice((1, 2)), piece)
    return _damaged(rng, text) if kind == 2 else text


def _damaged(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(dict(run(arguments.clients, arguments.seed)))


if __name__ == "__main__":
    main()
