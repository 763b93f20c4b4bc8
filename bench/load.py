"""Throughput and cost per request: the contenders in turn, round by round.

Each point gets fresh servers, so that no point pays for what an earlier one left behind. Two
short runs are thrown away; they warm both sides and tell how many requests fill the asked
seconds. From then on the number of requests is exact, and so is the check after each run.

One body again and again is sent by h2load, a body for each request by `load replay`. A ratio is of
one generator; rates of the two are not compared.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import grpc

from bench import gotool, h2load
from bench.authority import Certificates
from bench.fill import BenchError, expect
from bench.repeated import REPEATED, Repeated
from bench.report import Section
from bench.servers import ETCD, TENURE, Contender, Server, running
from bench.varied import VARIED, Varied

FAILURES: Final = (BenchError, RuntimeError, grpc.RpcError)
LEVELS: Final = ((1, 1), (8, 16), (64, 4))  # Connections, and streams in flight on each.
REQUESTS_MAX: Final = 400_000  # A run; bounds the leases and revisions it leaves behind.

# What Tenure is to reach, by point: its requests a second in etcd's, at least.
RATE_TARGETS: Final = {
    "put, one key, 64 B 8x16": 2.0,
    "put, 100,000 keys, 64 B 8x16": 1.7,
    "range, 1 key 8x16": 4.0,
    "range, 1000 keys 8x16": 5.0,
    "txn update, 512 B 8x16": 1.8,
    "lease grant 8x16": 5.0,
    "lease revoke 8x16": 4.0,
    "keepalive, 1 message a stream 8x16": 2.5,
    "keepalive, 1000 messages a stream 8x16": 6.0,
    "range, 1 key 1x1": 1.4,
    "put, one key, 64 B 1x1": 1.0,
}
COMPARED: Final = (TENURE, ETCD)
TLS_RATE_TARGET: Final = 1.2  # For each of them.

PLAIN: Final = "Load"

Level = tuple[int, int]
Workload = Repeated | Varied


class Taken(NamedTuple):
    """One run's figures. h2load does not tell a quantile."""

    rate: float
    cpu_us: float
    mean_us: float
    p99_us: float | None


def measure(
    contenders: Sequence[Contender], *, rounds: int, seconds: float, seed: int, directory: Path,
    only: str, levels: Sequence[Level], short: bool, certificates: Certificates | None,
) -> Section:  # fmt: skip
    """Run every workload whose name contains `only` at every level."""
    over = "" if certificates is None else " over TLS"
    section = Section(
        PLAIN + over,
        f"{rounds} rounds of about {seconds} s; connections x streams in flight. h2load (one "
        "thread) where one body is repeated, bench/go where each differs. CPU is the server "
        "process's, user and kernel. Replies were checked.",
    )
    left_out: dict[str, list[str]] = {}  # What, by server and why.
    for workload in _workloads(only, short=short):
        for level in _levels(workload, levels, short=short):
            with running(contenders, directory, certificates) as servers:
                for what, why in _point(
                    section, workload, level, servers, rounds, seconds, seed
                ).items():
                    left_out.setdefault(why, []).append(what)
            print(f"  {workload.name} {level[0]}x{level[1]}{over}", flush=True)
    if left_out:
        said = "; ".join(f"{', '.join(what)} ({why})" for why, what in left_out.items())
        section.text += f" Left out: {said}."
    return section


def missing() -> list[str]:
    """What cannot be run here, as lines that say what to install."""
    return [
        how
        for tool, how in (
            (h2load.available(), h2load.HOW_TO_INSTALL),
            (gotool.available(), gotool.HOW_TO_INSTALL),
        )
        if not tool
    ]


def _workloads(only: str, *, short: bool) -> list[Workload]:
    every: list[Workload] = [*REPEATED] if h2load.available() else []
    every += VARIED if gotool.available() else []
    return [each for each in every if only in each.name and (each.in_short or not short)]


def _levels(workload: Workload, levels: Sequence[Level], *, short: bool) -> Sequence[Level]:
    """The short run has one in flight only where the table has it: one put, one range."""
    if isinstance(workload, Repeated) and workload.one_in_flight:
        return [(1, 1)]
    if short and workload.name not in ("put, one key, 64 B", "range, 1 key"):
        return [level for level in levels if level != (1, 1)] or levels
    return levels


class Lane(Protocol):
    """One server of a point, ready to be driven."""

    server: Server
    requests_max: int

    def drive(self, requests: int) -> Taken: ...


def _point(
    section: Section, workload: Workload, level: Level, servers: Sequence[Server],
    rounds: int, seconds: float, seed: int,
) -> dict[str, str]:  # fmt: skip
    """Add one workload's figures at one level; returns what was left out, and why."""
    left_out: dict[str, str] = {}
    in_flight = level[0] * level[1]
    name = f"{workload.name} {level[0]}x{level[1]}"

    def leave_out(server: Server, error: Exception) -> None:
        """kine leaves out a part of the API, and fails at some of the rest; ours and etcd may not.

        Raises:
            BenchError: `server` is one of the two that are compared.
        """
        if server.name in COMPARED:
            raise BenchError(f"{server.name}: {name}: {_why(error)}") from error
        left_out[f"{name} of {server.name}"] = _why(error)

    with tempfile.TemporaryDirectory() as scratch:
        lanes: list[tuple[Lane, int]] = []
        for server in servers:
            try:
                lane = _lane(workload, server, level, Path(scratch), seed)
                rate = lane.drive(in_flight).rate
                rate = lane.drive(_bounded(rate * seconds / 3, in_flight, lane.requests_max)).rate
            except FAILURES as error:
                leave_out(server, error)
            else:
                lanes.append((lane, _bounded(rate * seconds, in_flight, lane.requests_max)))
        for turn in range(rounds):
            # Who goes first alternates, so that a drift of the machine favours nobody.
            for lane, requests in lanes if turn % 2 == 0 else reversed(lanes):
                try:
                    _add(section, name, lane.server.name, lane.drive(requests))
                except FAILURES as error:
                    leave_out(lane.server, error)
    return left_out


def _why(error: Exception) -> str:
    """In one line."""
    said = error.details() if isinstance(error, grpc.Call) else str(error)
    return (said or type(error).__name__).splitlines()[0]


def _lane(workload: Workload, server: Server, level: Level, scratch: Path, seed: int) -> Lane:
    """The same seed for each: all get the same bytes."""
    if isinstance(workload, Repeated):
        return _H2loadLane(workload, server, level, scratch, seed)
    return _ReplayLane(workload, server, level, scratch, seed)


def _bounded(requests: float, least: int, most: int) -> int:
    return max(least, min(most, int(requests)))


def _add(section: Section, name: str, contender: str, taken: Taken) -> None:
    target = RATE_TARGETS.get(name)
    if target is not None and section.title != PLAIN:
        target = TLS_RATE_TARGET
    rate = section.figure(name, "requests/s", higher_is_better=True, ratio_target=target)
    rate.add(contender, taken.rate)
    section.figure(name, "server CPU us/request").add(contender, taken.cpu_us)
    section.figure(name, "mean latency us").add(contender, taken.mean_us)
    if taken.p99_us is not None:
        section.figure(name, "p99 latency us").add(contender, taken.p99_us)


class _H2loadLane:
    def __init__(
        self, workload: Repeated, server: Server, level: Level, scratch: Path, seed: int
    ) -> None:
        self.server = server
        self.requests_max = REQUESTS_MAX
        self._workload, self._level = workload, level
        self._body = scratch / server.name
        with server.client() as client:
            self._body.write_bytes(workload.prepare(client, random.Random(seed)))

    def drive(self, requests: int) -> Taken:
        with self.server.client() as client:
            check = self._workload.checker(client, self._body.read_bytes())
            cpu_before = self.server.cpu_s()
            run = h2load.run(
                self.server.url, self._workload.method, self._body,
                clients=self._level[0], streams=self._level[1], requests=requests,
            )  # fmt: skip
            cpu_us = (self.server.cpu_s() - cpu_before) * 1e6 / requests
            check(run)
        return Taken(run.rate, cpu_us, run.latency_mean_us, None)


class _ReplayLane:
    def __init__(
        self, workload: Varied, server: Server, level: Level, scratch: Path, seed: int
    ) -> None:
        self.server = server
        self.requests_max = workload.requests_max
        self._level = level
        self._bodies = scratch / server.name
        self._client = server.client()
        self._feed = workload.feed(server, self._client, random.Random(seed))

    def drive(self, requests: int) -> Taken:
        gotool.write_records(self._bodies, self._feed.records(requests))
        before = self._client.revision()
        cpu_before = self.server.cpu_s()
        run = gotool.run(
            self.server, "replay", "-bodies", self._bodies, "-requests", requests,
            "-conns", self._level[0], "-streams", self._level[1],
        )  # fmt: skip
        cpu_us = (self.server.cpu_s() - cpu_before) * 1e6 / requests
        if run.refused:
            raise BenchError(f"{run.refused} of {requests} requests were refused")
        expect("requests answered", run.requests, requests)
        expect("revisions made", self._client.revision() - before, self._feed.changes)
        return Taken(run.rate, cpu_us, run.mean_us, run.p99_us)
