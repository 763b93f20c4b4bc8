"""How the lessor deletes keys without knowing the store that holds them.

etcd draws the same seam (`TxnDelete`, `RangeDeleter` in server/lease/lessor.go). The write
transaction of `mvcc` fits `TxnDelete` by its shape alone; neither package imports the other.
"""

from __future__ import annotations

from typing import Protocol


class TxnDelete(Protocol):
    """A write transaction that only deletes. All its deletes share one revision."""

    def delete_range(self, key: bytes, end: bytes | None) -> tuple[int, int]:
        """Delete `key`, or `[key, end)` if `end` is given: (keys deleted, revision).

        The lessor always passes None. The transaction may call `Lessor.detach` for what it
        deletes, as etcd's does, or leave that to the lessor.
        """
        ...

    def end(self) -> None:
        """Complete the transaction; the deletes are then in the caller's batch."""
        ...


class RangeDeleter(Protocol):
    """Opens the transaction of one revoke."""

    def __call__(self) -> TxnDelete: ...
