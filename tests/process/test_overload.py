"""More than the server can take: it refuses what is too much, loses nothing and recovers whole.

The process is stopped while clients send, so that it finds everything at once when it goes on.
"""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from typing import Final

import pytest

from etcdpb import rpc_pb2 as pb
from server.engine import QUEUE_COMMANDS_MAX
from server.transport.frames import DATA, END_STREAM, HEADERS
from tests.process.conftest import Servers
from tests.process.lines import Line, Lines
from tests.process.tools import free_url
from tests.server.transport.sockets import WIDE, request

CONNECTIONS: Final = 160
PUTS: Final = 300  # Of each; less than a turn's worth, so all are taken at once.
TTL: Final = 60
SHORT_TTL: Final = 2  # Over long before all is served.
KEPT, SILENT = 1, 2


def answers(line: Line, number: int) -> int:
    """How many of so many calls were answered and not refused."""
    ended = answered = 0
    while ended < number:
        kind, flags, _, payload = line.frame()
        answered += kind == DATA
        if kind == HEADERS and flags & END_STREAM:
            ended += 1
            # The status of a call that is over is 0, or comes with the reason.
            assert b"grpc-status\x010" in payload or b"too many requests" in payload
    return answered


@pytest.mark.slow
def test_what_is_too_much_is_refused_and_the_rest_is_served_while_leases_live_and_end(
    servers: Servers, stack: ExitStack
) -> None:
    flags = ("--transport=native", "--heartbeat-interval=10", "--election-timeout=100")
    server = servers.spawn(*flags, url=free_url()).wait_until_ready()
    client = servers.client(server)
    for lease_id, ttl in ((KEPT, TTL), (SILENT, SHORT_TTL)):
        client.grant(ttl, lease_id)
        client.put(b"%d" % lease_id, b"", lease_id)
    lines = [Lines(server, stack).open(WIDE) for _ in range(CONNECTIONS)]
    for line in lines:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert line.is_served()
    with client.watch(0) as watch, client.stream("Lease", "LeaseKeepAlive") as renewals:
        renewals.send(pb.LeaseKeepAliveRequest(ID=KEPT))
        assert renewals.receive().TTL == TTL
        before = client.put(b"k", b"v")
        watch.receive()
        server.signal(signal.SIGSTOP)
        put = pb.PutRequest(key=b"greedy", value=b"v" * 20)
        for line in lines:
            line.send(b"".join(request(1 + 2 * each, "KV/Put", put) for each in range(PUTS)))
        renewals.send(pb.LeaseKeepAliveRequest(ID=KEPT))
        server.signal(signal.SIGCONT)
        assert renewals.receive().TTL == TTL, "a keepalive is not refused"
        served = sum(answers(line, PUTS) for line in lines)
        refused = CONNECTIONS * PUTS - served
        assert refused > 0
        assert served > QUEUE_COMMANDS_MAX - 10  # The server's own commands have room there too.
        revision = before + served
        events = 0
        gone = False
        while not gone or events < served:
            for event in watch.receive().events:
                gone |= event.type == event.DELETE and event.kv.key == b"%d" % SILENT
                events += event.kv.key == b"greedy"
        assert events == served
        renewals.send(pb.LeaseKeepAliveRequest(ID=KEPT))
        assert renewals.receive().TTL == TTL
    assert client.put(b"k", b"v") == revision + 2
    assert server.noise == []
