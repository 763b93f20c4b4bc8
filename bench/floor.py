"""The disk's own rate: how many writes it makes durable a second, and how near a server comes.

A raw loop appends as many bytes as the server's groups hold and calls fdatasync, on the same file
system. A server's fsyncs and the time it spent in them are by its own counters, and by the
kernel's trace where it may be read. The share of the run spent in fsync says whether the disk is
the limit: near 1 it is; far below, the processor is, and then the raw loop's rate is out of reach.
Puts a fsync say how many share one.
"""

from __future__ import annotations

import os
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Final, NamedTuple

from bench import h2load, kernel
from bench.report import Section
from bench.servers import Contender, Server, running
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

LEVELS: Final = ((1, 1), (8, 16), (64, 4))
PUT_BYTES: Final = 160  # About what a put of 64 bytes writes to a log, framing and all.
HISTOGRAM: Final = "etcd_disk_wal_fsync_duration_seconds"
CLOSENESS_TARGET: Final = 1.3
KERNELS_FSYNC: Final = "fsync in the kernel / raw fdatasync"


class Fsyncs(NamedTuple):
    """Since the start: how many, and the time spent in them."""

    number: int
    seconds: float


def measure(
    contenders: Sequence[Contender], *, rounds: int, seconds: float, directory: Path
) -> Section:
    section = Section(
        "fsync floor",
        "One key put by h2load; fsyncs are the server's own count. The raw loop appends as many "
        f"bytes as one group holds ({PUT_BYTES} a put), then fdatasync, on the same file system, "
        f"right after; {rounds} rounds of {seconds} s. A server's own clock runs until its thread "
        "does again; the kernel's, by its trace, until the call is over.",
    )
    body = frame_message(pb.PutRequest(key=b"bench/hot", value=b"v" * 64).SerializeToString())
    with tempfile.NamedTemporaryFile() as file, running(contenders, directory) as servers:
        file.write(body)
        file.flush()
        for level in LEVELS:
            for server in servers:
                _drive(server, Path(file.name), level, max(level[0] * level[1], 100))
            for turn in range(rounds):
                for server in servers if turn % 2 == 0 else reversed(servers):
                    _round(section, server, Path(file.name), level, seconds, directory)
            print(f"  fsync floor {level[0]}x{level[1]}", flush=True)
    return section


def _round(
    section: Section, server: Server, body: Path, level: tuple[int, int], seconds: float,
    directory: Path,
) -> None:  # fmt: skip
    in_flight = level[0] * level[1]
    rate = _drive(server, body, level, max(in_flight, 200)).rate
    before = _fsyncs(server)
    with kernel.fsyncs(server.pid) as traced:
        run = _drive(server, body, level, max(in_flight, int(rate * seconds)))
    after = _fsyncs(server)
    syncs, spent_s = after.number - before.number, after.seconds - before.seconds
    name = f"put {level[0]}x{level[1]}"
    section.figure(name, "requests/s", higher_is_better=True).add(server.name, run.rate)
    if syncs <= 0:
        return
    size = round(PUT_BYTES * run.requests / syncs)
    took = raw_fdatasyncs(directory, size, seconds / 2)
    raw_rate = len(took) / sum(took)
    section.figure(name, "puts a fsync", judged=False).add(server.name, run.requests / syncs)
    section.figure(name, "fsyncs/s", judged=False).add(server.name, syncs / run.seconds)
    section.figure(name, "raw fdatasyncs/s", judged=False).add(server.name, raw_rate)
    section.figure(name, "raw fdatasync, median us", judged=False).add(
        server.name, median(took) * 1e6
    )
    section.figure(name, "disk's own rate / server's", judged=False).add(
        server.name, raw_rate * run.seconds / syncs
    )
    section.figure(name, "share of the time in fsync", judged=False).add(
        server.name, spent_s / run.seconds
    )
    section.figure(name, "server's fsync / raw fdatasync", judged=False).add(
        server.name, spent_s / syncs * raw_rate
    )
    if traced:
        section.figure(name, KERNELS_FSYNC, target=CLOSENESS_TARGET).add(
            server.name, mean(traced) * raw_rate
        )


def raw_fdatasyncs(directory: Path, size: int, seconds: float) -> list[float]:
    """Append `size` bytes and fdatasync, for `seconds`; return what each took, in seconds."""
    block = os.urandom(size)
    took: list[float] = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        give_up = time.monotonic() + seconds
        at = time.monotonic()
        while at < give_up or not took:
            file.write(block)
            os.fdatasync(file.fileno())
            now = time.monotonic()
            took.append(now - at)
            at = now
    return took


def _drive(server: Server, body: Path, level: tuple[int, int], requests: int) -> h2load.Run:
    return h2load.run(
        server.url, "KV/Put", body, clients=level[0], streams=level[1], requests=requests
    )


def _fsyncs(server: Server) -> Fsyncs:
    """The server's own fsyncs of its log, as /metrics has them; none where it tells none."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as reply:
        lines = [line.split() for line in reply.read().decode().splitlines()]
    told = {words[0]: float(words[1]) for words in lines if words[0].startswith(HISTOGRAM)}
    return Fsyncs(int(told.get(f"{HISTOGRAM}_count", 0)), told.get(f"{HISTOGRAM}_sum", 0.0))
