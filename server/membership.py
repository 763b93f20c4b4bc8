"""What was decided about the cluster by request: the member's peer URLs, and a downgrade.

There is one member, and nobody ever calls its peer URLs: they are kept since it was asked for, and
told to whoever lists the members. So is a downgrade, which waits for a version of the server that
is never started here: it is noted, told by Status, and ends when it is cancelled.

A row of the `cluster` column is one decision, as JSON, as etcd's buckets `members` and `cluster`
have theirs (server/storage/schema/membership.go). What was never decided has no row.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mvcc.backend.base import Backend, Batch, Column
from mvcc.errors import CorruptRecordError

_PEER_URLS: Final = b"peerURLs"
_DOWNGRADE: Final = b"downgrade"


class Membership:
    def __init__(self) -> None:
        self.peer_urls: tuple[str, ...] | None = None  # None: as the flags say.
        self.downgrade_target: str | None = None  # A version such as 3.5.0; None: none is on.
        self._sizes: dict[bytes, int] = {}  # Of the rows that there are, key and value.

    def recover(self, backend: Backend) -> None:
        """Read what stands on disk.

        Raises:
            CorruptRecordError
        """
        for key, value in backend.scan(Column.CLUSTER):
            self._sizes[key] = len(key) + len(value)
            try:
                decided = json.loads(value)
                if key == _PEER_URLS:
                    self.peer_urls = tuple(map(str, decided))
                elif key == _DOWNGRADE:
                    self.downgrade_target = str(decided["target-version"])
            except (ValueError, TypeError, KeyError) as error:
                raise CorruptRecordError("cluster", key, f"cannot be read: {error}") from error

    def set_peer_urls(self, urls: tuple[str, ...], batch: Batch) -> int:
        """Returns by how many bytes the rows have grown."""
        self.peer_urls = urls
        return self._put(_PEER_URLS, list(urls), batch)

    def set_downgrade(self, target: str, batch: Batch) -> int:
        """Returns by how many bytes the rows have grown."""
        self.downgrade_target = target
        return self._put(_DOWNGRADE, {"target-version": target, "enabled": True}, batch)

    def end_downgrade(self, batch: Batch) -> int:
        """Returns by how many bytes the rows have grown: a number below 0, if one was on."""
        if self.downgrade_target is None:
            return 0
        self.downgrade_target = None
        batch.delete(Column.CLUSTER, _DOWNGRADE)
        return -self._sizes.pop(_DOWNGRADE)

    def _put(self, key: bytes, decided: Any, batch: Batch) -> int:
        value = json.dumps(decided).encode()
        batch.put(Column.CLUSTER, key, value)
        before = self._sizes.get(key, 0)
        self._sizes[key] = len(key) + len(value)
        return self._sizes[key] - before
