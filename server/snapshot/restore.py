"""From a snapshot of any etcd to a data directory that Tenure serves.

Rows are copied as they are, so keys, their history, revisions, leases, alarms, users and roles
are those of the snapshot, and HashKV says the same. Members and raft are left behind: like
etcdutl's, a restore makes a new cluster of one member, whose ids follow from the flags. The term
goes on from the snapshot's, for there are clients that refuse a server whose term went back.

Two things are not copied as they are:

  - A row of nothing, which `etcdutl snapshot restore --bump-revision` leaves behind to raise the
    revision, is left out; the compacted revision says the same here.
  - A key of a lease that has no record keeps its value and loses the lease. etcd, too, would
    never delete it.

Nothing is believed before it has been read back: the new store goes through the very recovery a
start goes through, and only what passes gets its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from etcdpb.kv_pb2 import KeyValue
from mvcc.backend.base import Backend, Column
from mvcc.backend.errors import BackendError
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from mvcc.compaction import META_FINISHED, META_SCHEDULED
from mvcc.errors import CorruptRecordError
from mvcc.revision import decode
from mvcc.store import FIRST_REVISION, NEVER_COMPACTED, Store
from server.clock import SystemClock
from server.identity import Identity, bootstrap_identity
from server.logins import gate_maker
from server.recovery import META_TERM, RecoveryError, recover
from server.settings.config import Config
from server.snapshot import file
from server.snapshot.buckets import COPIED, KEY, LEASE, META, StoredMeta, read_meta
from server.snapshot.file import SnapshotError
from server.snapshot.progress import silent
from server.snapshot.reader import BoltError, BoltFile
from server.snapshot.stage import Stage

BATCH_BYTES: Final = 4 << 20  # Of rows written at once; what a restore holds in memory of them.
BATCH_ROWS: Final = 10_000

Progress = Callable[[str, int, int], None]  # What is being done; how much of how much is done.


@dataclass(slots=True)
class Restored:
    """What there is now."""

    identity: Identity
    revision: int = FIRST_REVISION
    keys: int = 0
    leases: int = 0
    keys_without_lease: int = 0  # Whose lease has no record: they live on without it.


def restore(
    path: Path,
    config: Config,
    *,
    skip_hash: bool = False,
    bump_revision: int = 0,
    progress: Progress = silent,
) -> Restored:
    """Make `config.data_dir` of the snapshot in `path`, whole or not at all.

    Args:
        path: a file that `snapshot save` made, or with `skip_hash` a database of etcd.
        config: where to, and who the member is to be: data_dir, name and the --initial-* flags.
        skip_hash: do not ask whether the file is as it was.
        bump_revision: by how much to raise the revision; 0 leaves it. The new one is compacted.
        progress: told of work that may take long.

    Raises:
        ConfigError: no cluster of this one member is asked for.
        DataDirError: the data directory is not empty, or cannot be made.
        SnapshotError: the file is damaged, or none that etcd could have made.
    """
    identity = bootstrap_identity(config)
    with (
        file.opened(
            path,
            needs_hash=True,
            skip_hash=skip_hash,
            progress=lambda done, total: progress("checking the hash", done, total),
        ) as bolt,
        Stage(config.data_dir) as stage,
    ):
        try:
            restored = _fill(stage, bolt, identity, config, bump_revision, progress)
        except (CorruptRecordError, RecoveryError) as error:
            raise BoltError(f"it holds what etcd would not write: {error}") from error
        except BackendError as error:
            raise SnapshotError(f"cannot restore into {config.data_dir}: {error}") from error
        stage.commit()
    return restored


def _fill(
    stage: Stage,
    bolt: BoltFile,
    identity: Identity,
    config: Config,
    bump_revision: int,
    progress: Progress,
) -> Restored:
    restored = Restored(identity)
    backend = RocksBackend.open(stage.store)
    try:
        copy = _Copy(backend, bolt, lambda done, total: progress("copying", done, total))
        meta = copy.run()
        restored.keys_without_lease = copy.keys_without_lease
        _note_meta(backend, meta, copy.last_revision, copy.empty_revision, bump_revision)
        progress("reading it back", 0, 1)
        recovered = recover(
            backend,
            lambda: identity,
            ttl_min=config.lease_ttl_min,
            revoke_rate=0,
            mark=None,
            gate=gate_maker(config, SystemClock(), lambda: 0.0),  # Nobody logs in.
        )
        restored.revision = recovered.state.store.current
        restored.keys = len(recovered.state.store.index)
        restored.leases = len(recovered.state.lessor)
        mark = Mark.open(stage.mark)
        mark.set(restored.revision, backend.sequence())
        mark.close()
        progress("reading it back", 1, 1)
    finally:
        backend.close()
    return restored


def _note_meta(
    backend: Backend, meta: StoredMeta, last: int, empty: int, bump_revision: int
) -> None:
    """Write what our `meta` column says in place of etcd's bucket, for recovery to find.

    The last revision is that of the newest row, or of the compaction if that is higher.
    """
    scheduled = max(meta.scheduled_compact, meta.finished_compact, empty)
    if bump_revision:
        scheduled = max(last, scheduled, FIRST_REVISION) + bump_revision
    store = Store(backend)
    batch = store.begin()
    if scheduled != NEVER_COMPACTED:
        store.put_meta(META_SCHEDULED, scheduled)
    if meta.finished_compact != NEVER_COMPACTED:
        store.put_meta(META_FINISHED, meta.finished_compact)
    if meta.term:
        store.put_meta(META_TERM, meta.term)
    store.take_batch()
    backend.write(batch)


class _Copy:
    """Copies buckets to columns."""

    def __init__(
        self, backend: Backend, bolt: BoltFile, progress: Callable[[int, int], None]
    ) -> None:
        self._backend = backend
        self._bolt = bolt
        self._progress = progress
        self._batch = backend.batch()
        self._leases: set[int] = set()
        # By key, the newest row, where that belongs to a lease without a record.
        self._orphans: dict[bytes, tuple[bytes, KeyValue]] = {}
        self.last_revision = FIRST_REVISION
        self.empty_revision = NEVER_COMPACTED  # Of the row that a bump left behind.

    @property
    def keys_without_lease(self) -> int:
        return len(self._orphans)

    def run(self) -> StoredMeta:
        """Copy everything, and return what the rest of the snapshot says.

        Raises:
            BoltError, CorruptRecordError: the snapshot's fault.
        """
        bolt = self._bolt
        buckets = bolt.buckets()
        for name in (KEY, META):
            if name not in buckets:
                raise BoltError(f"it has no bucket {name.decode()}: it is not a database of etcd")
        meta = read_meta(bolt.rows(buckets[META]))
        # Leases before keys, which may belong to them.
        for name in sorted(COPIED, key=lambda each: (each == KEY, each)):
            if name in buckets:
                rows = bolt.rows(buckets[name])
                if name == KEY:
                    rows = self._keys(rows)
                elif name == LEASE:
                    rows = self._note_leases(rows)
                self._copy(COPIED[name], rows)
        for row_key, kv in self._orphans.values():
            kv.lease = 0
            self._put(Column.KEY, row_key, kv.SerializeToString())
        self._write()
        self._progress(bolt.size_bytes, bolt.size_bytes)  # Free pages are never read.
        return meta

    def _copy(self, column: Column, rows: Iterator[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            self._put(column, key, value)

    def _put(self, column: Column, key: bytes, value: bytes) -> None:
        batch = self._batch
        batch.put(column, key, value)
        if batch.size_bytes >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            self._write()

    def _write(self) -> None:
        self._backend.write(self._batch)
        self._batch = self._backend.batch()
        self._progress(self._bolt.pages_read * self._bolt.page_bytes, self._bolt.size_bytes)

    def _note_leases(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for key, value in rows:
            self._leases.add(int.from_bytes(key, "big", signed=True))
            yield key, value

    def _keys(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        orphans, leases, parse = self._orphans, self._leases, KeyValue.FromString
        for row_key, value in rows:
            main, _, is_tombstone = decode(row_key)
            self.last_revision = max(main, self.last_revision)
            if not value:
                self.empty_revision = main
                continue
            try:
                kv = parse(value)
            except DecodeError as error:
                raise CorruptRecordError("key", row_key, f"no KeyValue: {error}") from error
            if orphans:
                orphans.pop(kv.key, None)
            if kv.lease and not is_tombstone and kv.lease not in leases:
                orphans[kv.key] = row_key, kv
            yield row_key, value
