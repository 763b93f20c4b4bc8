"""From rows on disk back to a store in memory, or a refusal that names what is wrong.

Every row is checked against those before it. Revisions are dense, and so are the versions of a
key, wherever compaction has not been; so a row that is missing in the middle is noticed, not
only one that is damaged. (What is missing at the end the acknowledged-revision mark tells.)
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Column
from mvcc.compaction import META_FINISHED, META_FREED, META_SCHEDULED
from mvcc.entry import Entry
from mvcc.errors import CorruptRecordError
from mvcc.record import frame
from mvcc.revision import decode
from mvcc.store import FIRST_REVISION, NEVER_COMPACTED, Store, read_meta

_COLUMN: Final = "key"
_NO_SUB: Final = -2  # No row can follow it within its revision.


def restore(store: Store) -> None:
    """Fill an empty `store` from its backend. Runtime complexity: O(n log n) in all rows.

    Raises:
        CorruptRecordError: a row is damaged, or one that must be there is not.
    """
    backend = store.backend
    store.compact_revision = read_meta(backend, META_SCHEDULED, NEVER_COMPACTED)
    store.swept_revision = read_meta(backend, META_FINISHED, NEVER_COMPACTED)
    store.freed = read_meta(backend, META_FREED, 0)
    entries: dict[bytes, Entry] = {}
    floor = store.compact_revision
    last, last_sub = max(FIRST_REVISION, floor), _NO_SUB
    in_use = 0
    parse = KeyValue.FromString
    entries_get = entries.get
    for row_key, value in backend.scan(Column.KEY):
        main, sub, is_tombstone = decode(row_key)
        try:
            kv = parse(value)
        except DecodeError as error:
            raise CorruptRecordError(_COLUMN, row_key, f"no KeyValue: {error}") from error
        if main > floor:
            if sub if main == last + 1 else main != last or sub != last_sub + 1:
                reason = f"does not follow revision {last}.{last_sub}"
                raise CorruptRecordError(_COLUMN, row_key, reason)
            last, last_sub = main, sub
        in_use += len(row_key) + len(value)
        key = kv.key
        entry = entries_get(key)
        # Nearly every row of a store that is kept compacted: a key's first version, as it must be.
        if (
            entry is None
            and key
            and not is_tombstone
            and kv.version == 1
            and kv.create_revision == main
            and kv.mod_revision == main
        ):
            entries[key] = Entry(frame(value), main, main, sub, 1, kv.lease)
            continue
        if is_tombstone:
            _check_tombstone(row_key, kv)
            if main > floor and (entry is None or entry.frame is None):
                raise CorruptRecordError(_COLUMN, row_key, "it deletes a key that was not there")
            framed, create, version, lease = None, 0, 0, 0
        else:
            create, version, lease = kv.create_revision, kv.version, kv.lease
            if not key or kv.mod_revision != main:
                raise _bad_value(row_key, kv)
            if entry is None or entry.frame is None:
                created, versions = main, 1
            else:
                created, versions = entry.create_revision, entry.version + 1
            if (create != created or version != versions) and main > floor:
                raise _bad_succession(row_key, kv, created, versions)
            framed = frame(value)
        if entry is None:
            entries[key] = Entry(framed, create, main, sub, version, lease)
            continue
        entry.supersede()
        entry.frame = framed
        entry.create_revision = create
        entry.mod_revision = main
        entry.sub = sub
        entry.version = version
        entry.lease = lease
    store.index.load(entries)
    store.current = store.published = last
    store.in_use = in_use


def _check_tombstone(row_key: bytes, kv: KeyValue) -> None:
    if not kv.key or kv != KeyValue(key=kv.key):
        raise CorruptRecordError(_COLUMN, row_key, "a tombstone has a key and nothing else")


def _bad_value(row_key: bytes, kv: KeyValue) -> CorruptRecordError:
    if not kv.key:
        return CorruptRecordError(_COLUMN, row_key, "it has no key")
    return CorruptRecordError(_COLUMN, row_key, f"its mod_revision is {kv.mod_revision}")


def _bad_succession(
    row_key: bytes, kv: KeyValue, created: int, versions: int
) -> CorruptRecordError:
    """`created` and `versions` are what follows from the row before."""
    reason = (
        f"created at {kv.create_revision} with version {kv.version}, "
        f"where {created} and {versions} belong"
    )
    return CorruptRecordError(_COLUMN, row_key, reason)
