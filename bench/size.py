"""The same operations over 10,000, 100,000 and 1,000,000 leases with a key each: what grows?

Each size gets a fresh server. While it is filled, a prober renews one lease by the clock: its worst
answer shows the longest time for which the server did nothing else, up to what a shared core adds.
Then come memory, kill -9 with the start after it, operations on keys and leases drawn at random, a
snapshot if the server gives one, and kill -9 again, with the operations' revisions to recover too.
The page cache stays warm.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench import gotool
from bench.fill import VALUE_BYTES, BenchError, Filled, check_all_there, expect, fill
from bench.memory import SETTLE_S, TARGETS_BYTES, TTL_S, WARM_UP_LEASES
from bench.probe import KEEPALIVE, Probe, quantile_ms
from bench.recovery import TARGETS_S
from bench.report import Section
from bench.servers import ETCD, TENURE, Contender, Server, running
from bench.varied import PUT, RANGE
from bench.wire import WireError, frame_message
from etcdpb import rpc_pb2 as pb

SIZES: Final = (10_000, 100_000, 1_000_000)
CONNECTIONS, STREAMS = 8, 16
DRAWN: Final = 50_000  # Bodies of an operation.
RENEW: Final = gotool.METHODS.index("Lease/LeaseKeepAlive")
TIME_TO_LIVE: Final = gotool.METHODS.index("Lease/LeaseTimeToLive")
GROWTH_TARGET: Final = 1.3  # Of the processor time an operation takes, smallest to largest size.
SNAPSHOT_TIMEOUT_S: Final = 300.0


def measure(
    contenders: Sequence[Contender], *, sizes: Sequence[int], etcd_size_max: int, rounds: int,
    seconds: float, seed: int, directory: Path,
) -> Section:  # fmt: skip
    section = Section(
        "Size",
        f"Fresh servers with so many leases, a key of 20 bytes and a value of {VALUE_BYTES} on "
        f"each; then each operation {rounds} times for about {seconds} s at "
        f"{CONNECTIONS}x{STREAMS}, by bench/go, on keys and leases at random.",
    )
    for size in sizes:
        for contender in contenders:
            if contender.name == ETCD and size > etcd_size_max:
                continue
            with running([contender], directory) as (server,):
                _size(section, server, size, rounds, seconds, random.Random(seed))
            print(f"  size {size:,}, {contender.name}", flush=True)
    _growth(section, sizes)
    return section


def _size(
    section: Section, server: Server, size: int, rounds: int, seconds: float, rng: random.Random
) -> None:
    def add(name: str, unit: str, value: float, *, target: float | None = None,
            higher: bool = False) -> None:  # fmt: skip
        figure = section.figure(f"{name} at {size:,}", unit, target=target, higher_is_better=higher)
        figure.add(server.name, value)

    warm = fill(server, WARM_UP_LEASES, ttl_s=TTL_S, rng=rng)
    time.sleep(SETTLE_S)
    base = server.memory().resident
    probe = Probe(KEEPALIVE, server.port, warm.ids[0])
    try:
        began = time.monotonic()
        filled = fill(server, size - WARM_UP_LEASES, ttl_s=TTL_S, rng=rng, first=WARM_UP_LEASES)
        took_s = time.monotonic() - began
        stall_ms = quantile_ms(probe.finish(), 1.0)
    finally:
        probe.abandon()
    add("fill, grants and puts", "requests/s", 2 * len(filled.ids) / took_s, higher=True)
    add("largest stall while filled", "ms", stall_ms)
    time.sleep(SETTLE_S)
    grown = (server.memory().resident - base) / (size - WARM_UP_LEASES)
    add("resident, a lease with its key", "bytes", grown, target=TARGETS_BYTES.get(size))
    server.kill()
    add("kill -9, exec to first read", "s", server.start(), target=TARGETS_S.get(size))
    check_all_there(server, size)
    for name, records, changes in _operations(filled, rng):
        for result, cpu_us in _timed(server, records, rounds, seconds, changes=changes):
            add(name, "requests/s", result.rate, higher=True)
            add(name, "server CPU us/request", cpu_us)
            add(name, "p99 latency us", result.p99_us)
    snapshot = _snapshot(server)
    if snapshot is not None:
        add("snapshot", "s", snapshot[0])
        add("snapshot", "MB", snapshot[1] / 1e6)
    server.kill()
    add("kill -9 after the operations, exec to first read", "s", server.start())
    check_all_there(server, size)


def _operations(
    filled: Filled, rng: random.Random
) -> list[tuple[str, list[tuple[int, bytes]], bool]]:
    """A name, the bodies, and whether each is a change."""
    chosen = [rng.randrange(len(filled.ids)) for _ in range(DRAWN)]
    ids, keys = filled.ids, filled.keys
    value = rng.randbytes(VALUE_BYTES)
    puts = [pb.PutRequest(key=keys[i], value=value, lease=ids[i]) for i in chosen]
    ranges = [pb.RangeRequest(key=keys[i]) for i in chosen]
    renewals = [pb.LeaseKeepAliveRequest(ID=ids[i]) for i in chosen]
    asked = [pb.LeaseTimeToLiveRequest(ID=ids[i], keys=True) for i in chosen]
    return [
        (name, [(method, frame_message(each.SerializeToString())) for each in requests], changes)
        for name, method, requests, changes in (
            ("put with lease", PUT, puts, True),
            ("range, 1 key", RANGE, ranges, False),
            ("keepalive, 1 message a stream", RENEW, renewals, False),
            ("timetolive with keys", TIME_TO_LIVE, asked, False),
        )
    ]


def _timed(
    server: Server, records: list[tuple[int, bytes]], rounds: int, seconds: float, *, changes: bool
) -> list[tuple[gotool.Result, float]]:
    """Each round's result, and the processor time of a request; a short run before them is not."""
    found: list[tuple[gotool.Result, float]] = []
    requests = CONNECTIONS * STREAMS * 10
    with tempfile.NamedTemporaryFile() as file, server.client() as client:
        gotool.write_records(Path(file.name), records)
        for turn in range(rounds + 1):
            before, cpu_before = client.revision(), server.cpu_s()
            result = gotool.run(
                server, "replay", "-bodies", file.name, "-requests", requests,
                "-conns", CONNECTIONS, "-streams", STREAMS,
            )  # fmt: skip
            cpu_us = (server.cpu_s() - cpu_before) * 1e6 / requests
            if result.refused:
                raise BenchError(f"{result.refused} of {requests} requests were refused")
            expect("revisions", client.revision() - before, requests if changes else 0)
            if turn:
                found.append((result, cpu_us))
            else:
                requests = max(requests, int(result.rate * seconds))
    return found


def _snapshot(server: Server) -> tuple[float, int] | None:
    """Seconds and bytes of a whole snapshot; None where the server gives none."""
    size = 0
    began = time.monotonic()
    with server.connect() as connection:
        stream = connection.open("Maintenance/Snapshot")
        request = frame_message(pb.SnapshotRequest().SerializeToString())
        connection.send(stream, request, end=True)
        while time.monotonic() - began < SNAPSHOT_TIMEOUT_S:
            for arrival in connection.poll(1.0):
                if arrival.message is None:
                    return (time.monotonic() - began, size) if size else None
                size += len(pb.SnapshotResponse.FromString(arrival.message).blob)
    raise WireError(f"a snapshot took more than {SNAPSHOT_TIMEOUT_S} s")


def _growth(section: Section, sizes: Sequence[int]) -> None:
    """Processor time of an operation at the largest size in that at the smallest, by contender."""
    least, most = f" at {min(sizes):,}", f" at {max(sizes):,}"
    costs = {f.name: f.samples for f in section.figures if f.unit == "server CPU us/request"}
    for name in [each for each in costs if each.endswith(most) and min(sizes) < max(sizes)]:
        operation = name.removesuffix(most)
        before = costs[operation + least]
        for contender, after in costs[name].items():
            figure = section.figure(
                f"{operation}, cost from {min(sizes):,} to {max(sizes):,}",
                "times",
                target=GROWTH_TARGET if contender == TENURE else None,
            )
            figure.add(contender, median(after) / max(median(before[contender]), 1e-9))
