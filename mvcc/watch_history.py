"""Events of the past, read from disk for a watcher that is behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Column
from mvcc.entry import Version
from mvcc.record import event_field, frame, tombstone_event
from mvcc.revision import decode, encode
from mvcc.store import Store
from mvcc.watcher import Watcher

CATCH_UP_REVISIONS_MAX: Final = 1000  # In a response: etcd's watchBatchMaxRevs.
CATCH_UP_ROWS_MAX: Final = 2000  # Rows read in a step before others get a turn.
CATCH_UP_BYTES_MAX: Final = 32 << 20  # Of events in a response, give or take one revision.


class History:
    def __init__(
        self,
        store: Store,
        *,
        revisions_max: int = CATCH_UP_REVISIONS_MAX,
        rows_max: int = CATCH_UP_ROWS_MAX,
        bytes_max: int = CATCH_UP_BYTES_MAX,
    ) -> None:
        """The three bounds are those of one step."""
        self._store = store
        self._revisions_max = revisions_max
        self._rows_max = rows_max
        self._bytes_max = bytes_max

    def read(self, watcher: Watcher) -> list[bytes]:
        """The next events, moving the watcher's next revision behind what was read for them.

        Bounded in revisions, rows and bytes, but a revision is never split.
        """
        events: list[bytes] = []
        rows, revisions, size_bytes = 0, 0, 0
        last, matched = 0, 0  # Main revision of the last row, and of the last that it watches.
        for key, version, value in self._rows(watcher):
            if version.main != last:
                if (
                    rows >= self._rows_max
                    or revisions >= self._revisions_max
                    or size_bytes >= self._bytes_max
                ):
                    watcher.next_revision = version.main
                    return events
                last = version.main
            rows += 1
            if key not in watcher.keys:
                continue
            if version.main != matched:
                matched, revisions = version.main, revisions + 1
            if not (watcher.no_delete if version.is_tombstone else watcher.no_put):
                events.append(self._event(watcher, key, version, value))
                size_bytes += len(events[-1])
        watcher.next_revision = self._store.published + 1
        return events

    def _rows(self, watcher: Watcher) -> Iterator[tuple[bytes, Version, bytes]]:
        """Key, version and value of the rows from the watcher's next revision on.

        Those of a single key are found by the index alone; for a range all rows are walked.
        """
        store = self._store
        begin, end = watcher.next_revision, store.published
        if watcher.keys.is_single:
            key = watcher.keys.start
            entry = store.index.entries.get(key)
            for version in entry.since(begin, end) if entry is not None else ():
                yield key, version, b"" if version.is_tombstone else store.read_row(version)
        else:
            for row_key, value in store.backend.scan(
                Column.KEY, encode(begin, 0), encode(end + 1, 0)
            ):
                yield KeyValue.FromString(value).key, Version(*decode(row_key)), value

    def _event(self, watcher: Watcher, key: bytes, version: Version, value: bytes) -> bytes:
        event = tombstone_event(key, version.main) if version.is_tombstone else frame(value)
        before, earlier = None, version.main - 1
        if (
            watcher.prev_kv
            and earlier >= self._store.compact_revision
            # The key of a creation may have lived before: deleted in the same transaction.
            and (version.is_tombstone or KeyValue.FromString(value).create_revision <= earlier)
        ):
            before = self._store.frame_as_of(self._store.index.entries[key], earlier)
        return event_field(event, before)
