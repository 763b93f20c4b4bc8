"""Latency of one kind of call at a steady pace, from a process of its own: `python -m bench.probe`.

Calls leave by the clock and not by the last reply, so a stall of the server is met by every call
that falls into it, as it would be by clients who know nothing of each other. Times are the
kernel's monotonic clock, the same in all processes.
"""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.servers import ROOT
from bench.wire import Connection, frame_message
from etcdpb import rpc_pb2 as pb

RATE_HZ: Final = 1000
DRAIN_S: Final = 30.0  # How long the last replies are waited for.
PUT, KEEPALIVE = "put", "keepalive"
PUT_OR_REFUSED: Final = "put-or-refused"  # A refused call has taken for ever, and is no error.


class Sample(NamedTuple):
    sent_at: float  # Monotonic seconds.
    took_s: float


class Probe:
    """A probing process, from construction to `finish`."""

    def __init__(self, kind: str, port: int, lease_id: int = 0) -> None:
        """Probe with puts of one key, or with keepalives of `lease_id` on one long stream."""
        command = (sys.executable, "-m", "bench.probe", kind, str(port), str(lease_id))
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def finish(self) -> list[Sample]:
        """Stop it; return what it measured, in order of the replies.

        Raises:
            RuntimeError: a call of it was refused or never answered.
        """
        output, _ = self._process.communicate(timeout=DRAIN_S + 10)  # Closes its stdin.
        if self._process.returncode != 0:
            raise RuntimeError("the prober failed; its reason is above")
        return [Sample(*pair) for pair in json.loads(output)]

    def abandon(self) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def quantile_ms(samples: Sequence[Sample], fraction: float) -> float:
    """The smallest latency that at least `fraction` of the samples do not exceed."""
    if not samples:
        return math.nan
    ordered = sorted(sample.took_s for sample in samples)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)] * 1e3


class _Lane:
    """Calls under way: puts are streams of their own, keepalives share one and come in order."""

    def __init__(self, kind: str, connection: Connection, lease_id: int) -> None:
        self._connection = connection
        self._shared = connection.open("Lease/LeaseKeepAlive") if kind == KEEPALIVE else None
        renewal = pb.LeaseKeepAliveRequest(ID=lease_id)
        put = pb.PutRequest(key=b"bench/probe", value=b"v" * 64)
        self._body = frame_message((renewal if self._shared else put).SerializeToString())
        self._may_be_refused = kind == PUT_OR_REFUSED
        self._sent: dict[int, deque[float]] = {}
        self.samples: list[Sample] = []

    @property
    def unanswered(self) -> int:
        return sum(map(len, self._sent.values()))

    def send(self) -> None:
        stream = self._shared or self._connection.open("KV/Put")
        self._sent.setdefault(stream, deque()).append(time.monotonic())
        self._connection.send(stream, self._body, end=not self._shared)

    def take(self, timeout_s: float) -> None:
        for arrival in self._connection.poll(timeout_s):
            if arrival.message is None:
                if arrival.stream not in self._sent:
                    continue
                if not self._may_be_refused:
                    raise RuntimeError("a probing call was refused")
                self.samples.append(Sample(self._sent.pop(arrival.stream).popleft(), math.inf))
                continue
            if self._shared and not pb.LeaseKeepAliveResponse.FromString(arrival.message).TTL:
                raise RuntimeError("the probed lease is gone")
            waiting = self._sent[arrival.stream]
            began = waiting.popleft()
            if not waiting:
                del self._sent[arrival.stream]
            self.samples.append(Sample(began, time.monotonic() - began))


def probe(kind: str, port: int, lease_id: int) -> list[Sample]:
    """Send at `RATE_HZ` until stdin is closed, then wait for the last replies."""
    with Connection(port) as connection:
        lane = _Lane(kind, connection, lease_id)
        next_at = time.monotonic()
        while not select.select([sys.stdin], [], [], 0)[0]:
            while next_at <= time.monotonic():
                lane.send()
                next_at += 1 / RATE_HZ
            lane.take(next_at - time.monotonic())
        give_up = time.monotonic() + DRAIN_S
        while lane.unanswered and time.monotonic() < give_up:
            lane.take(0.01)
        if lane.unanswered:
            raise RuntimeError(f"{lane.unanswered} calls were never answered")
    return lane.samples


if __name__ == "__main__":
    json.dump(probe(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
