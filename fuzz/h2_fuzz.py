"""Whatever a peer sends, the HTTP/2 core neither raises, hangs, grows without bound nor sends what
a strict peer refuses; and an honest peer and the core believe the same of every stream and window.

    python -m fuzz.h2_fuzz --steps 1000000 --seed 1

A step is one thing that a client does: a frame, a delivery, a late answer. Steps come in episodes,
each a connection of its own: in the honest ones python's `h2` is the client, in the hostile ones
its frames are damaged on their way, and it does not read the answers. A failure names the seed of
its episode; `--steps 1 --seed THAT` runs that one again.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from typing import Final

from fuzz.h2_service import Service, check_bounds, split_frames
from fuzz.honest import HonestClient
from tests.support.clock import settle

EPISODE_STEPS: Final = 60
STEP_S_MAX: Final = 2.0  # A step takes well below a millisecond.
_KINDS: Final = 12  # Frame types tried: those there are, and two unknown ones.


def run(steps: int, seed: int) -> dict[str, int]:
    """Run at least `steps` steps; return how much of what was done.

    Raises:
        AssertionError: the invariant does not hold.
    """
    return asyncio.run(_run(steps, seed))


async def _run(steps: int, seed: int) -> dict[str, int]:
    names = ("steps", "honest", "hostile", "answers", "ended", "awaited", "at_once", "again")
    counts = dict.fromkeys(names, 0)
    while counts["steps"] < steps:
        rng = random.Random(seed)
        started = time.perf_counter()
        try:
            service = Service(rng, streams_max=rng.choice((1, 5, 100)))
            if rng.random() < 0.5:
                counts["answers"] += await _honest_episode(rng, service)
                counts["honest"] += 1
            else:
                counts["ended"] += await _hostile_episode(rng, service)
                counts["hostile"] += 1
            counts["awaited"] += service.awaited
            counts["at_once"] += service.at_once
            counts["again"] += service.again
        except Exception as error:
            raise AssertionError(f"the episode of seed {seed}") from error
        assert time.perf_counter() - started < STEP_S_MAX * EPISODE_STEPS, f"seed {seed} hangs"
        counts["steps"] += EPISODE_STEPS
        seed += 1
    return counts


async def _honest_episode(rng: random.Random, service: Service) -> int:
    client = HonestClient(rng)
    for _ in range(EPISODE_STEPS):
        client.act()
        _deliver(rng, service, client.take())
        if rng.random() < 0.3:
            service.answer_one()
        await settle()
        if rng.random() < 0.8:
            client.read(service.take())
        check_bounds(service)
        assert not service.connection.is_dead
    # Everything is told, everything is answered, every window is opened.
    for _ in range(1000):
        _deliver(rng, service, client.take())
        service.answer_all()
        await settle()
        client.read(service.take())
        if client.unfinished:
            client.open_windows()
        elif not client.has_output():
            break
    assert not client.unfinished, f"never answered: {client.unfinished}"
    assert len(service.connection) == 0
    client.check_windows(service.connection)
    check_bounds(service)
    assert service.connection.held_bytes == service.connection.backlog_bytes == 0
    return client.answered


async def _hostile_episode(rng: random.Random, service: Service) -> int:
    client = HonestClient(rng)
    kept: list[bytes] = []
    damage = rng.choice((0.003, 0.02, 0.1, 0.3))  # Little of it lets the connection live longer.
    for step in range(EPISODE_STEPS):
        client.act()
        frames = split_frames(client.take(), has_preface=step == 0)
        kept = (kept + frames[1:])[-20:]
        data = b"".join(_damaged(rng, each, kept, damage) for each in frames)
        was_dead = service.connection.is_dead
        _deliver(rng, service, data)
        if rng.random() < 0.5:
            service.answer_one()
        await settle()
        out = service.take()
        split_frames(out, has_preface=False)  # Whole frames, whatever came in.
        assert not (was_dead and out), "a dead connection speaks"
        check_bounds(service)
    service.connection.lost()
    service.answer_all()
    await settle()
    check_bounds(service)
    assert len(service.connection) == len(service.host.streams) == 0
    assert service.connection.held_bytes == service.connection.backlog_bytes == 0
    return int(was_dead)


def _deliver(rng: random.Random, service: Service, data: bytes) -> None:
    """As a socket does: in pieces that respect nothing."""
    while data:
        size = len(data) if rng.random() < 0.5 else rng.randint(1, len(data))
        service.receive(data[:size])
        data = data[size:]
    if rng.random() < 0.1:
        service.connection.refill()


def _damaged(rng: random.Random, frame: bytes, kept: list[bytes], damage: float) -> bytes:
    if rng.random() >= damage or len(frame) < 9:
        return frame
    head, payload = bytearray(frame[:9]), bytearray(frame[9:])
    way = rng.randrange(10)
    if way == 0:
        return b""
    if way == 1:
        return frame + frame
    if way == 2 and kept:
        return rng.choice(kept) + frame
    if way == 3:
        head[3] = rng.randrange(_KINDS)
    elif way == 4:
        head[4] = rng.randrange(256)
    elif way == 5:
        head[5:9] = rng.choice((0, 1, 2, 3, 5, 2**31 - 1, 2**32 - 1, 101)).to_bytes(4, "big")
    elif way == 6 and payload:
        for _ in range(rng.randint(1, 4)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
    elif way == 7:
        payload = payload[: rng.randint(0, len(payload))]
    elif way == 8:
        payload += rng.randbytes(rng.choice((1, 4, 8, 100, 20_000)))
    else:
        head[3] = rng.randrange(_KINDS)
        payload = bytearray(rng.randbytes(rng.choice((0, 1, 4, 5, 6, 8, 12, 40))))
    if rng.random() < 0.95:
        head[:3] = len(payload).to_bytes(3, "big")
    return bytes(head + payload)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the HTTP/2 core.")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    started = time.perf_counter()
    counts = run(arguments.steps, arguments.seed)
    print(f"seed {arguments.seed}: {counts} in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
