"""What the store can refuse, and what it finds broken.

The classes carry data only; the wire text is in `server.status`.
"""

from __future__ import annotations


class MvccError(Exception):
    """A request the store refuses. State is unchanged whenever one is raised."""


class CompactedError(MvccError):
    """The revision asked for is gone (etcd's mvcc.ErrCompacted)."""

    def __init__(self, requested: int, compacted: int) -> None:
        super().__init__(f"revision {requested} is below compacted {compacted}")
        self.requested = requested
        self.compacted = compacted


class FutureRevisionError(MvccError):
    """The revision asked for has not happened yet (etcd's mvcc.ErrFutureRev)."""

    def __init__(self, requested: int, current: int) -> None:
        super().__init__(f"revision {requested} is above current {current}")
        self.requested = requested
        self.current = current


class KeyNotFoundError(MvccError):
    """A put that keeps the value or the lease of a key which does not exist."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"no key {key!r}")
        self.key = key


class CorruptRecordError(Exception):
    """A row on disk that no version of this program wrote. The process must not go on."""

    def __init__(self, column: str, key: bytes, reason: str) -> None:
        super().__init__(f"corrupt record in column {column!r}, key {key.hex()}: {reason}")
        self.column = column
        self.key = key
        self.reason = reason
