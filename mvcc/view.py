"""Range: what the store shows of a stretch of keys at one revision.

Rules and their order are those of etcd's server/etcdserver/txn/range.go and
server/storage/mvcc/kvstore_txn.go. The common case, live keys in key order, joins stored
frames and parses nothing. Nor does sorting and filtering by what the index knows of each key's
newest version; only values, and versions of the past, are parsed for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Final, NamedTuple

from etcdpb.rpc_pb2 import RangeRequest
from mvcc.entry import Entry
from mvcc.keyrange import KeyRange
from mvcc.record import frame, parse
from mvcc.store import Store

LIMIT_MAX: Final = sys.maxsize - 1  # One row more than the limit is looked for.


class Parsed(NamedTuple):
    """What rows are sorted and filtered by, under the names that an `Entry` has for it."""

    frame: bytes
    version: int
    create_revision: int
    mod_revision: int
    value: bytes


Row = Entry | Parsed

# By target, but for the key: rows come in its order.
SORT_KEY: Final[dict[int, Callable[[Row], object]]] = {
    RangeRequest.VERSION: attrgetter("version"),
    RangeRequest.CREATE: attrgetter("create_revision"),
    RangeRequest.MOD: attrgetter("mod_revision"),
    RangeRequest.VALUE: attrgetter("value"),
}


class RangeResult(NamedTuple):
    """`frames` is ready to be joined into a RangeResponse."""

    frames: list[bytes]
    total: int  # Live keys in the range at that revision: RangeResponse.count.
    more: bool


def range_keys(store: Store, request: RangeRequest) -> RangeResult:
    """Answer a Range outside a transaction: a revision of 0 or below is the newest.

    Raises:
        FutureRevisionError, CompactedError
    """
    revision = request.revision
    if revision <= 0:
        return _range(store, request, None)
    store.check_revision(revision)
    return _range(store, request, revision)


def range_in_txn(store: Store, request: RangeRequest) -> RangeResult:
    """Answer a Range inside a transaction, whose revision `check_txn_range` has accepted."""
    return _range(store, request, request.revision if request.revision > 0 else None)


def check_txn_range(store: Store, request: RangeRequest) -> None:
    """Refuse what a Range inside a transaction may not ask.

    Unlike a plain Range, a negative revision is compared literally, so it is compacted on any
    store that ever was (applyRange in server/etcdserver/txn/txn.go); before that, -1 passes and
    reads the present.

    Raises:
        FutureRevisionError, CompactedError
    """
    if request.revision != 0:
        store.check_revision(request.revision)


def _range(store: Store, request: RangeRequest, revision: int | None) -> RangeResult:
    """`revision` None is the present, as the transactions of the open batch left it."""
    keys = KeyRange.from_wire(request.key, request.range_end)
    if request.count_only:
        return RangeResult([], _count(store, keys, revision), more=False)
    order, target = request.sort_order, request.sort_target
    limit = request.limit if 0 < request.limit < LIMIT_MAX else 0
    if target == RangeRequest.KEY and not has_filters(request):
        frames = _frames(
            store, keys, revision, limit + 1 if limit else 0, order == RangeRequest.DESCEND
        )
        count = _count(store, keys, revision) if limit and len(frames) > limit else len(frames)
    else:
        # With neither an order nor a filter etcd fetches limit + 1 keys *in key order* and sorts
        # those, though the target asks for another order. Clients see it, so we do it too.
        rows = _rows(store, keys, revision, with_values=target == RangeRequest.VALUE)
        count = len(rows)
        if has_filters(request):
            rows = [row for row in rows if passes(row, request)]
        elif limit and order == RangeRequest.NONE:
            del rows[limit + 1 :]
        if target in SORT_KEY:
            rows.sort(key=SORT_KEY[target], reverse=order == RangeRequest.DESCEND)  # type: ignore[arg-type]  # the keys of one target compare
        elif order == RangeRequest.DESCEND:
            rows.reverse()
        # One more than is asked for tells that there are more.
        frames = [row.frame for row in (rows[: limit + 1] if limit else rows)]  # type: ignore[misc]  # a live key has one
    more = bool(limit) and len(frames) > limit
    if more:
        del frames[limit:]
    if request.keys_only:
        frames = [without_value(framed) for framed in frames]
    return RangeResult(frames, count, more)


def _count(store: Store, keys: KeyRange, revision: int | None) -> int:
    if revision is None:
        return store.index.count(keys)
    entries = store.index.entries
    versions = (entries[key].as_of(revision) for key in store.index.keys_ever(keys))
    return sum(version is not None and not version.is_tombstone for version in versions)


def _frames(
    store: Store, keys: KeyRange, revision: int | None, limit: int, reverse: bool = False
) -> list[bytes]:
    """Frames of the keys in `keys`, in key order or its reverse, at most `limit` if above 0."""
    entries = store.index.entries
    if revision is None:
        if keys.is_single:
            entry = entries.get(keys.start)
            return [] if entry is None or entry.frame is None else [entry.frame]
        found = store.index.keys(keys, limit, reverse=reverse)
        return [entries[key].frame for key in found]  # type: ignore[misc]  # a live key has one
    frames = []
    ever = store.index.keys_ever(keys)
    for key in reversed(ever) if reverse else ever:
        framed = store.frame_as_of(entries[key], revision)
        if framed is not None:
            frames.append(framed)
            if len(frames) == limit:
                break
    return frames


def _rows(store: Store, keys: KeyRange, revision: int | None, *, with_values: bool) -> list[Row]:
    """The same in key order, with what each key's version is sorted and filtered by."""
    if revision is None and not with_values:
        entries = store.index.entries
        return [entries[key] for key in store.index.keys(keys, 0)]
    rows: list[Row] = []
    for framed in _frames(store, keys, revision, 0):
        kv = parse(framed)
        rows.append(Parsed(framed, kv.version, kv.create_revision, kv.mod_revision, kv.value))
    return rows


def has_filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def passes(kv: Row, request: RangeRequest) -> bool:
    """Each bound that is not 0 counts, a negative one too."""
    low, high = request.min_mod_revision, request.max_mod_revision
    if (low and kv.mod_revision < low) or (high and kv.mod_revision > high):
        return False
    low, high = request.min_create_revision, request.max_create_revision
    return not ((low and kv.create_revision < low) or (high and kv.create_revision > high))


def without_value(framed: bytes) -> bytes:
    kv = parse(framed)
    kv.ClearField("value")
    return frame(kv.SerializeToString())
