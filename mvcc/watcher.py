"""One watch, and where its events go."""

from __future__ import annotations

from typing import Protocol

from mvcc.keyrange import KeyRange

# Revisions in ascending order, and what a watcher is to hear of each.
Run = list[tuple[int, list[bytes]]]


class Sink(Protocol):
    """Where a watcher's events go."""

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:
        """Take one revision's events, or return False and take nothing."""
        ...

    def offer_run(self, watcher: Watcher, run: Run) -> int:
        """`offer` of one revision after the other; returns how many it took, up to one it did not.

        `run` is the same object for all watchers that are offered the same.
        """
        for count, (revision, events) in enumerate(run):
            if not self.offer(watcher, revision, events):
                return count
        return len(run)


class Watcher:
    """One watch. Mutated only by the hub."""

    __slots__ = (
        "id",
        "is_compacted",
        "is_synced",
        "keys",
        "next_revision",
        "no_delete",
        "no_put",
        "prev_kv",
        "sink",
        "start_revision",
    )

    def __init__(
        self,
        id: int,
        keys: KeyRange,
        sink: Sink,
        *,
        start_revision: int,
        no_put: bool = False,
        no_delete: bool = False,
        prev_kv: bool = False,
    ) -> None:
        self.id = id
        self.keys = keys
        self.sink = sink
        self.start_revision = start_revision  # 0: from now on.
        self.next_revision = start_revision
        self.no_put = no_put
        self.no_delete = no_delete
        self.prev_kv = prev_kv
        self.is_synced = False
        self.is_compacted = False  # It was told; it hears nothing more.
