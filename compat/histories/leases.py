"""No lease is early; how late the latest was; what is gone stays gone.

**Early.** A renewal (or grant) that was answered happened after its request began, so the lease
lives at least until `invoke` + TTL, by whatever instant the server counts from: the reply's, as
Tenure does, or the request's arrival. The same holds of the time that a TimeToLive says is left.
The lease is gone at the latest when somebody was shown that it is. If that is before: early. Both
ends err on the server's side, so a lease that is called early was. Counted from the reply's
arrival, a server would be accused of the time for which its reply was on the way.

**Late.** The other way round: the server may count from any instant up to `done`, so the last
promise ends at `done` + TTL. What it took from there until somebody was shown the end, less the
time for which the server was stopped or down, is the lateness; it includes the event's way here. A
renewal without an answer may have come at any time, so its lease is not looked at.

A restart gives every lease its full TTL anew (etcd, unless it makes checkpoints), or leaves it what
remained: `keeps_remaining` says which. In the first case the TTL counts from when the server was
ready again at the latest; in the second it goes on where it was, and the time without a server may
come on top of it. Never early holds in both.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from compat.histories.linearizability import Replay
from compat.histories.record import LEASE_NOT_FOUND, Call, History, Kind, Put
from compat.histories.timeline import Timeline
from compat.histories.violation import EARLY, LATE, LEASE, Violation


@dataclass
class Life:
    """What is known of one lease."""

    lease: int
    promises: list[Call] = field(default_factory=list)  # Grants and renewals with an answer.
    assured: list[Call] = field(
        default_factory=list
    )  # The same, and what it was said to have left.
    has_lost_renewal: bool = False
    revoked_from: float = math.inf  # When the first revoke began, whatever became of it.
    gone_by: float = math.inf  # The first instant at which somebody knew that it was gone.
    gone_revision: int = 0
    alive_at: float = -math.inf  # The last instant at or after which it was there.

    @property
    def is_granted(self) -> bool:
        return any(call.kind is Kind.GRANT for call in self.promises)

    def gone(self, at: float, revision: int = 0) -> None:
        if at < self.gone_by:
            self.gone_by = at
        if revision:
            self.gone_revision = revision


class Leases:
    """`check` gives the violations; `lateness_s` is the largest that could be measured."""

    def __init__(
        self,
        history: History,
        replay: Replay,
        timeline: Timeline,
        *,
        keeps_remaining: bool,
        late_max_s: float = math.inf,
    ) -> None:
        self.lateness_s = -math.inf
        self.expiries = 0  # Whose lateness was measured.
        self._history = history
        self._keeps_remaining = keeps_remaining
        self._late_max_s = late_max_s
        self._lives: defaultdict[int, Life] = defaultdict(lambda: Life(0))
        for call in history.calls:
            if call.kind is Kind.KV:
                self._note_puts(call)
            else:
                self._note(call)
        for revision, lease in replay.ends.items():
            self._life(lease).gone(timeline.seen_by(revision), revision)
        for life in self._lives.values():
            if life.lease not in history.leases:
                life.gone(history.listed)

    def check(self) -> Iterator[Violation]:
        for life in self._lives.values():
            if life.is_granted:
                yield from self._check_life(life)
        yield from self._check_revokes()

    def _life(self, lease: int) -> Life:
        life = self._lives[lease]
        life.lease = lease
        return life

    def _note(self, call: Call) -> None:
        life = self._life(call.lease)
        match call.kind:
            case Kind.REVOKE:
                if call.refusal == LEASE_NOT_FOUND:
                    life.gone(call.done)
                elif not call.refusal:
                    life.revoked_from = min(life.revoked_from, call.invoke)
                    life.gone(call.done)
            case Kind.GRANT | Kind.RENEW if call.is_unknown:
                life.has_lost_renewal = True
            case Kind.GRANT | Kind.RENEW if call.is_answered and call.ttl > 0:
                life.promises.append(call)
                life.assured.append(call)
                life.alive_at = max(life.alive_at, call.invoke)
            case Kind.RENEW | Kind.TTL if call.is_answered and call.ttl <= 0:
                if call.kind is Kind.RENEW or call.ttl < 0:  # A TTL of 0 is nearly gone.
                    life.gone(call.done)
            case Kind.TTL if call.is_answered:
                life.assured.append(call)
                life.alive_at = max(life.alive_at, call.invoke)

    def _note_puts(self, call: Call) -> None:
        leases = {each.lease for each in call.branch if isinstance(each, Put) and each.lease}
        for lease in leases:
            if call.is_answered:
                life = self._life(lease)
                life.alive_at = max(life.alive_at, call.invoke)
            elif call.refusal == LEASE_NOT_FOUND and len(leases) == 1:
                self._life(lease).gone(call.done)

    def _check_life(self, life: Life) -> Iterator[Violation]:
        if life.alive_at > life.gone_by:
            yield Violation(
                LEASE,
                f"lease {life.lease:x} was gone by {life.gone_by:.4f}, and there again after"
                f" {life.alive_at:.4f}",
                lease=life.lease,
            )
        if life.revoked_from < life.gone_by:
            return
        for call in life.assured:
            if life.gone_by < call.invoke + call.ttl:
                yield Violation(
                    EARLY,
                    f"lease {life.lease:x} was promised {call.ttl} s at {call.invoke:.4f} and was"
                    f" gone by {life.gone_by:.4f}, after {life.gone_by - call.invoke:.4f} s",
                    life.gone_revision,
                    life.gone_by,
                    life.lease,
                )
                return
        yield from self._measure(life)

    def _measure(self, life: Life) -> Iterator[Violation]:
        """Lateness of one that went by itself, or is still there."""
        if life.has_lost_renewal or not (life.gone_revision or life.lease in self._history.leases):
            return  # When a lease without keys went, nobody is told.
        gone = life.gone_by if life.gone_revision else self._history.ended
        due = max(self._due(call, gone) for call in life.promises)
        late = gone - due
        for outage in self._history.outages:
            late -= max(0.0, min(gone, outage.end) - max(due, outage.begin))
        self.expiries += bool(life.gone_revision)
        self.lateness_s = max(self.lateness_s, late)
        if late > self._late_max_s:
            yield Violation(
                LATE,
                f"lease {life.lease:x} was due by {due:.4f} and gone by {gone:.4f}: {late:.3f} s of"
                " served time",
                life.gone_revision,
                gone,
                life.lease,
            )

    def _due(self, promise: Call, gone: float) -> float:
        """By when the lease may last because of this promise."""
        due = promise.done + promise.ttl
        for outage in sorted(self._history.outages):
            if not outage.is_restart or outage.end <= promise.done or outage.begin >= gone:
                continue
            if not self._keeps_remaining:
                due = max(due, outage.end + promise.ttl)
            elif outage.begin < due:
                due += outage.end - max(outage.begin, promise.done)
        return due

    def _check_revokes(self) -> Iterator[Violation]:
        """After the revision that answers a revoke no key has that lease."""
        history = self._history
        revoked = {
            call.lease: call.revision
            for call in history.calls
            if call.kind is Kind.REVOKE and call.is_answered
        }
        if not revoked:
            return
        holders = {key: kv.lease for key, kv in history.base.items() if kv.lease in revoked}
        held: dict[int, set[bytes]] = defaultdict(set)
        for key, lease in holders.items():
            held[lease].add(key)
        ending = sorted((revision, lease) for lease, revision in revoked.items())
        index = 0
        for revision in range(history.base_revision, history.last_revision + 1):
            for event in history.log.get(revision, ()):
                old = holders.pop(event.key, 0)
                if old:
                    held[old].discard(event.key)
                if event.kv is not None and event.kv.lease in revoked:
                    holders[event.key] = event.kv.lease
                    held[event.kv.lease].add(event.key)
                    if revision > revoked[event.kv.lease]:
                        yield Violation(
                            LEASE,
                            f"{event.key!r} was put with lease {event.kv.lease:x} after its revoke",
                            revision,
                            lease=event.kv.lease,
                        )
            while index < len(ending) and ending[index][0] <= revision:
                _, lease = ending[index]
                index += 1
                if held[lease]:
                    yield Violation(
                        LEASE,
                        f"lease {lease:x} was revoked at {revision}, and"
                        f" {sorted(held[lease])} had it still",
                        revision,
                        lease=lease,
                    )
