"""HashKV: one number for all that is stored up to a revision, equal to etcd's bit for bit.

CRC-32C over the bytes `key` and then key and value of every row up to the revision, in order
(server/storage/mvcc/hash.go). Left out is what compaction has removed or is yet to remove, so
the number is the same before, during and after a sweep: a row at or below the compacted
revision counts only if it is the newest version of its key at the hashed revision, and live.
One oddity is etcd's: with no key live at the hashed revision, those rows count that were the
newest and live at the compacted one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final, NamedTuple

import google_crc32c

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import COLUMN_NAMES, Backend, Column
from mvcc.entry import Version
from mvcc.errors import CompactedError
from mvcc.revision import decode, encode
from mvcc.store import Store

_SEED: Final = b"key"  # The bucket's name.
SLICE_ROWS_MAX: Final = 500  # Rows hashed before the caller gets to do other work: some 4 ms.


class HashResult(NamedTuple):
    hash: int  # 32 bits.
    compact_revision: int
    revision: int


def hash_kv(
    store: Store, revision: int, slice_rows: int = SLICE_ROWS_MAX
) -> Generator[None, None, HashResult]:
    """Hash up to `revision` (0 is the present); yields every `slice_rows` rows.

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
    kept_then: set[Version | None] | None = None  # Where no key is live: what a sweep leaves.
    if not any(_is_live(entry.as_of(revision)) for entry in entries.values()):
        kept_then = {entry.as_of(compacted) for entry in entries.values()}
    crc = google_crc32c.extend(0, _SEED)
    rows = store.backend.scan(Column.KEY, b"", encode(max(revision, 0) + 1, 0))
    for number, (row_key, value) in enumerate(rows, 1):
        version = Version(*decode(row_key))
        if version.main > compacted:
            counts = True
        elif version.is_tombstone:
            counts = False
        elif kept_then is not None:
            counts = version in kept_then
        else:
            # The key is gone from the index if this row was garbage and was swept meanwhile.
            entry = entries.get(KeyValue.FromString(value).key)
            counts = entry is not None and entry.as_of(revision) == version
        if counts:
            crc = google_crc32c.extend(google_crc32c.extend(crc, row_key), value)
        if number % slice_rows == 0:
            yield
            if 0 < revision < store.compact_revision:
                raise CompactedError(revision, store.compact_revision)
    return HashResult(crc, compacted, revision)


def _is_live(version: Version | None) -> bool:
    return version is not None and not version.is_tombstone


def hash_columns(backend: Backend, columns: Iterable[Column]) -> Generator[None, None, int]:
    """CRC-32C of all rows of `columns`, as they are when it begins (etcd's Hash).

    Yields every `SLICE_ROWS_MAX` rows.
    """
    crc = 0
    for column, rows in [(column, backend.scan(column)) for column in columns]:
        crc = google_crc32c.extend(crc, COLUMN_NAMES[column].encode())
        for number, (key, value) in enumerate(rows, 1):
            crc = google_crc32c.extend(google_crc32c.extend(crc, key), value)
            if number % SLICE_ROWS_MAX == 0:
                yield
    return crc
