"""One lease with 100,000 keys revoked: how long that takes, and what another's puts suffer.

The revoke is one call by a client of its own; the prober puts an unrelated key by the clock, from
before until after, in a process of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.fill import VALUE_BYTES, expect
from bench.probe import PUT, Probe, quantile_ms
from bench.report import Section
from bench.servers import Contender, Server, running
from etcdpb import rpc_pb2 as pb

KEYS: Final = 100_000
LEASE_ID: Final = 0x7E0
PREFIX: Final = b"bench/bulk/"
CALM_S: Final = 2.0
REVOKE_TIMEOUT_S: Final = 120.0


def measure(
    contenders: Sequence[Contender], *, leases: int | None, rounds: int, seed: int, directory: Path
) -> Section:
    keys = leases or KEYS
    section = Section(
        f"One lease with {keys:,} keys",
        f"Revoked by one call, while a prober puts another key 1,000 times a second; {rounds} "
        "rounds. The prober shares the machine with the server.",
    )
    for turn in range(rounds):
        for contender in contenders:
            with running([contender], directory) as (server,):
                _round(section, server, keys, random.Random(seed + turn))
            print(f"  bulk, {contender.name}, round {turn + 1}", flush=True)
    return section


def _round(section: Section, server: Server, keys: int, rng: random.Random) -> None:
    grant = pb.LeaseGrantRequest(ID=LEASE_ID, TTL=36_000)
    puts = (
        pb.PutRequest(
            key=PREFIX + b"%08d" % number, value=rng.randbytes(VALUE_BYTES), lease=LEASE_ID
        ).SerializeToString()
        for number in range(keys)
    )
    with server.connect() as connection, server.client() as client:
        connection.call("Lease/LeaseGrant", grant.SerializeToString())
        expect("puts answered", sum(1 for _ in connection.calls("KV/Put", puts)), keys)
        probe = Probe(PUT, server.port)
        try:
            time.sleep(CALM_S)
            cpu_before = server.cpu_s()
            began = time.monotonic()
            connection.call(
                "Lease/LeaseRevoke",
                pb.LeaseRevokeRequest(ID=LEASE_ID).SerializeToString(),
                timeout_s=REVOKE_TIMEOUT_S,
            )
            ended = time.monotonic()
            cpu_s = server.cpu_s() - cpu_before
            time.sleep(0.2)  # What the revoke held up is answered, or is never.
            samples = probe.finish()
        finally:
            probe.abandon()
        expect("keys left", client.count(PREFIX), 0)
    calm = [each for each in samples if began - CALM_S / 2 <= each.sent_at < began]
    during = [each for each in samples if began <= each.sent_at <= ended]
    name = server.name
    section.figure("revoke of one lease", "s").add(name, ended - began)
    section.figure("revoke of one lease", "server CPU us/key").add(name, cpu_s * 1e6 / keys)
    section.figure("put before it, p99", "ms").add(name, quantile_ms(calm, 0.99))
    # No target: it is one revision, never split, and everything that writes waits for it.
    section.figure("put meanwhile, p99", "ms").add(name, quantile_ms(during, 0.99))
    section.figure("put meanwhile, max", "ms").add(name, quantile_ms(during, 1.0))
