"""Throughput and cost per request, by h2load: the two servers in turn, round by round.

Each point gets fresh servers, so that no point pays for what an earlier one left behind. Two
short runs are thrown away; they warm both sides and tell how many requests fill the asked
seconds. From then on the number of requests is exact, and so is the check after each run.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import h2load
from bench.client import Client
from bench.fill import BenchError, keepalive_body
from bench.report import Section
from bench.servers import Contender, Server, running
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

LEVELS: Final = ((1, 1), (8, 16))  # Connections, and streams in flight on each.
VALUE_BYTES: Final = 64
MANY: Final = 1000  # Keys of the large range, leases of the long keepalive stream.
TTL_S: Final = 3600  # Nothing expires while it is measured.
REQUESTS_MAX: Final = 400_000  # A run; bounds the leases and revisions it leaves behind.
HOT_KEY: Final = b"bench/hot"

Check = Callable[[h2load.Run], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """`prepare` sets the scene and returns the body; `checker` returns a check for each run."""

    name: str
    method: str
    prepare: Callable[[Client, random.Random], bytes]
    checker: Callable[[Client, bytes], Check]


def measure(contenders: Sequence[Contender], *, rounds: int, seconds: float, seed: int,
            directory: Path, only: str) -> Section:  # fmt: skip
    """Run every workload whose name contains `only` at every level."""
    section = Section(
        "Load",
        f"h2load, one thread, {rounds} rounds of about {seconds} s; connections x streams in "
        "flight. CPU is the server process's, user and kernel. Replies were checked.",
    )
    for workload in WORKLOADS:
        if only in workload.name:
            for clients, streams in LEVELS:
                with running(contenders, directory) as servers:
                    point = _Point(workload, clients, streams, servers, seed)
                    point.run(section, rounds, seconds)
                print(f"  {workload.name} {clients}x{streams}", flush=True)
    return section


class _Point:
    def __init__(self, workload: Workload, clients: int, streams: int, servers: Sequence[Server],
                 seed: int) -> None:  # fmt: skip
        self._workload = workload
        self._clients, self._streams = clients, streams
        self._servers = servers
        self._seed = seed

    def run(self, section: Section, rounds: int, seconds: float) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            lanes = [self._lane(server, Path(scratch), seconds) for server in self._servers]
            for turn in range(rounds):
                # Who goes first alternates, so that a drift of the machine favours nobody.
                for lane in lanes if turn % 2 == 0 else reversed(lanes):
                    self._round(section, *lane)

    def _lane(self, server: Server, scratch: Path, seconds: float) -> tuple[Server, Path, int]:
        body = scratch / server.name
        with Client(server.port) as client:
            # The same seed for each: both get the same bytes.
            body.write_bytes(self._workload.prepare(client, random.Random(self._seed)))
        in_flight = self._clients * self._streams
        rate = self._drive(server, body, in_flight).rate
        rate = self._drive(server, body, max(in_flight, int(rate * seconds / 3))).rate
        return server, body, max(in_flight, min(REQUESTS_MAX, int(rate * seconds)))

    def _round(self, section: Section, server: Server, body: Path, requests: int) -> None:
        with Client(server.port) as client:
            check = self._workload.checker(client, body.read_bytes())
            cpu_before = server.cpu_s()
            run = self._drive(server, body, requests)
            cpu_us = (server.cpu_s() - cpu_before) * 1e6 / requests
            check(run)
        name = f"{self._workload.name} {self._clients}x{self._streams}"
        section.figure(name, "requests/s", higher_is_better=True).add(server.name, run.rate)
        section.figure(name, "server CPU us/request").add(server.name, cpu_us)
        section.figure(name, "mean latency us").add(server.name, run.latency_mean_us)

    def _drive(self, server: Server, body: Path, requests: int) -> h2load.Run:
        return h2load.run(server.port, self._workload.method, body, clients=self._clients,
                          streams=self._streams, requests=requests)  # fmt: skip


def _expect(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise BenchError(f"{what}: {found}, not {wanted}")


def _prepare_put(client: Client, rng: random.Random) -> bytes:
    request = pb.PutRequest(key=HOT_KEY, value=rng.randbytes(VALUE_BYTES))
    client.call("KV/Put", request)
    return frame_message(request.SerializeToString())


def _check_puts(client: Client, body: bytes) -> Check:
    """Every put made a revision and a version of the key, and the value is the one sent."""
    request = pb.RangeRequest(key=HOT_KEY)
    before = client.call("KV/Range", request)

    def check(run: h2load.Run) -> None:
        after = client.call("KV/Range", request)
        grown = after.header.revision - before.header.revision
        _expect("revisions made by the puts", grown, run.requests)
        versions = after.kvs[0].version - before.kvs[0].version
        _expect("versions made by the puts", versions, run.requests)
        if after.kvs[0].value != pb.PutRequest.FromString(body[5:]).value:
            raise BenchError("the value read is not the value put")

    return check


def _prepare_range(client: Client, rng: random.Random, keys: int) -> bytes:
    for number in range(keys):
        key = b"bench/many/%06d" % number
        client.call("KV/Put", pb.PutRequest(key=key, value=rng.randbytes(VALUE_BYTES)))
    request = pb.RangeRequest(key=b"bench/many/000000")
    if keys > 1:
        request = pb.RangeRequest(key=b"bench/many/", range_end=b"bench/many0")
    _expect("keys in the range", len(client.call("KV/Range", request).kvs), keys)
    return frame_message(request.SerializeToString())


def _check_ranges(client: Client, body: bytes) -> Check:
    """Every reply was as long as the one a real client gets: a refusal has no bytes at all."""
    reply = client.call("KV/Range", pb.RangeRequest.FromString(body[5:]))
    wanted = len(frame_message(reply.SerializeToString()))
    return lambda run: _expect("bytes of replies", run.data_bytes, wanted * run.requests)


def _prepare_grant(client: Client, _: random.Random) -> bytes:
    request = pb.LeaseGrantRequest(TTL=TTL_S)  # No ID: the server picks one.
    _expect("TTL granted", client.call("Lease/LeaseGrant", request).TTL, TTL_S)
    return frame_message(request.SerializeToString())


def _check_grants(client: Client, _: bytes) -> Check:
    """Every grant made a lease."""
    before = client.lease_count()
    return lambda run: _expect("leases made", client.lease_count() - before, run.requests)


def _prepare_keepalive(client: Client, rng: random.Random, messages: int) -> bytes:
    ids = [rng.getrandbits(62) | 1 << 62 for _ in range(messages)]
    for number in ids:
        client.call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=number, TTL=TTL_S))
    return keepalive_body(ids)


def _check_keepalives(client: Client, body: bytes) -> Check:
    """Every stream carried as many bytes as a real client gets, whose replies all renew."""
    requests, at = [], 0
    while at < len(body):
        end = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
        requests.append(pb.LeaseKeepAliveRequest.FromString(body[at + 5 : end]))
        at = end
    replies = list(client.stream("Lease/LeaseKeepAlive", requests))
    renewed = [(reply.ID, reply.TTL) for reply in replies]
    if renewed != [(request.ID, TTL_S) for request in requests]:
        raise BenchError("a keepalive was not answered with its lease and the full TTL")
    wanted = sum(len(frame_message(reply.SerializeToString())) for reply in replies)
    return lambda run: _expect("bytes of replies", run.data_bytes, wanted * run.requests)


WORKLOADS: Final = (
    Workload("put, one key, 64 B", "KV/Put", _prepare_put, _check_puts),
    Workload("range, 1 key", "KV/Range", lambda c, r: _prepare_range(c, r, 1), _check_ranges),
    Workload(
        "range, 1000 keys", "KV/Range", lambda c, r: _prepare_range(c, r, MANY), _check_ranges
    ),
    Workload("lease grant", "Lease/LeaseGrant", _prepare_grant, _check_grants),
    Workload(
        "keepalive, 1 message a stream",
        "Lease/LeaseKeepAlive",
        lambda c, r: _prepare_keepalive(c, r, 1),
        _check_keepalives,
    ),
    Workload(
        "keepalive, 1000 messages a stream",
        "Lease/LeaseKeepAlive",
        lambda c, r: _prepare_keepalive(c, r, MANY),
        _check_keepalives,
    ),
)
