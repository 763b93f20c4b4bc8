"""A new store of what a damaged one still holds, and what was lost on the way.

The damaged store is only read, by a copy. What makes sense goes into a new store; that one is held
to the very recovery of a start; and only then does it take the place of the old one, which is kept.

If something is missing, or that cannot be told, the new store's revision is raised far above every
one that was ever given, and compacted there, as `etcdutl snapshot restore --bump-revision
--mark-compacted` does. Else revisions that clients know would be given a second time, to other
changes, and a watch that resumes would miss those. Now it is told that they were compacted, and
its client reads anew. The mark alone does not say how far that is: a power cut may bring back an
older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mvcc.backend.base import Backend, Column
from mvcc.backend.errors import BackendError, CorruptMarkError
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend
from mvcc.backend.rocks_salvage import Salvage
from mvcc.compaction import META_SCHEDULED
from mvcc.errors import CorruptRecordError
from mvcc.store import NEVER_COMPACTED, Store
from server.clock import SystemClock
from server.datadir import DataDirError
from server.identity import Identity
from server.logins import gate_maker
from server.recovery import FORMAT, META_FORMAT, META_IDENTITY, META_TERM, RecoveryError, recover
from server.repair.place import Place
from server.repair.sieve import Named, Sieve
from server.settings.config import Config

BUMP: Final = 1_000_000  # Revisions; more than were acknowledged since a mark reached the disk.
TERM_UNKNOWN: Final = 1_000_000  # A term must not go back, and no server starts so often.
BATCH_BYTES: Final = 4 << 20  # Of rows written at once.
BATCH_ROWS: Final = 10_000
_ROOT: Final = b"root"
_ENABLED: Final = b"authEnabled"
_AUTH_REVISION: Final = b"authRevision"


class RepairError(DataDirError):
    """It cannot be repaired; nothing was changed."""


@dataclass(slots=True)
class Report:
    """What was found, what is lost, what was done. Revisions and sequence numbers are etcd's."""

    remarks: list[str] = field(default_factory=list)  # What is wrong, in words.
    found_revision: int = 0
    found_sequence: int = 0
    acknowledged: tuple[int, int] | None = None  # Revision and sequence of the mark.
    dropped: Named = field(default_factory=Named)
    gaps: Named = field(default_factory=Named)
    missing_revisions: int = 0  # In the gaps.
    detached: Named = field(default_factory=Named)
    is_sound: bool = False  # There was nothing to repair.
    is_loss_known: bool = True  # Whether what is not named here is there for sure.
    revision: int = 0  # Of the repaired store.
    is_raised: bool = False
    keys: int = 0
    leases: int = 0
    kept: Path | None = None  # Where the damaged store is now.

    @property
    def lost_revisions(self) -> int:
        """At the end: acknowledged, and not there."""
        return max(0, self.acknowledged[0] - self.found_revision) if self.acknowledged else 0

    @property
    def is_short(self) -> bool:
        """Less was found than was acknowledged."""
        if self.acknowledged is None:
            return False
        return self.lost_revisions > 0 or self.found_sequence < self.acknowledged[1]

    @property
    def is_something_lost(self) -> bool:
        """Or it cannot be told."""
        return bool(
            not self.is_loss_known
            or self.is_short
            or self.dropped.count
            or self.gaps.count
            or self.detached.count
        )


def repair(data_dir: Path, *, dry_run: bool) -> Report:
    """Repair the store in `data_dir`, or with `dry_run` find out what that would do.

    Raises:
        DataDirError: it is no data directory, it is in use, or there is no room.
        RepairError: nothing can be saved.
    """
    with Place(data_dir) as place:
        if place.is_half_done:
            report = Report(
                remarks=["an earlier repair was interrupted at its very end; it said what is lost"]
            )
            if not dry_run:
                report.kept = place.finish()
            return report
        place.prepare()
        try:
            report = _repair(place)
        except (BackendError, OSError, CorruptRecordError) as error:
            raise RepairError(f"cannot repair {data_dir}: {error}") from error
        if not report.is_sound and not dry_run:
            report.kept = place.commit()
        return report


def _repair(place: Place) -> Report:
    report = Report()
    mark = _read_mark(place, report)
    salvage = Salvage(place.fresh_copy, mark.sequence if mark is not None else 0)
    try:
        if salvage.is_as_it_was and mark is not None and _is_sound(salvage.backend, mark, report):
            return report
        meta = dict(salvage.rows(Column.META))  # Once: what cannot be read is remarked upon.
        _refuse_newer(meta)
        report.found_sequence = salvage.sequence()
        new = RocksBackend.open(place.store)
        try:
            _fill(new, salvage, meta, report)
            sequence = new.sequence()
        finally:
            new.close()
    finally:
        salvage.close()
        if mark is not None:
            mark.close()
    copy, store = str(place.copy), str(place.directory.store)
    report.remarks = [each.replace(copy, store) for each in report.remarks]
    made = Mark.open(place.mark)
    made.set(report.revision, sequence)
    made.close()
    return report


def _read_mark(place: Place, report: Report) -> Mark | None:
    if not place.mark_copy.exists():
        report.remarks.append("the mark of what was acknowledged is missing")
        report.is_loss_known = False
        return None
    try:
        mark = Mark.open(place.mark_copy)
    except CorruptMarkError as error:
        report.remarks.append(f"the mark of what was acknowledged is damaged: {error.reason}")
        report.is_loss_known = False
        return None
    report.acknowledged = mark.revision, mark.sequence
    return mark


def _is_sound(backend: Backend, mark: Mark, report: Report) -> bool:
    """Whether a start would take it as it is."""
    sequence = backend.sequence()
    if sequence < mark.sequence:
        return False  # The report says so.
    try:
        store = _recovered(backend, mark)
    except RecoveryError:
        return False  # What is wrong is found as the rows are sieved, or the new store held to it.
    report.found_sequence = sequence
    report.found_revision = report.revision = store.current
    report.is_sound = True
    return True


def _recovered(backend: Backend, mark: Mark | None) -> Store:
    """Raises RecoveryError."""
    config = Config()
    recovered = recover(
        backend,
        lambda: Identity(0, 0),
        ttl_min=config.lease_ttl_min,
        revoke_rate=0,
        mark=mark,
        gate=gate_maker(config, SystemClock(), lambda: 0.0),
    )
    return recovered.state.store


def _refuse_newer(meta: dict[bytes, bytes]) -> None:
    number = _number(meta.get(META_FORMAT), 0)
    if number > FORMAT:
        raise RepairError(f"the store has format {number}, written by a newer version")


def _fill(new: RocksBackend, salvage: Salvage, meta: dict[bytes, bytes], report: Report) -> None:
    sieve = Sieve(_number(meta.get(META_SCHEDULED), NEVER_COMPACTED))
    writer = _Writer(new)
    seen: dict[Column, set[bytes]] = {}
    for column in sorted(Column, key=lambda each: (each is Column.KEY, each)):
        rows = iter(meta.items()) if column is Column.META else salvage.rows(column)
        seen[column] = writer.put_all(column, sieve.passed(column, rows))
    for row in sieve.without_lease():
        writer.put(Column.KEY, *row)
    report.remarks += salvage.remarks
    report.is_loss_known = report.is_loss_known and salvage.is_whole
    report.dropped, report.gaps, report.detached = sieve.dropped, sieve.gaps, sieve.detached
    report.missing_revisions = sieve.missing_revisions
    report.found_revision = sieve.newest_revision
    _mend_auth(writer, seen, salvage, report)
    _mend_identity(writer, seen[Column.META], report)
    if report.is_something_lost:
        _raise_revision(writer, report)
    writer.flush()
    _verify(new, writer, report)
    if not {*META_IDENTITY} <= seen[Column.META]:
        for name in META_IDENTITY:
            writer.delete(Column.META, name)
        writer.flush()
    new.sync()


def _verify(new: RocksBackend, writer: _Writer, report: Report) -> None:
    """Hold the new store to a start; raise its revision if its history has a fault."""
    try:
        store = _recovered(new, None)
    except RecoveryError as error:
        if report.is_raised:
            raise RepairError(f"what can be saved does not start: {error}") from error
        report.remarks.append(f"its history cannot be explained: {error}")
        report.is_loss_known = False
        _raise_revision(writer, report)
        writer.flush()
        try:
            store = _recovered(new, None)
        except RecoveryError as again:
            raise RepairError(f"what can be saved does not start: {again}") from again
    report.revision = store.current
    report.keys = len(store.index)
    report.leases = sum(1 for _ in new.scan(Column.LEASE))


def _raise_revision(writer: _Writer, report: Report) -> None:
    acknowledged = report.acknowledged[0] if report.acknowledged else 0
    report.revision = max(report.found_revision, acknowledged) + BUMP
    report.is_raised = True
    writer.put(Column.META, META_SCHEDULED, report.revision.to_bytes(8, "big", signed=True))


def _mend_auth(
    writer: _Writer, seen: dict[Column, set[bytes]], salvage: Salvage, report: Report
) -> None:
    """If it is not known whether users count, they do: that lets nobody in."""
    has_users = bool(seen[Column.AUTH_USERS] or seen[Column.AUTH_ROLES])
    if _AUTH_REVISION not in seen[Column.AUTH] and has_users:
        writer.put(Column.AUTH, _AUTH_REVISION, BUMP.to_bytes(8, "big"))
        report.remarks.append("the revision of users and roles is lost; it begins anew, far above")
    is_unsure = not salvage.is_whole or any(
        name.startswith("column auth,") for name in report.dropped.names
    )
    if _ENABLED not in seen[Column.AUTH] and is_unsure and _ROOT in seen[Column.AUTH_USERS]:
        writer.put(Column.AUTH, _ENABLED, b"\1")
        report.remarks.append(
            "whether authentication was enabled is lost; there is a user root, so now it is"
        )


def _mend_identity(writer: _Writer, seen: set[bytes], report: Report) -> None:
    if META_TERM not in seen:
        writer.put(Column.META, META_TERM, TERM_UNKNOWN.to_bytes(8, "big", signed=True))
        report.remarks.append("the term is lost; it begins anew, far above")
    if not {*META_IDENTITY} <= seen:
        report.remarks.append(
            "cluster and member id are lost; the next start makes them anew from its flags"
        )


def _number(value: bytes | None, default: int) -> int:
    """A number of the meta column, if it is one; else its row will be dropped."""
    if value is None or len(value) != 8:
        return default
    number = int.from_bytes(value, "big", signed=True)
    return number if number < 1 << 62 else default


class _Writer:
    """Puts rows into the new store, some at a time."""

    def __init__(self, backend: RocksBackend) -> None:
        self._backend = backend
        self._batch = backend.batch()

    def put_all(self, column: Column, rows: Iterator[tuple[bytes, bytes]]) -> set[bytes]:
        """Returns the keys, but for the column of keys, which may be large."""
        seen: set[bytes] = set()
        for key, value in rows:
            self.put(column, key, value)
            if column is not Column.KEY:
                seen.add(key)
        return seen

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        self._batch.put(column, key, value)
        if self._batch.size_bytes >= BATCH_BYTES or len(self._batch) >= BATCH_ROWS:
            self.flush()

    def delete(self, column: Column, key: bytes) -> None:
        self._batch.delete(column, key)

    def flush(self) -> None:
        self._backend.write(self._batch)
        self._batch = self._backend.batch()
