"""The dull model of the store: a list of all versions ever written, and nothing else.

Every question is answered by walking the whole list, as slowly and as plainly as the rules are
written down. It never forgets; what compaction leaves on disk is a question like the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import google_crc32c

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import RangeRequest
from mvcc.keyrange import KeyRange


class Put(NamedTuple):
    key: bytes
    value: bytes = b""
    lease: int = 0


class Delete(NamedTuple):
    keys: KeyRange


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Row:
    """One version as it stands on disk."""

    main: int
    sub: int
    kv: KeyValue
    is_tombstone: bool

    @property
    def row_key(self) -> bytes:
        revision = self.main.to_bytes(8, "big") + b"_" + self.sub.to_bytes(8, "big")
        return revision + b"t" if self.is_tombstone else revision

    @property
    def value(self) -> bytes:
        return self.kv.SerializeToString(deterministic=True)


class Answer(NamedTuple):
    kvs: list[KeyValue]
    total: int
    more: bool


class Model:
    def __init__(self) -> None:
        self.rows: list[Row] = []  # In the order they were written.
        self.revision = 1
        self.compacted = -1

    # --- changing ---

    def transact(self, operations: Iterable[Operation]) -> int:
        """Apply all at one revision. Returns the store's revision afterwards."""
        main, written = self.revision + 1, len(self.rows)
        for operation in operations:
            live = self.live_at(main)
            if isinstance(operation, Put):
                old = live.get(operation.key, KeyValue(create_revision=main))
                kv = KeyValue(
                    key=operation.key,
                    value=operation.value,
                    lease=operation.lease,
                    create_revision=old.create_revision,
                    mod_revision=main,
                    version=old.version + 1,
                )
                self.rows.append(Row(main, len(self.rows) - written, kv, is_tombstone=False))
            else:
                for key in sorted(key for key in live if key in operation.keys):
                    sub = len(self.rows) - written
                    self.rows.append(Row(main, sub, KeyValue(key=key), is_tombstone=True))
        if len(self.rows) > written:
            self.revision = main
        return self.revision

    # --- asking ---

    def newest_at(self, revision: int) -> dict[bytes, Row]:
        """The newest version of each key at or below `revision`, be it a tombstone."""
        return {row.kv.key: row for row in self.rows if row.main <= revision}

    def live_at(self, revision: int) -> dict[bytes, KeyValue]:
        newest = self.newest_at(revision)
        return {key: row.kv for key, row in newest.items() if not row.is_tombstone}

    def readable(self) -> range:
        """The revisions that may be read by their number, which is always above 0."""
        return range(max(1, self.compacted), self.revision + 1)

    def kept(self, compacted: int) -> list[Row]:
        """The rows that are left once all below `compacted` is swept."""
        newest = self.newest_at(compacted)
        return [
            row
            for row in self.rows
            if row.main >= compacted or (newest[row.kv.key] is row and not row.is_tombstone)
        ]

    def hash_kv(self, revision: int) -> int:
        """etcd's rule to the letter (kvHasher in server/storage/mvcc/hash.go), once swept."""
        newest, newest_then = self.newest_at(revision), self.newest_at(self.compacted)
        keep = {row.row_key for row in newest.values() if not row.is_tombstone}
        content = b"key"
        for row in self.kept(self.compacted):
            if row.main > revision:
                continue
            if row.main <= self.compacted and keep and row.row_key not in keep:
                continue
            if row.main == self.compacted and row.is_tombstone:
                continue
            # A version that its own transaction replaced never gets this far in etcd.
            if row.main == self.compacted and newest_then[row.kv.key] is not row:
                continue
            content += row.row_key + row.value
        return int(google_crc32c.value(content))

    def range(self, request: RangeRequest, revision: int) -> Answer:
        keys = KeyRange.from_wire(request.key, request.range_end)
        live = self.live_at(revision)
        kvs = [live[key] for key in sorted(live) if key in keys]
        total = len(kvs)
        if request.count_only:
            return Answer([], total, more=False)
        is_filtered = (
            request.min_mod_revision
            or request.max_mod_revision
            or request.min_create_revision
            or request.max_create_revision
        )
        limit = max(request.limit, 0)
        if request.sort_order == RangeRequest.NONE and limit and not is_filtered:
            kvs = kvs[: limit + 1]  # Before they are sorted: etcd's oddity.
        kvs = [kv for kv in kvs if _passes(kv, request)]
        field = {0: "key", 1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}
        by = attrgetter(field[request.sort_target])
        kvs = sorted(kvs, key=by, reverse=request.sort_order == RangeRequest.DESCEND)
        more = 0 < limit < len(kvs)
        if limit:
            kvs = kvs[:limit]
        if request.keys_only:
            kvs = [_without_value(kv) for kv in kvs]
        return Answer(kvs, total, more)

    def events(
        self, keys: KeyRange, start: int, *, no_put: bool, no_delete: bool, prev_kv: bool
    ) -> Iterator[Event]:
        """What a watcher that asked for revision `start` sees, were nothing ever compacted."""
        for row in self.rows:
            if row.main < start or row.kv.key not in keys:
                continue
            if row.is_tombstone:
                if no_delete:
                    continue
                kv = KeyValue(key=row.kv.key, mod_revision=row.main)
                event = Event(type=Event.DELETE, kv=kv)
            else:
                if no_put:
                    continue
                event = Event(kv=row.kv)
            before = self.live_at(row.main - 1).get(row.kv.key)
            if prev_kv and before is not None and row.kv.create_revision != row.main:
                event.prev_kv.CopyFrom(before)
            yield event


def _passes(kv: KeyValue, request: RangeRequest) -> bool:
    if request.min_mod_revision and kv.mod_revision < request.min_mod_revision:
        return False
    if request.max_mod_revision and kv.mod_revision > request.max_mod_revision:
        return False
    if request.min_create_revision and kv.create_revision < request.min_create_revision:
        return False
    return not (request.max_create_revision and kv.create_revision > request.max_create_revision)


def _without_value(kv: KeyValue) -> KeyValue:
    bare = KeyValue()
    bare.CopyFrom(kv)
    bare.ClearField("value")
    return bare
