"""Spreading leases that would all be due at once after a promotion.

A lessor that becomes primary starts every TTL anew, so leases that were granted over hours
may end in the same second. With a cap on revokes a second, the last of them would be revoked
long after the rest, and those that end by themselves in between would queue behind. So the
surplus is put off, to three quarters of the cap a second, which leaves a quarter for leases
that end in the meantime. The rule is the second half of etcd's `Promote`
(server/lease/lessor.go), and so are its results (`TestLessorRenewExtendPileup`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WINDOW_S: Final = 1.0  # Leases due within it are counted against one second's share.


def spread(remaining: Sequence[float], *, revoke_rate: int) -> list[float]:
    """Seconds left for each lease after spreading; `remaining` ascends, the result need not.

    A window begins with its first lease and is `WINDOW_S` wide. The n-th lease in it, beyond
    the share of a second, is put off to n/share seconds after the window's begin, and the
    window's end with it: leases further on that fall into the overflow are counted as well.
    The first lease beyond the end begins a window of its own. Nothing is ever brought forward.
    """
    if len(remaining) < revoke_rate:
        return list(remaining)  # They can all be revoked within one second.
    share = max(1, revoke_rate * 3 // 4)  # etcd's comes to 0 for a rate of 1.
    spread_out: list[float] = []
    begin = remaining[0] if remaining else 0.0
    end = begin + WINDOW_S
    count = 0
    for seconds in remaining:
        if seconds > end:
            begin, end, count = seconds, seconds + WINDOW_S, 0
        count += 1
        if count <= share:
            spread_out.append(seconds)
            continue
        # Less the lease's own offset: one that is due n seconds into the window is put off by
        # that much less than one that is due at its begin.
        delay = count / share - (seconds - begin)
        end = begin + delay
        spread_out.append(seconds + delay)
    return spread_out
