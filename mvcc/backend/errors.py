"""What can go wrong below the store, grouped by when it can.

Opening: `NewerFormatError`, `BackendLockedError`, `BackendCorruptError`, `CorruptMarkError`.
Just before that, and after recovery: `StoreShortError`. While running: `BackendIOError`,
`BackendCorruptError`.
Never, unless our own code is wrong: `BackendClosedError`, `SpentBatchError`.

None of them is retried. After a failed write the log's tail is unknown, so the process stops
and recovery decides what was kept.
"""

from __future__ import annotations

from pathlib import Path


class BackendError(Exception):
    """Anything that storage refuses or fails to do."""


class NewerFormatError(BackendError):
    """The store holds something this version does not know, so it may not touch any of it."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path} was written by a newer version: it holds {found}")
        self.path = path
        self.found = found


class BackendLockedError(BackendError):
    """Another process, or another backend of this one, has the directory open."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is in use by another process")
        self.path = path


class BackendCorruptError(BackendError):
    """Bytes on disk are not those that were written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is corrupt: {reason}")
        self.path = path
        self.reason = reason


class BackendIOError(BackendError):
    """The operating system refused: disk full, file too large, a failing device.

    RocksDB refuses every later write too, so nothing can be acknowledged after a gap.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class BackendClosedError(BackendError):
    """A backend, or a scan of one, was used after `close`."""

    def __init__(self) -> None:
        super().__init__("the backend is closed")


class SpentBatchError(BackendError):
    """A batch was written a second time."""

    def __init__(self) -> None:
        super().__init__("the batch has been written already")


class CorruptMarkError(BackendError):
    """The mark file is there, but neither of its slots can be believed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is not a valid mark: {reason}")
        self.path = path
        self.reason = reason


class StoreShortError(BackendError):
    """The store holds less than was acknowledged: rows have been lost.

    `recovered_revision` is None where only the sequence is known.
    """

    def __init__(
        self,
        path: Path,
        *,
        recovered_revision: int | None,
        recovered_sequence: int,
        acknowledged_revision: int,
        acknowledged_sequence: int,
    ) -> None:
        end = f"sequence {recovered_sequence}"
        if recovered_revision is not None:
            end = f"revision {recovered_revision} ({end})"
        super().__init__(
            f"the store ends at {end}, but "
            f"{path} says that revision {acknowledged_revision} (sequence {acknowledged_sequence}) "
            "was acknowledged: data has been lost"
        )
        self.path = path
        self.recovered_revision = recovered_revision
        self.recovered_sequence = recovered_sequence
        self.acknowledged_revision = acknowledged_revision
        self.acknowledged_sequence = acknowledged_sequence
