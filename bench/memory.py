"""Resident memory that one lease with its key costs, as the kernel counts it.

The base is taken after a first thousand, so that code, pools and buffers that any work brings in
are not charged to the leases. What the server keeps because of the way the leases came to be
(etcd's log in memory, our table of recent writes) is charged: the memory is used, whatever for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.fill import KEY_BYTES, VALUE_BYTES, fill
from bench.report import Section
from bench.servers import Contender, running

LEASES: Final = 100_000
WARM_UP_LEASES: Final = 1000
SETTLE_S: Final = 3.0  # A collector may still be at work when the last reply is out.
TTL_S: Final = 36_000
TARGETS_BYTES: Final = {100_000: 1200.0, 1_000_000: 900.0}


def measure(
    contenders: Sequence[Contender], *, leases: int, rounds: int, seed: int, directory: Path
) -> Section:
    section = Section(
        f"Memory of {leases:,} leases",
        f"Growth from {WARM_UP_LEASES:,} leases by {leases:,}, each with a key of {KEY_BYTES} "
        f"bytes and a value of {VALUE_BYTES}; {SETTLE_S} s after the last put; {rounds} rounds.",
    )
    target = TARGETS_BYTES.get(leases)
    for turn in range(rounds):
        for contender in contenders:
            rng = random.Random(seed + turn)
            with running([contender], directory) as (server,):
                empty = server.memory()
                fill(server, WARM_UP_LEASES, ttl_s=TTL_S, rng=rng)
                time.sleep(SETTLE_S)
                base = server.memory()
                fill(server, leases, ttl_s=TTL_S, rng=rng, first=WARM_UP_LEASES)
                time.sleep(SETTLE_S)
                full = server.memory()
            grown = section.figure("resident, a lease with its key", "bytes", target=target)
            grown.add(contender.name, (full.resident - base.resident) / leases)
            anonymous = section.figure("of it not mapped files", "bytes")
            anonymous.add(contender.name, (full.anonymous - base.anonymous) / leases)
            section.figure("resident, empty server", "MB").add(contender.name, empty.resident / 1e6)
            section.figure("resident, full", "MB").add(contender.name, full.resident / 1e6)
            print(f"  memory, {contender.name}, round {turn + 1}", flush=True)
    return section
