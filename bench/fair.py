"""What a modest client's put suffers beside a greedy one, who sends very much at once.

The greedy one has one connection and does not wait: all its requests are on their way before the
first answer is. The modest one puts by the clock, from a process and on a connection of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.probe import PUT_OR_REFUSED, Probe, Sample, quantile_ms
from bench.report import Section
from bench.servers import Contender, Server, running
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

REQUESTS: Final = 100_000
STREAMS: Final = 1_000
SETTLE_S: Final = 0.3
ANSWER_MAX_S: Final = 120.0


class Greed(NamedTuple):
    name: str
    method: str
    message: bytes
    in_flight: int


_PUT: Final = pb.PutRequest(key=b"bench/greedy", value=b"v" * 64).SerializeToString()
_GET: Final = pb.RangeRequest(key=b"bench/greedy").SerializeToString()
GREEDS: Final = (
    Greed("100,000 puts at once", "KV/Put", _PUT, REQUESTS),
    Greed("1,000 puts in flight", "KV/Put", _PUT, STREAMS),
    Greed("100,000 gets at once", "KV/Range", _GET, REQUESTS),
)


def measure(contenders: Sequence[Contender], *, rounds: int, directory: Path) -> Section:
    section = Section(
        "A modest client beside a greedy one",
        f"One connection sends {REQUESTS:,} requests, as many at once as is said, while a prober "
        f"puts another key 1,000 times a second on its own; {rounds} rounds. Requests of the "
        "greedy one that were refused are counted. Prober, greedy client and server share the "
        "machine's cores.",
    )
    with running(contenders, directory) as servers:
        for _ in range(rounds):
            for server in servers:
                for greed in GREEDS:
                    probed, took_s, refused = _beside(server, greed)
                    samples = [each for each in probed if math.isfinite(each.took_s)]
                    figure = section.figure(f"put beside {greed.name}, refused", "%")
                    figure.add(server.name, 100 * (1 - len(samples) / len(probed)))
                    for mark, fraction in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                        figure = section.figure(f"put beside {greed.name}, {mark}", "ms")
                        figure.add(server.name, quantile_ms(samples, fraction))
                    rate = section.figure(greed.name, "req/s", higher_is_better=True)
                    rate.add(server.name, (REQUESTS - refused) / took_s)
                    figure = section.figure(f"{greed.name}, refused", "requests", judged=False)
                    figure.add(server.name, refused)
    print("  fair done", flush=True)
    return section


def _beside(server: Server, greed: Greed) -> tuple[list[Sample], float, int]:
    """What the prober measured meanwhile, how long it took, and how many were refused."""
    body = frame_message(greed.message)
    probe = Probe(PUT_OR_REFUSED, server.port)
    try:
        time.sleep(SETTLE_S)
        with server.connect() as connection:
            connection.poll(SETTLE_S)  # The server's settings.
            began = time.monotonic()
            sent = ended = answered = 0
            while ended < REQUESTS:
                while sent < REQUESTS and sent - ended < greed.in_flight:
                    connection.send(connection.open(greed.method), body, end=True)
                    sent += 1
                for arrival in connection.poll(ANSWER_MAX_S):
                    if arrival.message is None:
                        ended += 1
                    else:
                        answered += 1
            took_s = time.monotonic() - began
        samples = [each for each in probe.finish() if began <= each.sent_at <= began + took_s]
        return samples, took_s, REQUESTS - answered
    finally:
        probe.abandon()
