"""HashKV: one number for all that is stored up to a revision, equal to etcd's bit for bit.

CRC-32C over the bytes `key` and then key and value of every row up to the revision, in order
(server/storage/mvcc/hash.go). Left out is what compaction has removed or is yet to remove, so
the number is the same before, during and after a sweep: a row at or below the compacted
revision counts only if it is the newest version of its key at the hashed revision, and live.
Two oddities are etcd's: with no key live at the hashed revision nothing is left out, except
always a tombstone exactly at the compacted revision.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

import google_crc32c

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Column
from mvcc.errors import CompactedError
from mvcc.revision import decode, encode
from mvcc.store import Store

_SEED: Final = b"key"  # The bucket's name.
SLICE_ROWS_MAX: Final = 2000  # Rows hashed before the caller gets to do other work.


class HashResult(NamedTuple):
    hash: int  # 32 bits.
    compact_revision: int
    revision: int


def hash_kv(store: Store, revision: int) -> Generator[None, None, HashResult]:
    """Hash up to `revision` (0 is the present); yields every `SLICE_ROWS_MAX` rows.

    A negative revision passes, as it does in etcd, and hashes nothing.

    Raises:
        FutureRevisionError: `revision` has not happened.
        CompactedError: it is compacted, perhaps while the hash was being made.
    """
    if revision == 0:
        revision = store.current
    if revision > 0:
        store.check_revision(revision)
    compacted = store.compact_revision
    entries = store.index.entries
    skips = any(
        (version := entry.as_of(revision)) is not None and not version.is_tombstone
        for entry in entries.values()
    )
    crc = google_crc32c.extend(0, _SEED)
    rows = store.backend.scan(Column.KEY, b"", encode(max(revision, 0) + 1, 0))
    for number, (row_key, value) in enumerate(rows, 1):
        main, sub, is_tombstone = decode(row_key)
        if main <= compacted:
            if main == compacted and is_tombstone:
                continue
            if skips:
                entry = entries.get(KeyValue.FromString(value).key)
                if is_tombstone or entry is None or entry.as_of(revision) != (main, sub, False):
                    continue
        crc = google_crc32c.extend(google_crc32c.extend(crc, row_key), value)
        if number % SLICE_ROWS_MAX == 0:
            yield
            if 0 < revision < store.compact_revision:
                raise CompactedError(revision, store.compact_revision)
    return HashResult(crc, compacted, revision)
