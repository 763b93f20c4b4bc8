"""What stands in etcd's buckets, and where it stands here (etcd's server/storage/schema).

Keys, leases, alarms, users and roles have the same bytes in both, so those buckets are copied as
they are. Only `meta`, `members` and `cluster` are made: etcd keeps its raft and its members there.
A restore, etcd's or ours, throws the members away and makes its own. A downgrade that is noted
stays here: it would bind the etcd that is made of the snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from mvcc.backend.base import COLUMN_NAMES, Backend, Column
from mvcc.errors import CorruptRecordError
from mvcc.revision import decode, encode
from mvcc.store import NEVER_COMPACTED
from server.snapshot.reader import BoltError
from server.snapshot.writer import Content, Row

KEY: Final = b"key"
META: Final = b"meta"
LEASE: Final = b"lease"
CLUSTER: Final = b"cluster"
MEMBERS: Final = b"members"
# All that a server of etcd 3.5 or 3.6 makes when it starts; 3.4 knows no `cluster`.
BUCKETS: Final = (
    *(b"alarm", b"auth", b"authRoles", b"authUsers", CLUSTER),
    *(KEY, LEASE, MEMBERS, b"members_removed", META),
)
COPIED: Final[Mapping[bytes, Column]] = {
    COLUMN_NAMES[column].encode(): column
    for column in (
        *(Column.KEY, Column.LEASE, Column.ALARM),
        *(Column.AUTH, Column.AUTH_USERS, Column.AUTH_ROLES),
    )
}
"""The buckets that are columns here, with the same rows."""

SCHEDULED: Final = b"scheduledCompactRev"
FINISHED: Final = b"finishedCompactRev"
TERM: Final = b"term"
STORAGE_VERSION: Final = b"storageVersion"
_INT_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What etcd would store of the one member, as of a snapshot."""

    id: int
    name: str
    peer_urls: Sequence[str]
    client_urls: Sequence[str]

    def moved(self, peer_urls: Sequence[str]) -> Self:
        """The same member at other peer URLs."""
        return replace(self, peer_urls=peer_urls)

    def row(self) -> Row:
        """In `members`: the id in hex, and JSON without what is empty (membership/store.go)."""
        stored: dict[str, object] = {"id": self.id, "peerURLs": list(self.peer_urls)}
        if self.name:
            stored["name"] = self.name
        if self.client_urls:
            stored["clientURLs"] = list(self.client_urls)
        return f"{self.id:016x}".encode(), json.dumps(stored, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a snapshot says besides the rows it copies; all of it as of one moment."""

    member: MemberFacts
    consistent_index: int
    term: int
    scheduled_compact: int  # `NEVER_COMPACTED` if there was none.
    finished_compact: int
    cluster_version: str
    storage_version: str

    def meta(self) -> list[Row]:
        rows = [
            (
                b"confState",
                b'{"voters":[%d],"auto_leave":false}' % self.member.id,
            ),
            (b"consistent_index", self.consistent_index.to_bytes(_INT_BYTES, "big")),
            (TERM, self.term.to_bytes(_INT_BYTES, "big")),
            (STORAGE_VERSION, self.storage_version.encode()),
        ]
        for name, main in ((SCHEDULED, self.scheduled_compact), (FINISHED, self.finished_compact)):
            if main != NEVER_COMPACTED:
                rows.append((name, encode(main, 0)))
        return sorted(rows)


def content(backend: Backend, facts: Facts) -> Content:
    """All buckets as they are now: a later write does not show, however late a row is read."""
    made: dict[bytes, Iterable[Row]] = {
        META: facts.meta(),
        MEMBERS: [facts.member.row()],
        CLUSTER: [(b"clusterVersion", facts.cluster_version.encode())],
    }
    copied = {name: backend.scan(column) for name, column in COPIED.items()}
    rows = {**made, **copied}
    return [(name, rows.get(name, ())) for name in BUCKETS]


@dataclass(frozen=True, slots=True)
class StoredMeta:
    """What of a snapshot's `meta` bucket means something here."""

    scheduled_compact: int
    finished_compact: int
    term: int  # 0 before etcd 3.5.
    storage_version: str  # Empty before etcd 3.6.


def read_meta(rows: Iterable[Row]) -> StoredMeta:
    """The bucket `meta` of a snapshot; what else stands in it is etcd's own.

    Raises:
        BoltError: a number in it is none.
    """
    found = dict(rows)
    term = found.get(TERM, b"\0" * _INT_BYTES)
    if len(term) != _INT_BYTES:
        raise BoltError(f"{TERM.decode()} in bucket meta has {len(term)} bytes where 8 belong")
    return StoredMeta(
        scheduled_compact=_revision(found, SCHEDULED),
        finished_compact=_revision(found, FINISHED),
        term=int.from_bytes(term, "big"),
        storage_version=found.get(STORAGE_VERSION, b"").decode(errors="replace"),
    )


def _revision(rows: Mapping[bytes, bytes], name: bytes) -> int:
    stored = rows.get(name)
    if stored is None:
        return NEVER_COMPACTED
    try:
        main, _, _ = decode(stored)
    except CorruptRecordError:
        raise BoltError(f"{name.decode()} in bucket meta is no revision") from None
    return main
