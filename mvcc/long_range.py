"""A Range of very many keys, in slices: the same answer as `mvcc.view` gives in one piece.

The store must not change before the last slice.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final

from etcdpb.rpc_pb2 import RangeRequest
from mvcc.keyrange import KeyRange
from mvcc.record import parse
from mvcc.slicing import SLICE_COSTLY, SLICE_KEYS, chunks, merged
from mvcc.store import Store
from mvcc.view import (
    LIMIT_MAX,
    SORT_KEY,
    Parsed,
    RangeResult,
    Row,
    has_filters,
    passes,
    without_value,
)

_IN_KEY_ORDER: Final = RangeRequest.KEY


def is_long(store: Store, request: RangeRequest) -> bool:
    """Whether it looks at more than one slice of keys. Costs two bisections, if that."""
    index = store.index
    if not request.range_end or len(index.entries) <= SLICE_COSTLY:
        return False
    keys = KeyRange.from_wire(request.key, request.range_end)
    if request.revision > 0:
        return index.count_ever(keys) > SLICE_COSTLY
    if request.count_only:
        return False
    size = _slice_keys(request)
    if 0 < request.limit < size and _is_in_key_order(request):
        return False
    return index.count(keys) > size


def range_in_slices(store: Store, request: RangeRequest) -> Generator[None, None, RangeResult]:
    """Answer a Range; a revision of 0 or below is the newest.

    Raises:
        FutureRevisionError, CompactedError
    """
    if request.revision > 0:
        store.check_revision(request.revision)
    if request.count_only:
        return RangeResult([], (yield from _count(store, request)), more=False)
    limit = request.limit if 0 < request.limit < LIMIT_MAX else 0
    if _is_in_key_order(request):
        frames, count = yield from _in_key_order(store, request, limit)
    else:
        frames, count = yield from _sorted(store, request, limit)
    more = bool(limit) and len(frames) > limit
    if more:
        del frames[limit:]
    if request.keys_only:
        whole, frames = frames, []
        for chunk in chunks(whole, SLICE_COSTLY):
            frames += map(without_value, chunk)
            yield
    return RangeResult(frames, count, more)


def _is_in_key_order(request: RangeRequest) -> bool:
    return request.sort_target == _IN_KEY_ORDER and not has_filters(request)


def _slice_keys(request: RangeRequest) -> int:
    costly = (
        request.revision > 0
        or request.keys_only
        or (request.sort_target == RangeRequest.VALUE and not request.count_only)
    )
    return SLICE_COSTLY if costly else SLICE_KEYS


def _chunks(store: Store, request: RangeRequest, *, reverse: bool = False) -> Iterator[list[bytes]]:
    """Of the keys that it looks at: for the present those that are live, else all there were."""
    keys = KeyRange.from_wire(request.key, request.range_end)
    index = store.index
    found: Iterable[bytes]
    if request.revision > 0:
        ever = index.keys_ever(keys)
        found = reversed(ever) if reverse else ever
    else:
        found = index.walk(keys, reverse=reverse)
    return chunks(found, _slice_keys(request))


def _frames(store: Store, request: RangeRequest, keys: list[bytes]) -> list[bytes]:
    """Of those of `keys` that are there at the revision."""
    entries = store.index.entries
    if request.revision <= 0:
        return [entries[key].frame for key in keys]  # type: ignore[misc]  # a live key has one
    found = (store.frame_as_of(entries[key], request.revision) for key in keys)
    return [framed for framed in found if framed is not None]


def _in_key_order(
    store: Store, request: RangeRequest, limit: int
) -> Generator[None, None, tuple[list[bytes], int]]:
    """Frames, one more than the limit if there are more; and how many keys there are."""
    frames: list[bytes] = []
    for keys in _chunks(store, request, reverse=request.sort_order == RangeRequest.DESCEND):
        frames += _frames(store, request, keys)
        if 0 < limit < len(frames):
            del frames[limit + 1 :]
            return frames, (yield from _count(store, request))
        yield
    return frames, len(frames)


def _sorted(
    store: Store, request: RangeRequest, limit: int
) -> Generator[None, None, tuple[list[bytes], int]]:
    """The same by another order, or of the keys that pass the filters."""
    order, target, filters = request.sort_order, request.sort_target, has_filters(request)
    reverse = order == RangeRequest.DESCEND
    # As `view` says: the first in key order are what is sorted then.
    most = limit + 1 if limit and not filters and order == RangeRequest.NONE else 0
    runs: list[list[Row]] = []
    count = kept = 0
    for keys in _chunks(store, request):
        rows = _rows(store, request, keys)
        count += len(rows)
        if filters:
            rows = [row for row in rows if passes(row, request)]
        elif most:
            del rows[max(0, most - kept) :]
        kept += len(rows)
        if target in SORT_KEY:
            rows.sort(key=SORT_KEY[target], reverse=reverse)  # type: ignore[arg-type]  # the keys of one target compare
        runs.append(rows)
        yield
    if target in SORT_KEY:
        found = yield from merged(runs, SORT_KEY[target], reverse=reverse)
    else:
        found = [row for run in runs for row in run]
        if reverse:
            found.reverse()
    wanted = found[: limit + 1] if limit else found
    return [row.frame for row in wanted], count  # type: ignore[misc]  # a live key has one


def _rows(store: Store, request: RangeRequest, keys: list[bytes]) -> list[Row]:
    if request.revision <= 0 and request.sort_target != RangeRequest.VALUE:
        entries = store.index.entries
        return [entries[key] for key in keys]
    rows: list[Row] = []
    for framed in _frames(store, request, keys):
        kv = parse(framed)
        rows.append(Parsed(framed, kv.version, kv.create_revision, kv.mod_revision, kv.value))
    return rows


def _count(store: Store, request: RangeRequest) -> Generator[None, None, int]:
    revision, entries = request.revision, store.index.entries
    if revision <= 0:
        return store.index.count(KeyRange.from_wire(request.key, request.range_end))
    total = 0
    for keys in _chunks(store, request):
        versions = (entries[key].as_of(revision) for key in keys)
        total += sum(each is not None and not each.is_tombstone for each in versions)
        yield
    return total
