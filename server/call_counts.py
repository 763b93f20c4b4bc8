"""How the calls of one method went: plain numbers, added to by whatever transport serves them.

Counting is a handful of additions a call; nothing is formatted, locked or looked up by name. What
can be told from the rest is not counted: of a unary method, each call that began was one message
received, and each that ended well was one message sent.

    calls under way = started - ok - sum(failed)
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

CODES: Final = 17  # gRPC's status codes, 0 to 16.
# Of go-grpc-prometheus, which has them from the Prometheus client's defaults.
HANDLING_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Handling:
    """How long the calls of one method took, by bucket; the last is for all above the bounds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(HANDLING_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, took_s: float) -> None:
        self.counts[bisect_left(HANDLING_BOUNDS_S, took_s)] += 1
        self.sum_s += took_s


class CallCounts:
    """Of one method since the start. Calls that never reached the service are not in it."""

    __slots__ = (
        "failed",
        "handling",
        "messages_received",
        "messages_sent",
        "ok",
        "received_bytes",
        "sent_bytes",
        "started",
    )

    def __init__(self, *, is_timed: bool = False) -> None:
        self.handling = Handling() if is_timed else None
        self.started = 0
        self.ok = 0
        self.failed = [0] * CODES  # By code; that of OK stays 0.
        self.messages_received = 0  # On streams.
        self.messages_sent = 0  # On streams.
        self.received_bytes = 0  # Of messages, without their prefixes and frames.
        self.sent_bytes = 0

    @property
    def active(self) -> int:
        """How many calls are under way."""
        return self.started - self.ok - sum(self.failed)
