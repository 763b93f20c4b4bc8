"""Watch fan-out: many watchers of one key, and many keys with a watcher each.

Each is driven twice: puts as fast as they are answered, for events a second; and puts by the clock,
well below that, for the time from a put to its delivery. Every event is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import gotool
from bench.report import Section
from bench.servers import Contender, Server, running

CONNECTIONS, STREAMS = 50, 20
RATE_TARGET: Final = 2.0


class Scene(NamedTuple):
    name: str
    watchers: int
    keys: int
    puts_per_s: int  # While flat out, a first guess; either server is faster.
    in_flight: int  # Puts, while flat out: so many that fsyncs are shared, or fan-out is the load.
    every_us: int  # Between two puts by the clock.


SCENES: Final = (
    Scene("1,000 watchers of one key", 1000, 1, 200, 16, 50_000),
    Scene("10,000 keys, a watcher each", 10_000, 10_000, 20_000, 128, 1_000),
)


def measure(
    contenders: Sequence[Contender], *, rounds: int, seconds: float, directory: Path
) -> Section:
    section = Section(
        "Watch fan-out",
        f"{CONNECTIONS} connections of {STREAMS} streams, which share the watchers; {rounds} "
        "rounds. Flat out: 16 puts in flight of one key, 128 of distinct keys; paced: 20,000 "
        "events a second of one key, 1,000 of distinct keys. A delivery is timed from the sending "
        "of the put.",
    )
    for scene in SCENES:
        with running(contenders, directory) as servers:
            for turn in range(rounds):
                for server in servers if turn % 2 == 0 else reversed(servers):
                    _round(section, server, scene, seconds)
        print(f"  watch, {scene.name}", flush=True)
    return section


def _round(section: Section, server: Server, scene: Scene, seconds: float) -> None:
    started: list[float] = []
    flat = _run(server, scene, max(16, int(scene.puts_per_s * seconds)), 0, started)
    cpu_us = (server.cpu_s() - started[0]) * 1e6 / flat.requests
    paced = _run(server, scene, max(10, int(seconds * 1e6 / scene.every_us)), scene.every_us, [])
    name = f"watch, {scene.name}"
    rate = section.figure(name, "events/s", higher_is_better=True, ratio_target=RATE_TARGET)
    rate.add(server.name, flat.rate)
    section.figure(name, "server CPU us/event").add(server.name, cpu_us)
    section.figure(f"{name}, paced", "p50 delivery us").add(server.name, paced.p50_us)
    section.figure(f"{name}, paced", "p99 delivery us").add(server.name, paced.p99_us)


def _run(
    server: Server, scene: Scene, puts: int, every_us: int, started: list[float]
) -> gotool.Result:
    return gotool.run(
        server, "watch", "-watchers", scene.watchers, "-keys", scene.keys, "-puts", puts,
        "-inflight", scene.in_flight,
        "-every", f"{every_us}us", "-conns", CONNECTIONS, "-streams", STREAMS,
        ready=lambda: started.append(server.cpu_s()),
    )  # fmt: skip
