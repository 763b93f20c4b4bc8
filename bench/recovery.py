"""kill -9 with many leases in place: seconds from exec to the first answered linearizable read.

The page cache stays warm, since only the process dies: this measures replay and rebuilding, not
the disk. One server runs at a time. Every lease and key is counted after each restart.

What a start replays depends on when the last snapshot was taken. etcd takes one every 100,000
entries, and the leases and keys alone would end close to one by accident; so `MORE_PUTS` puts of
one key follow, which leave it half-way: the mean of what a kill at any time would meet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Final

from bench.fill import VALUE_BYTES, BenchError, check_all_there, fill
from bench.report import Section
from bench.servers import Contender, Server
from etcdpb import rpc_pb2 as pb

LEASES: Final = 100_000
MORE_PUTS: Final = 50_000
TTL_S: Final = 36_000  # None is due before the end.
TARGETS_S: Final = {100_000: 1.0, 1_000_000: 8.0}


def measure(
    contenders: Sequence[Contender], *, leases: int, rounds: int, seed: int, directory: Path
) -> Section:
    section = Section(
        f"Recovery with {leases:,} leases",
        f"{leases:,} leases granted, a key put on each, then {MORE_PUTS:,} puts of one key, one "
        f"request each; kill -9; exec. {rounds} kills of the same directory.",
    )
    target = TARGETS_S.get(leases)
    servers = [Server(contender, directory / contender.name) for contender in contenders]
    try:
        for server in servers:
            server.start()
            fill(server, leases, ttl_s=TTL_S, rng=random.Random(seed))
            put_more(server)
            server.kill()
            print(f"  recovery, {server.name} filled", flush=True)
        for _ in range(rounds):
            for server in servers:
                seconds = server.start()
                check_all_there(server, leases)
                figure = section.figure("exec to first read", "s", target=target)
                figure.add(server.name, seconds)
                size = section.figure("memory after it, resident", "MB")
                size.add(server.name, server.memory().resident / 1e6)
                section.figure("data directory", "MB", judged=False).add(
                    server.name, server.disk_bytes() / 1e6
                )
                server.kill()
        print("  recovery done", flush=True)
    finally:
        for server in servers:
            server.kill()
            server.remove_data()
    return section


def put_more(server: Server) -> None:
    """Make `MORE_PUTS` revisions of one key."""
    request = pb.PutRequest(key=b"bench/more", value=b"v" * VALUE_BYTES).SerializeToString()
    with server.connect() as connection:
        answered = sum(1 for _ in connection.calls("KV/Put", repeat(request, MORE_PUTS)))
    if answered != MORE_PUTS:
        raise BenchError(f"{answered} puts answered, not {MORE_PUTS}")
