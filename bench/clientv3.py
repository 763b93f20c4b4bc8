"""etcd's own Go client as the load: changing keys and headers, small batches.

On one machine the client takes most of it, so ratios are nearer to 1 than with h2load. This one
keeps 3 MB, so Go's collector comes whenever it has used as much again: of 128 workers that read 126
times a second, for 18 % of its time (GODEBUG=gctrace=1). That load is measured with GOGC=800 too,
where it is 16 times and 2 %, as in a program that keeps something.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import gotool
from bench.fill import BenchError, expect
from bench.report import Section
from bench.servers import Contender, Server, running
from etcdpb import rpc_pb2 as pb

KEYS: Final = 10_000
VALUE_BYTES: Final = 64


class Load(NamedTuple):
    kind: str
    workers: int
    ratio_target: float | None  # Of the rate, to etcd's.
    gogc: int | None = None  # Of the client, in percent; Go's own is 100.

    @property
    def name(self) -> str:
        collector = "" if self.gogc is None else f" with GOGC={self.gogc}"
        return f"clientv3 {self.kind}, {self.workers} workers{collector}"


LOADS: Final = (
    Load("put", 16, 1.2), Load("range", 16, 1.6), Load("grant", 16, 2.0), Load("mixed", 16, None),
    Load("put", 128, 1.5), Load("range", 128, 2.0), Load("range", 128, 2.0, gogc=800),
    Load("grant", 128, None), Load("mixed", 128, None),
)  # fmt: skip
P99_RATIO_TARGET: Final = 0.6


def measure(
    contenders: Sequence[Contender], *, rounds: int, seconds: float, seed: int, directory: Path,
    short: bool,
) -> Section:  # fmt: skip
    section = Section(
        "Go clientv3",
        f"Workers that each wait for their answer, 8 to a connection, {KEYS:,} keys at random, "
        f"values of {VALUE_BYTES} bytes, a deadline on every call; {rounds} rounds of {seconds} s.",
    )
    for load in LOADS:
        if short and load.ratio_target is None:
            continue
        with running(contenders, directory) as servers:
            for server in servers:
                _fill(server, random.Random(seed))
                _run(server, load, seconds / 3, seed)  # Thrown away.
            for turn in range(rounds):
                for server in servers if turn % 2 == 0 else reversed(servers):
                    _round(section, server, load, seconds, seed + turn)
        print(f"  {load.name}", flush=True)
    return section


def _fill(server: Server, rng: random.Random) -> None:
    value = rng.randbytes(VALUE_BYTES)
    puts = (
        pb.PutRequest(key=b"bench/many/%06d" % number, value=value).SerializeToString()
        for number in range(KEYS)
    )
    with server.connect() as connection:
        expect("puts answered", sum(1 for _ in connection.calls("KV/Put", puts)), KEYS)


def _run(server: Server, load: Load, seconds: float, seed: int) -> gotool.Result:
    return gotool.run(
        server, "client", "-kind", load.kind, "-workers", load.workers, "-seconds", seconds,
        "-keys", KEYS, "-value", VALUE_BYTES, "-seed", seed, gogc=load.gogc,
    )  # fmt: skip


def _round(section: Section, server: Server, load: Load, seconds: float, seed: int) -> None:
    with server.client() as client:
        before = (client.revision(), client.lease_count())
        cpu_before = server.cpu_s()
        result = _run(server, load, seconds, seed)
        cpu_us = (server.cpu_s() - cpu_before) * 1e6 / result.requests
        grown = (client.revision() - before[0], client.lease_count() - before[1])
    wanted = {"put": (result.requests, 0), "range": (0, 0), "grant": (0, result.requests)}
    if load.kind == "mixed":
        if not 0 < grown[0] < result.requests:
            raise BenchError(f"{grown[0]} puts among {result.requests} calls")
    elif grown != wanted[load.kind]:
        raise BenchError(f"{result.requests} {load.kind}s made {grown} revisions and leases")
    name = load.name
    rate = section.figure(name, "requests/s", higher_is_better=True, ratio_target=load.ratio_target)
    rate.add(server.name, result.rate)
    section.figure(name, "server CPU us/request").add(server.name, cpu_us)
    section.figure(name, "p50 latency us").add(server.name, result.p50_us)
    target = None if load.ratio_target is None else P99_RATIO_TARGET
    section.figure(name, "p99 latency us", ratio_target=target).add(server.name, result.p99_us)
