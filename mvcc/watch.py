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
from collections.abc import Iterable
from itertools import chain
from typing import Final, NamedTuple

from mvcc.keyrange import KeyRange
from mvcc.record import Change, Changes, LonePut, event_field
from mvcc.store import Store
from mvcc.watch_history import History
from mvcc.watcher import Run, Watcher

Lone = Change | LonePut  # All that a transaction did.

RUN_REVISIONS_MAX: Final = 16  # Of one key in a row, offered as one.


class Caught(NamedTuple):
    """One step of catching up. Exactly one of three: events, a compaction, or nothing yet."""

    events: list[bytes]
    compact_revision: int  # Above 0: what the watcher needed next is compacted.


class WatchHub:
    def __init__(self, store: Store, history: History | None = None) -> None:
        """`history` if its bounds are not to be the usual ones."""
        self._store = store
        self._history = History(store) if history is None else history
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
        run: list[tuple[int, Lone]] = []  # In a row, of one change each and all of one key.
        run_key = b""
        exact = None if self._prefixes or self._ranges else self._exact
        for revision, changes in transactions:
            if isinstance(changes, tuple):
                key = changes[0]
                if exact is not None and key not in exact:
                    continue  # Nobody watches it.
                lone: Lone = changes
            elif len(changes) == 1:
                lone = changes[0]
                key = lone.key
            else:
                self._publish_run(run)
                run = []
                self._publish_many(revision, changes)
                continue
            if run and (key != run_key or len(run) == RUN_REVISIONS_MAX):
                self._publish_run(run)
                run = []
            run_key = key
            run.append((revision, lone))
        self._publish_run(run)

    def _publish_many(self, revision: int, changes: list[Change]) -> None:
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

    def _publish_one(self, revision: int, lone: Lone) -> None:
        """The same for a revision of one change, as nearly all are: each watcher has one event."""
        if isinstance(lone, tuple):
            key, event, before, is_delete, _, _ = lone
        else:
            key, event, before, is_delete = lone.key, lone.event, lone.before, lone.is_delete
        plain = with_prev = None  # Made when the first watcher wants them.
        refused: list[Watcher] = []
        for group in self._groups_of(key):
            for watcher in group:
                if (watcher.no_delete if is_delete else watcher.no_put) or (
                    revision < watcher.next_revision
                ):
                    continue
                if watcher.prev_kv:
                    events = with_prev = with_prev or [event_field(event, before)]
                else:
                    events = plain = plain or [event_field(event, None)]
                if watcher.sink.offer(watcher, revision, events):
                    watcher.next_revision = revision + 1
                else:
                    refused.append(watcher)
        for watcher in refused:
            self._fall_behind(watcher, revision)

    def _publish_run(self, lone: list[tuple[int, Lone]]) -> None:
        """The same for several revisions of one key, which thousands may watch."""
        if len(lone) < 2:
            for revision, each in lone:
                self._publish_one(revision, each)
            return
        run = [(main, Change(*each) if isinstance(each, tuple) else each) for main, each in lone]
        offers: dict[tuple[bool, bool, bool], Run] = {}  # One for all watchers that want the same.
        refused: list[tuple[Watcher, int]] = []
        for group in self._groups_of(run[0][1].key):
            for watcher in group:
                wants = watcher.prev_kv, watcher.no_put, watcher.no_delete
                offer = offers.get(wants)
                if offer is None:
                    offer = offers[wants] = _offer_to(watcher, run)
                if offer and watcher.next_revision > offer[0][0]:
                    offer = [each for each in offer if each[0] >= watcher.next_revision]
                if not offer:
                    continue
                taken = watcher.sink.offer_run(watcher, offer)
                if taken == len(offer):
                    watcher.next_revision = offer[-1][0] + 1
                else:
                    refused.append((watcher, offer[taken][0]))
        for watcher, revision in refused:
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
        events = self._history.read(watcher)
        if watcher.next_revision > store.published:
            self._sync(watcher)
        return Caught(events, 0)

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


def _offer_to(watcher: Watcher, run: list[tuple[int, Change]]) -> Run:
    """What of a run the watcher wants to hear."""
    return [
        (revision, [change.field(prev_kv=watcher.prev_kv)])
        for revision, change in run
        if not (watcher.no_delete if change.is_delete else watcher.no_put)
    ]
