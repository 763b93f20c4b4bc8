"""Clients that do not read: what they cost has a ceiling, and what they were to get is there.

`-o log_cli=true --log-cli-level=info` shows what was measured.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from server.services.watch import OUTBOXES_BYTES_MAX
from server.transport.frames import (
    DATA,
    PREFACE,
    RST_STREAM,
    ErrorCode,
    settings,
    window_update,
)
from server.transport.host import AHEAD_BYTES_MAX
from server.transport.peer import BACKLOG_BYTES_MAX
from tests.process.conftest import Servers
from tests.process.lines import Line, Lines, memory_bytes
from tests.process.tools import free_url
from tests.server.transport.sockets import ACKNOWLEDGED, request, watch
from tests.server.transport.support import headers

logger = logging.getLogger(__name__)

WATCHERS: Final = 1000
CONNECTIONS: Final = 20
VALUE_BYTES: Final = 64 << 10
PUTS: Final = 40
# Both budgets, twice a response for each watcher, and what the puts themselves and Python add.
CEILING_BYTES: Final = (
    AHEAD_BYTES_MAX + OUTBOXES_BYTES_MAX + 2 * WATCHERS * (VALUE_BYTES + 100) + (128 << 20)
)
HALF_OPEN: Final = 10_000
HALF_OPEN_BYTES_MAX: Final = 4 << 10
PUT: Final = b"/etcdserverpb.KV/Put"
WINDOW_MAX: Final = 2**31 - 1
CLOSED: Final = PREFACE + settings((4, 0)) + ACKNOWLEDGED  # It takes no byte of an answer.
MIB: Final = 1 << 20


def values(line: Line, stream: int, number: int) -> list[bytes]:
    """Of so many events on a stream, in the order in which they came."""
    body, found = bytearray(), list[bytes]()
    while len(found) < number:
        kind, _, its, payload = line.frame()
        if kind == DATA and its == stream:
            body += payload
        while len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big"):
            size = 5 + int.from_bytes(body[1:5], "big")
            response = pb.WatchResponse.FromString(bytes(body[5:size]))
            found += [event.kv.value[:4] for event in response.events]
            del body[:size]
    return found


@pytest.mark.slow
def test_a_thousand_watchers_that_do_not_read_have_a_ceiling_and_miss_nothing(
    servers: Servers, stack: ExitStack
) -> None:
    server = servers.spawn("--transport=native", url=free_url()).wait_until_ready()
    client = servers.client(server)
    client.put(b"k", b"v")
    lines = [Lines(server, stack).open(CLOSED) for _ in range(CONNECTIONS)]
    streams = [1 + 2 * each for each in range(WATCHERS // CONNECTIONS)]
    for line in lines:
        for stream in streams:
            line.send(watch(stream, b"k"))
        assert line.is_served()
    client.put(b"other", b"v")  # By now all of them watch.
    before, most = memory_bytes(server), 0
    expected = [b"%04d" % number for number in range(PUTS)]
    for value in expected:
        client.put(b"k", value + bytes(VALUE_BYTES))
        most = max(most, memory_bytes(server) - before)
    logger.info("%.0f MiB for %d watchers", most / MIB, WATCHERS)
    assert most < CEILING_BYTES
    for line in lines:  # One of each reads on.
        line.send(window_update(0, WINDOW_MAX - 65_535) + window_update(streams[7], WINDOW_MAX))
        assert values(line, streams[7], PUTS) == expected
    assert server.noise == []


@pytest.mark.slow
def test_half_open_requests_cost_little(servers: Servers, stack: ExitStack) -> None:
    """Ten thousand whose bodies never come, while others are served."""
    server = servers.spawn("--transport=native", url=free_url()).wait_until_ready()
    client = servers.client(server)
    client.put(b"k", b"v")
    lines = [Lines(server, stack).open() for _ in range(10)]
    before = memory_bytes(server)
    for line in lines:
        line.send(b"".join(headers(1 + 2 * each, _path=PUT) for each in range(HALF_OPEN // 10)))
        assert line.is_served()
    each = (memory_bytes(server) - before) / HALF_OPEN
    logger.info("%.0f bytes for a half-open request", each)
    assert each < HALF_OPEN_BYTES_MAX
    assert client.put(b"k", b"v") == 3
    stack.close()
    assert client.put(b"k", b"v") == 4


@pytest.mark.slow
def test_large_answers_that_nobody_takes_are_refused_beyond_the_backlog_of_a_connection(
    servers: Servers, stack: ExitStack
) -> None:
    server = servers.spawn("--transport=native", url=free_url()).wait_until_ready()
    client = servers.client(server)
    for number in range(16):
        client.put(b"%d" % number, bytes(MIB))
    before = memory_bytes(server)
    line = Lines(server, stack).open(CLOSED)
    everything = pb.RangeRequest(key=b"\0", range_end=b"\0")
    line.send(b"".join(request(1 + 2 * each, "KV/Range", everything) for each in range(100)))
    assert int.from_bytes(line.next(RST_STREAM).payload, "big") == ErrorCode.REFUSED_STREAM
    assert line.is_served()
    held = memory_bytes(server) - before
    logger.info("%.0f MiB for a connection's answers", held / MIB)
    assert held < BACKLOG_BYTES_MAX + 64 * MIB
    assert client.put(b"k", b"v") == 18
    stack.close()
    assert client.put(b"k", b"v") == 19
