"""Latency of a keepalive on a long-lived stream: alone, and while others put at full speed."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import h2load
from bench.probe import KEEPALIVE, Probe, Sample, quantile_ms
from bench.report import Section
from bench.servers import Contender, Server, running
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

CLIENTS: Final = 8
STREAMS: Final = 16
LEASE_ID: Final = 0x7E0
SETTLE_S: Final = 0.5  # The prober's own start, left out of its samples.


def measure(
    contenders: Sequence[Contender], *, rounds: int, seconds: float, directory: Path
) -> Section:
    section = Section(
        "Keepalive latency",
        f"One stream, 1,000 keepalives a second, {seconds} s alone and as long beside h2load "
        f"putting one key at {CLIENTS}x{STREAMS}; {rounds} rounds. Three processes share the "
        "machine's cores, so the loaded figures hold the wait for a core as well.",
    )
    with running(contenders, directory) as servers:
        for server in servers:
            with server.client() as client:
                client.call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=LEASE_ID, TTL=3600))
        for _ in range(rounds):
            for server in servers:
                for label, samples in (
                    ("alone", _probe(server, seconds)),
                    ("beside puts", _probe_beside_puts(server, seconds)),
                ):
                    for mark, fraction in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                        figure = section.figure(f"keepalive {label}, {mark}", "ms")
                        figure.add(server.name, quantile_ms(samples, fraction))
    print("  keepalive latency done", flush=True)
    return section


def _probe(server: Server, seconds: float) -> list[Sample]:
    probe = Probe(KEEPALIVE, server.port, LEASE_ID)
    try:
        time.sleep(SETTLE_S)
        began = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        return [sample for sample in probe.finish() if began <= sample.sent_at <= ended]
    finally:
        probe.abandon()


def _probe_beside_puts(server: Server, seconds: float) -> list[Sample]:
    body = frame_message(pb.PutRequest(key=b"bench/hot", value=b"v" * 64).SerializeToString())
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = h2load.command(server.url, "KV/Put", Path(file.name), CLIENTS, STREAMS)
        # Longer than the probe on both sides, and ended here.
        load = subprocess.Popen(
            [*command, "-D", str(int(seconds + 60))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return _probe(server, seconds)
        finally:
            load.kill()
            load.wait()
