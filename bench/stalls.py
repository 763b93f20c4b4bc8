"""What a keepalive suffers while another client asks for very much at once, again and again.

A server that takes turns with its clients has a longest turn: each load below is the largest thing
of its kind that one request may ask for of 100,000 keys or leases. The keepalives leave by the
clock, from a process of their own, so a turn that takes 80 ms is met by 80 of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from bench import fill
from bench.probe import KEEPALIVE, Probe, Sample, quantile_ms
from bench.report import Section
from bench.servers import Contender, Server, running
from bench.wire import Connection, frame_message
from etcdpb import rpc_pb2 as pb

ENTRIES: Final = 100_000
PROBED_LEASE: Final = 0x7E0
BIG_LEASE: Final = 0x7E1
BIG: Final = b"bench/big/"  # The keys of the one lease that has all of them.
BIG_END: Final = b"bench/big0"
SETTLE_S: Final = 0.3  # The prober's own start, left out of its samples.
ANSWER_MAX_S: Final = 120.0


class Load(NamedTuple):
    """`ask` asks once and returns when all of the answer is there."""

    name: str
    ask: Callable[[Connection, int], None]  # The second is how often it was asked before.
    repeats: bool = True  # Until the time is over; else once, since it leaves nothing to repeat.


def measure(
    contenders: Sequence[Contender],
    *,
    leases: int | None,
    rounds: int,
    seconds: float,
    seed: int,
    directory: Path,
) -> Section:
    entries = leases or ENTRIES
    section = Section(
        f"A keepalive beside large requests, of {entries:,} keys or leases",
        "One stream, 1,000 keepalives a second, while one other client makes the request named "
        f"over and over for {seconds} s, or once where it can be made once; {rounds} rounds, each "
        "on fresh servers. Server, prober and that client share the machine's cores.",
    )
    for turn in range(rounds):
        for contender in contenders:
            with running([contender], directory) as (server,):
                _prepare(server, entries, random.Random(seed + turn))
                for load in loads(entries):
                    samples = _beside(server, load, seconds)
                    for mark, fraction in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                        figure = section.figure(f"keepalive beside {load.name}, {mark}", "ms")
                        figure.add(server.name, quantile_ms(samples, fraction))
            print(f"  stalls, {contender.name}, round {turn + 1}", flush=True)
    return section


def _prepare(server: Server, entries: int, rng: random.Random) -> None:
    """`entries` leases with a key each, and one lease with as many; all keys written twice."""
    with server.connect() as connection:
        for lease_id in (PROBED_LEASE, BIG_LEASE):
            grant = pb.LeaseGrantRequest(ID=lease_id, TTL=36_000)
            connection.call("Lease/LeaseGrant", grant.SerializeToString())
        ids = (rng.getrandbits(62) | 1 << 62 for _ in range(entries))
        grants = (pb.LeaseGrantRequest(ID=each, TTL=36_000).SerializeToString() for each in ids)
        granted = sum(1 for _ in connection.calls("Lease/LeaseGrant", grants))
        fill.expect("grants answered", granted, entries)
        for _ in range(2):
            puts = (
                pb.PutRequest(
                    key=BIG + b"%08d" % number,
                    value=rng.randbytes(fill.VALUE_BYTES),
                    lease=BIG_LEASE,
                ).SerializeToString()
                for number in range(entries)
            )
            put = sum(1 for _ in connection.calls("KV/Put", puts))
            fill.expect("puts answered", put, entries)


def _beside(server: Server, load: Load, seconds: float) -> list[Sample]:
    with server.connect() as connection:
        probe = Probe(KEEPALIVE, server.port, PROBED_LEASE)
        try:
            time.sleep(SETTLE_S)
            began = time.monotonic()
            asked = 0
            while not asked or (load.repeats and time.monotonic() < began + seconds):
                load.ask(connection, asked)
                asked += 1
            ended = time.monotonic()
            return [each for each in probe.finish() if began <= each.sent_at <= ended]
        finally:
            probe.abandon()


# --- the loads ---


def loads(entries: int) -> list[Load]:
    """In an order in which each finds what it asks for: the ones that delete come last."""
    sort = pb.RangeRequest
    old = 2 + entries  # The first writing of all keys had been made.
    return [
        Load("nothing", lambda *_: time.sleep(0.05)),
        _ranging("a range of 10,000", limit=10_000),
        _ranging("a range of all"),
        _ranging("a range of all, keys only", keys_only=True),
        _ranging("a range of all, at an old revision", revision=old),
        _ranging("one of all sorted by value", limit=1, sort_order=sort.DESCEND,
                 sort_target=sort.VALUE),
        Load("a txn of 128 ranges of 1,000", _txn_of_ranges),
        Load("a txn of 128 puts of 8 KiB", _txn_of_puts),
        _calling("a list of leases", "Lease/LeaseLeases", pb.LeaseLeasesRequest()),
        _calling("a lease's keys", "Lease/LeaseTimeToLive",
                 pb.LeaseTimeToLiveRequest(ID=BIG_LEASE, keys=True)),
        _calling("HashKV", "Maintenance/HashKV", pb.HashKVRequest()),
        Load("a watch of all history", lambda connection, _: _watch(connection, entries)),
        Load("a snapshot", _snapshot),
        _calling("a compaction", "KV/Compact",
                 pb.CompactionRequest(revision=old, physical=True), repeats=False),
        _calling("a delete of half", "KV/DeleteRange",
                 pb.DeleteRangeRequest(key=BIG, range_end=BIG + b"%08d" % (entries // 2)),
                 repeats=False),
        _calling("a revoke of the other half", "Lease/LeaseRevoke",
                 pb.LeaseRevokeRequest(ID=BIG_LEASE), repeats=False),
    ]  # fmt: skip


def _calling(name: str, method: str, request: Message, *, repeats: bool = True) -> Load:
    message = request.SerializeToString()

    def ask(connection: Connection, _: int) -> None:
        connection.call(method, message, timeout_s=ANSWER_MAX_S)

    return Load(name, ask, repeats)


def _ranging(name: str, **fields: Any) -> Load:
    return _calling(name, "KV/Range", pb.RangeRequest(key=BIG, range_end=BIG_END, **fields))


def _txn_of_ranges(connection: Connection, _: int) -> None:
    request = pb.TxnRequest()
    for _ in range(128):
        request.success.add(request_range=pb.RangeRequest(key=BIG, range_end=BIG_END, limit=1_000))
    connection.call("KV/Txn", request.SerializeToString(), timeout_s=ANSWER_MAX_S)


def _txn_of_puts(connection: Connection, _: int) -> None:
    request = pb.TxnRequest()
    for number in range(128):
        request.success.add(
            request_put=pb.PutRequest(key=b"bench/txn/%d" % number, value=bytes(8192))
        )
    connection.call("KV/Txn", request.SerializeToString(), timeout_s=ANSWER_MAX_S)


def _watch(connection: Connection, entries: int) -> None:
    """Both writings of all keys, and no more."""
    create = pb.WatchCreateRequest(key=BIG, range_end=BIG_END, start_revision=1)
    stream = connection.open("Watch/Watch")
    request = pb.WatchRequest(create_request=create).SerializeToString()
    connection.send(stream, frame_message(request))
    seen = 0
    while seen < 2 * entries:
        for arrival in connection.poll(ANSWER_MAX_S):
            if arrival.message is not None:
                seen += len(pb.WatchResponse.FromString(arrival.message).events)
    connection.send(stream, b"", end=True)


def _snapshot(connection: Connection, _: int) -> None:
    stream = connection.open("Maintenance/Snapshot")
    connection.send(stream, frame_message(b""), end=True)
    while True:
        for arrival in connection.poll(ANSWER_MAX_S):
            if arrival.stream == stream and arrival.message is None:
                return
