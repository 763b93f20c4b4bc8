"""Keepalives as clients send them: one message a frame, paced; and all clients back at once.

`h2load` sends a stream's messages in one go, which a server may take as one batch. A client renews
by a clock of its own, so its message comes alone; what a renewal costs then is told here, on 1,000
long streams, each with a lease. The second part restarts the server under 100,000 leases whose
clients come back together on 1,000 streams.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import gotool
from bench.fill import fill
from bench.report import Section
from bench.servers import Contender, Server, running

STREAMS: Final = 1000
# Connections x streams on each: clients of their own, and clients behind one connection each.
LAYOUTS: Final = ((1000, 1), (50, 20))
EVERY_MS: Final = 200  # 5,000 renewals a second, which either server has time for.
RETURNING: Final = 100_000
TTL_S: Final = 3600
SETTLE_S: Final = 3.0  # What a server still does for its start is no renewal's cost.


def measure(
    contenders: Sequence[Contender], *, leases: int | None, rounds: int, seconds: float, seed: int,
    directory: Path,
) -> Section:  # fmt: skip
    returning = leases or RETURNING
    section = Section(
        "Keepalives of many clients",
        f"Paced: {STREAMS:,} long streams, each a keepalive of its own lease every {EVERY_MS} ms, "
        f"one message a frame, for {seconds} s, {SETTLE_S} s after the start. Return: "
        f"{returning:,} leases with a key each, kill -9, start; then 1,000 streams connect and "
        f"renew all of them. {rounds} rounds.",
    )
    with tempfile.TemporaryDirectory() as scratch:
        ids = Path(scratch) / "ids"
        with running(contenders, directory) as servers:
            for server in servers:
                filled = fill(server, STREAMS, ttl_s=TTL_S, rng=random.Random(seed))
            gotool.write_ids(ids, filled.ids)
            time.sleep(SETTLE_S)
            for turn in range(rounds):
                for server in servers if turn % 2 == 0 else reversed(servers):
                    for layout in LAYOUTS:
                        _paced(section, server, ids, layout, seconds)
        print("  keepalives, paced", flush=True)
        for turn in range(rounds):
            for contender in contenders:
                rng = random.Random(seed + turn)
                with running([contender], directory) as (server,):
                    filled = fill(server, returning, ttl_s=TTL_S, rng=rng)
                    gotool.write_ids(ids, filled.ids)
                    _return(section, server, ids)
                print(f"  return, {contender.name}, round {turn + 1}", flush=True)
    return section


def _paced(
    section: Section, server: Server, ids: Path, layout: tuple[int, int], seconds: float
) -> None:
    started: list[float] = []
    result = gotool.run(
        server, "paced", "-ids", ids, "-conns", layout[0], "-streams", layout[1],
        "-every", f"{EVERY_MS}ms", "-seconds", max(seconds, 2 * EVERY_MS / 1000),
        ready=_clock(server, started),
    )  # fmt: skip
    cpu_us = (server.cpu_s() - started[0]) * 1e6 / result.requests
    name = f"paced keepalive, {layout[0]} connections of {layout[1]}"
    target = 0.5  # Of etcd's: a renewal costs at most half as much.
    section.figure(name, "server CPU us/renewal", ratio_target=target).add(server.name, cpu_us)
    section.figure(name, "p50 latency us").add(server.name, result.p50_us)
    section.figure(name, "p99 latency us").add(server.name, result.p99_us)


def _return(section: Section, server: Server, ids: Path) -> None:
    server.kill()
    started: list[float] = []
    server.start()
    result = gotool.run(
        server, "herd", "-ids", ids, "-conns", STREAMS, "-streams", 1,
        ready=_clock(server, started),
    )  # fmt: skip
    cpu_s = server.cpu_s() - started[0]
    section.figure("return after a restart, all renewed", "s").add(server.name, result.seconds)
    half = section.figure("return after a restart, half of the streams renewed", "s")
    half.add(server.name, result.p50_us / 1e6)
    cpu = section.figure("return after a restart", "server CPU us/renewal")
    cpu.add(server.name, cpu_s * 1e6 / result.requests)


def _clock(server: Server, started: list[float]) -> Callable[[], None]:
    """Notes the processor time at the moment when the generator is ready."""
    return lambda: started.append(server.cpu_s())
