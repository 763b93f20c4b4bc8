"""The conditions of a transaction, evaluated on the newest state.

Rules of etcd's server/etcdserver/txn/txn.go (applyCompare): a key that does not exist compares
as zeros, except that no comparison of its value holds; a range must hold for each of its keys,
and one without keys compares like a key that does not exist. A target member that is unset or
of another kind counts as zero or empty, as protobuf's getters give it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from etcdpb.kv_pb2 import KeyValue
from etcdpb.rpc_pb2 import Compare
from mvcc.entry import Entry
from mvcc.keyrange import KeyRange
from mvcc.record import parse
from mvcc.store import Store

_NOTHING: Final = (None,)  # What a key that does not exist compares as.


def all_hold(store: Store, compares: Iterable[Compare]) -> bool:
    """Whether all conditions hold; none at all do."""
    for compare in compares:  # noqa: SIM110  # a generator costs as much as all the rest
        if not _holds(store, compare):
            return False
    return True


def _holds(store: Store, compare: Compare) -> bool:
    if not compare.range_end:
        entry = store.index.live(compare.key)
        found = [] if entry is None else [entry]
    else:
        entries = store.index.entries
        keys = store.index.keys(KeyRange.from_wire(compare.key, compare.range_end))
        found = [entries[key] for key in keys]
    if compare.target == Compare.VALUE:
        return bool(found) and all(_compare_value(entry, compare) for entry in found)
    for entry in found or _NOTHING:  # noqa: SIM110  # as above
        if not _compare_number(entry, compare):
            return False
    return True


def _compare_value(entry: Entry, compare: Compare) -> bool:
    assert entry.frame is not None
    kv: KeyValue = parse(entry.frame)
    return _ordered((kv.value > compare.value) - (kv.value < compare.value), compare.result)


def _compare_number(entry: Entry | None, compare: Compare) -> bool:
    target = compare.target
    if target == Compare.VERSION:
        left, right = (entry.version if entry else 0), compare.version
    elif target == Compare.CREATE:
        left, right = (entry.create_revision if entry else 0), compare.create_revision
    elif target == Compare.MOD:
        left, right = (entry.mod_revision if entry else 0), compare.mod_revision
    elif target == Compare.LEASE:
        left, right = (entry.lease if entry else 0), compare.lease
    else:
        left = right = 0  # An unknown target compares as equal.
    return _ordered((left > right) - (left < right), compare.result)


def _ordered(sign: int, result: int) -> bool:
    """Whether a comparison that came out as -1, 0 or 1 is what `result` asks for."""
    if result == Compare.EQUAL:
        return sign == 0
    if result == Compare.GREATER:
        return sign > 0
    if result == Compare.LESS:
        return sign < 0
    if result == Compare.NOT_EQUAL:
        return sign != 0
    return True  # An unknown result asks for nothing.
