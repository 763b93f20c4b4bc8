"""kill -9 with many leases in place: seconds from exec to the first answered linearizable read.

The page cache stays warm, since only the process dies: this measures replay and rebuilding, not
the disk. One server runs at a time. Every lease and key is counted after each restart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.fill import check_all_there, fill
from bench.report import Section
from bench.servers import Contender, Server

LEASES: Final = 100_000
TTL_S: Final = 36_000  # None is due before the end.
TARGET_S: Final = 2.0


def measure(
    contenders: Sequence[Contender], *, leases: int, rounds: int, seed: int, directory: Path
) -> Section:
    section = Section(
        f"Recovery with {leases:,} leases",
        f"{leases:,} leases granted, then a key put on each, one request each; kill -9; exec. "
        f"{rounds} kills of the same directory.",
    )
    target = TARGET_S if leases == LEASES else None
    servers = [Server(contender, directory / contender.name) for contender in contenders]
    try:
        for server in servers:
            server.start()
            fill(server.port, leases, ttl_s=TTL_S, rng=random.Random(seed))
            server.kill()
            print(f"  recovery, {server.name} filled", flush=True)
        for _ in range(rounds):
            for server in servers:
                seconds = server.start()
                check_all_there(server.port, leases)
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
