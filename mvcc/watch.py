"""Who watches which keys, and from which revision each still has to hear.

A watcher is *synced* or *behind*. Invariant: every watcher has been offered all of its events
below `next_revision`, and none from there on; a synced watcher's `next_revision` is at most
`published` + 1, with no event of its own in between.

  synced   `publish` offers it each revision's events as they become durable: one response per
           revision, never split. When its sink takes no more it falls behind, at that revision.
  behind   the sink's owner calls `catch_up`, which reads the next events from history. Once it
           has reached the published revision the watcher is synced again, in the same call: no
           event can come between.

So a slow reader costs memory for no more than its sink holds, and never loses, repeats or
reorders an event. If what it still has to hear is compacted first, it is told so, once.

Exact keys are found through a dict, and so are prefixes, by a look for each length that one has;
other ranges are walked, one test for each distinct range. So what a put costs does not grow with
the watchers of other keys and prefixes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple, Protocol

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Column
from mvcc.entry import Version
from mvcc.keyrange import KeyRange
from mvcc.record import Change, Changes, event_field, frame, tombstone_event
from mvcc.revision import decode, encode
from mvcc.store import Store

CATCH_UP_REVISIONS_MAX: Final = 1000  # In a response: etcd's watchBatchMaxRevs.
CATCH_UP_ROWS_MAX: Final = 2000  # Rows read in a step before others get a turn.
CATCH_UP_BYTES_MAX: Final = 32 << 20  # Of events in a response, give or take one revision.


class Sink(Protocol):
    """Where a watcher's events go."""

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:
        """Take one revision's events, or return False and take nothing."""
        ...


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


class Caught(NamedTuple):
    """One step of catching up. Exactly one of three: events, a compaction, or nothing yet."""

    events: list[bytes]
    compact_revision: int  # Above 0: what the watcher needed next is compacted.


class WatchHub:
    def __init__(
        self,
        store: Store,
        *,
        revisions_max: int = CATCH_UP_REVISIONS_MAX,
        rows_max: int = CATCH_UP_ROWS_MAX,
        bytes_max: int = CATCH_UP_BYTES_MAX,
    ) -> None:
        """The three bounds are those of one step of catching up."""
        self._store = store
        self._revisions_max = revisions_max
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._exact: dict[bytes, dict[Watcher, None]] = {}  # Dicts: ordered sets.
        self._prefixes: dict[bytes, dict[Watcher, None]] = {}
        self._lengths: Counter[int] = Counter()  # Of the prefixes.
        self._ranges: dict[KeyRange, dict[Watcher, None]] = {}
        self._watchers: dict[Watcher, None] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def behind_count(self) -> int:
        return sum(not watcher.is_synced for watcher in self._watchers)

    def add(self, watcher: Watcher) -> None:
        """Register. It is synced at once unless it asks for a revision that is published."""
        self._watchers[watcher] = None
        if watcher.start_revision == 0:
            watcher.next_revision = self._store.published + 1
        if watcher.next_revision > self._store.published:
            self._sync(watcher)

    def remove(self, watcher: Watcher) -> None:
        del self._watchers[watcher]
        self._unsync(watcher)

    def progress_revision(self, watchers: Iterable[Watcher]) -> int | None:
        """A revision up to which all `watchers` have been offered everything, if there is one.

        None while one of them is behind, or waits for a revision that has not happened
        (etcd 3.5.8 and 3.5.22: no progress is reported then).
        """
        published = self._store.published
        for watcher in watchers:
            if not watcher.is_synced or watcher.start_revision > published:
                return None
        return published

    def publish(self, transactions: list[tuple[int, Changes]]) -> None:
        """Offer what became durable to all synced watchers, one revision after the other."""
        if not (self._exact or self._prefixes or self._ranges):
            return
        for revision, changes in transactions:
            if isinstance(changes, tuple):
                self._publish_one(revision, Change(*changes))
                continue
            if len(changes) == 1:
                self._publish_one(revision, changes[0])
                continue
            wanted: dict[Watcher, list[bytes]] = {}
            for change in changes:
                for watcher in chain.from_iterable(self._groups_of(change.key)):
                    if change.is_delete:
                        if watcher.no_delete:
                            continue
                    elif watcher.no_put:
                        continue
                    wanted.setdefault(watcher, []).append(change.field(prev_kv=watcher.prev_kv))
            for watcher, events in wanted.items():
                if revision < watcher.next_revision:
                    continue  # It waits for a later revision.
                if watcher.sink.offer(watcher, revision, events):
                    watcher.next_revision = revision + 1
                else:
                    self._fall_behind(watcher, revision)

    def _publish_one(self, revision: int, change: Change) -> None:
        """The same for a revision of one change, as nearly all are: each watcher has one event."""
        is_delete = change.is_delete
        plain = with_prev = None  # Made when the first watcher wants them.
        refused: list[Watcher] = []
        for group in self._groups_of(change.key):
            for watcher in group:
                if (watcher.no_delete if is_delete else watcher.no_put) or (
                    revision < watcher.next_revision
                ):
                    continue
                if watcher.prev_kv:
                    events = with_prev = with_prev or [change.field(prev_kv=True)]
                else:
                    events = plain = plain or [change.field(prev_kv=False)]
                if watcher.sink.offer(watcher, revision, events):
                    watcher.next_revision = revision + 1
                else:
                    refused.append(watcher)
        for watcher in refused:
            self._fall_behind(watcher, revision)

    def _fall_behind(self, watcher: Watcher, revision: int) -> None:
        self._unsync(watcher)
        watcher.next_revision = revision

    def catch_up(self, watcher: Watcher) -> Caught:
        """Read the next events of a watcher that is behind: some, none yet, or it is synced.

        Bounded in revisions, rows and bytes, but a revision is never split. Whatever it returns
        the caller must send: it is not offered again.
        """
        assert not watcher.is_synced
        store = self._store
        if watcher.next_revision < store.compact_revision:
            watcher.is_compacted = True
            return Caught([], store.compact_revision)
        events = self._history(watcher)
        if watcher.next_revision > store.published:
            self._sync(watcher)
        return Caught(events, 0)

    def _history(self, watcher: Watcher) -> list[bytes]:
        """The next events, moving the watcher's next revision behind what was read for them."""
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

    def _groups_of(self, key: bytes) -> list[dict[Watcher, None]]:
        """The synced watchers of a key, in one or more groups; no watcher is in two."""
        exact = self._exact.get(key)
        groups = [] if exact is None else [exact]
        if self._lengths:
            prefixes = (key[:length] for length in self._lengths if length <= len(key))
            groups += [self._prefixes[prefix] for prefix in prefixes if prefix in self._prefixes]
        if self._ranges:
            groups += [group for keys, group in self._ranges.items() if key in keys]
        return groups

    def _sync(self, watcher: Watcher) -> None:
        watcher.is_synced = True
        keys = watcher.keys
        if keys.is_single:
            self._exact.setdefault(keys.start, {})[watcher] = None
        elif (prefix := keys.prefix) is not None:
            if prefix not in self._prefixes:
                self._prefixes[prefix] = {}
                self._lengths[len(prefix)] += 1
            self._prefixes[prefix][watcher] = None
        else:
            self._ranges.setdefault(keys, {})[watcher] = None

    def _unsync(self, watcher: Watcher) -> None:
        if not watcher.is_synced:
            return
        watcher.is_synced = False
        keys = watcher.keys
        if keys.is_single:
            group = self._exact[keys.start]
            del group[watcher]
            if not group:
                del self._exact[keys.start]
        elif (prefix := keys.prefix) is not None:
            group = self._prefixes[prefix]
            del group[watcher]
            if not group:
                del self._prefixes[prefix]
                self._lengths[len(prefix)] -= 1
                if not self._lengths[len(prefix)]:
                    del self._lengths[len(prefix)]
        else:
            group = self._ranges[keys]
            del group[watcher]
            if not group:
                del self._ranges[keys]

    def check_invariants(self) -> None:
        """Assert what the module docstring promises. O(n); for tests."""
        indexed = {w for group in self._exact.values() for w in group}
        indexed |= {w for group in self._prefixes.values() for w in group}
        indexed |= {w for group in self._ranges.values() for w in group}
        assert indexed == {w for w in self._watchers if w.is_synced}
        assert all(self._exact.values())
        assert all(self._prefixes.values())
        assert self._lengths == Counter(map(len, self._prefixes))
        assert all(self._ranges.values())
