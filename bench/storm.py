"""Many leases with a key each, all due together: how late are they gone, and who suffers for it.

All are renewed in one burst on one stream, so all come due within that burst's length. From then on
one watcher notes when each key's deletion arrives, while a prober puts an unrelated key.

A lease's lateness is counted from the arrival of its keepalive's reply plus its TTL. The server
starts the TTL a little before that, so lateness is understated by the time a reply takes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench.fill import PREFIX, BenchError, Filled, check_all_there, fill, keepalive_body
from bench.probe import PUT, Probe, Sample, quantile_ms
from bench.report import Section
from bench.servers import Contender, Server, running
from bench.wire import Connection
from etcdpb import rpc_pb2 as pb

LEASES: Final = 20_000
CALM_S: Final = 2.0  # The prober runs alone this long before the storm.
EXPIRE_RATE_MIN_HZ: Final = 500  # Half of etcd's; slower, and the run is given up.
FILL_RATE_MIN_HZ: Final = 5000  # Slower, and leases would die while others are still being granted.
# By the number of leases: seconds until the last key is gone, milliseconds of the puts' p99.
TARGETS: Final = {20_000: (2.0, 20.0), 100_000: (3.0, 10.0)}


def measure(
    contenders: Sequence[Contender], *, leases: int, rounds: int, seed: int, directory: Path
) -> Section:
    ttl_s = 10 + 2 * leases // FILL_RATE_MIN_HZ
    section = Section(
        f"Storm of {leases:,} leases",
        f"{leases:,} leases with a key each, renewed in one burst, TTL {ttl_s} s; {rounds} rounds. "
        "The watcher and the prober (1,000 puts a second) share the machine with the server.",
    )
    for turn in range(rounds):
        for contender in contenders:
            with running([contender], directory) as (server,):
                storm = _Storm(server, leases, ttl_s, random.Random(seed + turn))
                storm.run(section)
            print(f"  storm, {contender.name}, round {turn + 1}", flush=True)
    return section


class _Storm:
    def __init__(self, server: Server, leases: int, ttl_s: int, rng: random.Random) -> None:
        self._server = server
        self._leases, self._ttl_s, self._rng = leases, ttl_s, rng

    def run(self, section: Section) -> None:
        filled = fill(self._server, self._leases, ttl_s=self._ttl_s, rng=self._rng)
        with self._server.connect() as watcher:
            _watch(watcher)
            began, renewed = self._renew_all(filled)
            due = [at + self._ttl_s for at in renewed]
            time.sleep(max(0.0, min(due) - CALM_S - time.monotonic()))
            probe = Probe(PUT, self._server.port)
            try:
                cpu_before = self._server.cpu_s()
                gone = self._wait_until_gone(
                    watcher, filled, give_up=max(due) + 60 + self._leases / EXPIRE_RATE_MIN_HZ
                )
                cpu_s = self._server.cpu_s() - cpu_before
                samples = probe.finish()
            finally:
                probe.abandon()
        check_all_there(self._server, 0)
        if min(gone) < began + self._ttl_s:
            raise BenchError(f"a lease went {began + self._ttl_s - min(gone):.3f} s early")
        self._report(section, due, gone, samples)
        section.figure("server CPU, from 2 s before to the last gone", "s").add(
            self._server.name, cpu_s
        )

    def _renew_all(self, filled: Filled) -> tuple[float, list[float]]:
        """Renew every lease; return when the burst began and when each reply arrived."""
        arrived: list[float] = []
        began = time.monotonic()
        with self._server.connect() as connection:
            stream = connection.open("Lease/LeaseKeepAlive")
            connection.send(stream, keepalive_body(filled.ids), end=True)
            while True:
                for arrival in connection.poll(1.0):
                    if arrival.message is None:
                        if len(arrived) != self._leases:
                            raise BenchError(f"{len(arrived)} keepalives answered")
                        return began, arrived
                    reply = pb.LeaseKeepAliveResponse.FromString(arrival.message)
                    lease_id = filled.ids[len(arrived)]
                    if not (lease_id == reply.ID and self._ttl_s == reply.TTL):
                        raise BenchError(f"lease {lease_id:x} was not renewed: TTL {reply.TTL}")
                    arrived.append(time.monotonic())

    def _wait_until_gone(
        self, watcher: Connection, filled: Filled, *, give_up: float
    ) -> list[float]:
        """When the deletion of each key arrived."""
        gone: dict[bytes, float] = {}
        while len(gone) < self._leases:
            arrivals, now = watcher.poll(0.05), time.monotonic()
            for arrival in arrivals:
                if arrival.message is None:
                    raise BenchError("the watch ended")
                for event in pb.WatchResponse.FromString(arrival.message).events:
                    gone.setdefault(event.kv.key, now)
            if now > give_up:
                raise BenchError(f"{self._leases - len(gone)} keys are still there")
        return [gone[key] for key in filled.keys]

    def _report(
        self,
        section: Section,
        due: list[float],
        gone: list[float],
        samples: list[Sample],
    ) -> None:
        late = sorted(at - when for at, when in zip(gone, due, strict=True))
        calm = [sample for sample in samples if sample.sent_at < min(due)]
        during = [sample for sample in samples if min(due) <= sample.sent_at <= max(gone)]
        name = self._server.name
        last_gone_s, put_p99_ms = TARGETS.get(self._leases, (None, None))
        for label, unit, target, value in (
            ("last due to last key gone", "s", last_gone_s, max(gone) - max(due)),
            ("lateness, p50", "s", None, median(late)),
            ("lateness, p99", "s", None, late[int(0.99 * len(late))]),
            ("put before the storm, p50", "ms", None, quantile_ms(calm, 0.5)),
            ("put before the storm, p99", "ms", None, quantile_ms(calm, 0.99)),
            ("put during the storm, p50", "ms", None, quantile_ms(during, 0.5)),
            ("put during the storm, p99", "ms", put_p99_ms, quantile_ms(during, 0.99)),
            ("put during the storm, max", "ms", None, quantile_ms(during, 1.0)),
        ):
            section.figure(label, unit, target=target).add(name, value)
        for label, value in (
            ("first due to first key gone", min(gone) - min(due)),
            ("first due to last due (the burst)", max(due) - min(due)),
        ):
            section.figure(label, "s", judged=False).add(name, value)
        rate = section.figure("expired, first gone to last gone", "leases/s", higher_is_better=True)
        rate.add(name, len(gone) / (max(gone) - min(gone)))


def _watch(connection: Connection) -> None:
    """Watch the leases' keys for deletions; return once the server has said it does."""
    create = pb.WatchCreateRequest(
        key=PREFIX, range_end=PREFIX[:-1] + b"0", filters=[pb.WatchCreateRequest.NOPUT]
    )
    stream = connection.open("Watch/Watch")
    request = pb.WatchRequest(create_request=create).SerializeToString()
    connection.send(stream, b"\0" + len(request).to_bytes(4, "big") + request)
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        for arrival in connection.poll(0.1):
            if arrival.message and pb.WatchResponse.FromString(arrival.message).created:
                return
    raise BenchError("the watch was not created")
