"""Which rows of a damaged store can be kept, and why the others cannot.

A row is kept if it makes sense by itself. That revisions follow each other without a gap is not
asked for: what is missing is told, and whoever puts the rows into a new store compacts it up to a
revision above all of them, below which no gap is looked for. Two things are not copied as they are:

  - A key whose lease has no record keeps its value and loses the lease. Nobody could renew that
    lease, and to delete the key would lose more than was lost.
  - Of who is who, and of the term, all numbers are kept or none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError

from etcdpb.auth_pb2 import Role, User
from etcdpb.kv_pb2 import KeyValue
from etcdpb.rpc_pb2 import AlarmMember
from lease import record
from lease.errors import CorruptLeaseError
from mvcc.backend.base import COLUMN_NAMES, Column
from mvcc.errors import CorruptRecordError
from mvcc.revision import decode
from mvcc.store import FIRST_REVISION, NEVER_COMPACTED

NAMED_MAX: Final = 20  # Rows, keys and gaps that are named; the rest is counted.
REVISION_MAX: Final = 1 << 62  # Above it a revision is nonsense: there must be room to count on.
_NUMBER_BYTES: Final = 8

Row = tuple[bytes, bytes]


@dataclass(slots=True)
class Named:
    """So many things, and the first of them by name."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < NAMED_MAX:
            self.names.append(name)


class Sieve:
    """Lets the rows of one store through, column by column, leases before keys."""

    def __init__(self, compact_revision: int) -> None:
        self.dropped = Named()
        self.gaps = Named()
        self.missing_revisions = 0  # In the gaps.
        self.detached = Named()
        self.newest_revision = max(FIRST_REVISION, compact_revision)
        self.keys = 0  # Rows of them.
        self._floor = compact_revision
        self._leases: set[int] = set()
        # By key, its newest row where that belongs to a lease without a record.
        self._orphans: dict[bytes, tuple[bytes, KeyValue]] = {}

    def passed(self, column: Column, rows: Iterator[Row]) -> Iterator[Row]:
        if column is Column.KEY:
            return self._keys(rows)
        return self._others(column, rows)

    def without_lease(self) -> Iterator[Row]:
        """The rows of keys that lose their lease, as they are to be. After all keys."""
        for row_key, kv in self._orphans.values():
            self.detached.add(f"{kv.key!r} (lease {kv.lease % (1 << 64):016x})")
            kv.lease = 0
            yield row_key, kv.SerializeToString()

    def _drop(self, column: Column, key: bytes, reason: str) -> None:
        self.dropped.add(f"column {COLUMN_NAMES[column]}, key {key.hex()}: {reason}")

    def _others(self, column: Column, rows: Iterator[Row]) -> Iterator[Row]:
        check = _CHECKS[column]
        for key, value in rows:
            try:
                check(key, value)
            except CorruptLeaseError as error:
                self._drop(column, key, error.reason)
            except (DecodeError, ValueError, TypeError, KeyError) as error:
                self._drop(column, key, f"{error}")
            else:
                if column is Column.LEASE:
                    self._leases.add(int.from_bytes(key, "big", signed=True))
                yield key, value

    def _keys(self, rows: Iterator[Row]) -> Iterator[Row]:
        last, last_sub = self.newest_revision, -2
        for row_key, value in rows:
            try:
                main, sub, is_tombstone = decode(row_key)
                kv = _key_value(main, is_tombstone, value)
            except CorruptRecordError as error:
                self._drop(Column.KEY, row_key, error.reason)
                continue
            except (DecodeError, ValueError) as error:
                self._drop(Column.KEY, row_key, f"{error}")
                continue
            if main > self._floor:
                if (main, sub) not in ((last, last_sub + 1), (last + 1, 0)):
                    self._note_gap(last, main)
                last, last_sub = main, sub
            self.keys += 1
            self.newest_revision = max(self.newest_revision, main)
            self._orphans.pop(kv.key, None)
            if kv.lease and kv.lease not in self._leases:
                self._orphans[kv.key] = row_key, kv
            yield row_key, value

    def _note_gap(self, last: int, main: int) -> None:
        if main - last > 1:
            self.missing_revisions += main - last - 1
            self.gaps.add(f"{last + 1} to {main - 1}" if main - last > 2 else f"{last + 1}")
        else:
            self.gaps.add(f"part of {main}")


def _key_value(main: int, is_tombstone: bool, value: bytes) -> KeyValue:
    """The record of a row that makes sense by itself."""
    kv = KeyValue.FromString(value)
    if not kv.key:
        raise ValueError("it has no key")
    if is_tombstone:
        if kv != KeyValue(key=kv.key):
            raise ValueError("a tombstone has a key and nothing else")
    elif kv.mod_revision != main:
        raise ValueError(f"its mod_revision is {kv.mod_revision}")
    if not FIRST_REVISION < main < REVISION_MAX:
        raise ValueError(f"there is no revision {main}")
    return kv


def _check_meta(key: bytes, value: bytes) -> None:
    if len(value) != _NUMBER_BYTES:
        raise ValueError(f"{len(value)} bytes where {_NUMBER_BYTES} belong")
    number = int.from_bytes(value, "big", signed=True)
    if key.endswith(b"CompactRev") and not NEVER_COMPACTED <= number < REVISION_MAX:
        raise ValueError(f"there is no revision {number}")


def _check_auth(key: bytes, value: bytes) -> None:
    if key == b"authRevision" and len(value) != _NUMBER_BYTES:
        raise ValueError(f"{len(value)} bytes where {_NUMBER_BYTES} belong")
    if key == b"authEnabled" and value not in (b"\0", b"\1"):
        raise ValueError("it says neither yes nor no")


def _check_user(key: bytes, value: bytes) -> None:
    if User.FromString(value).name != key:
        raise ValueError("it is another user's")
    key.decode()


def _check_role(key: bytes, value: bytes) -> None:
    if Role.FromString(value).name != key:
        raise ValueError("it is another role's")
    key.decode()


def _check_cluster(key: bytes, value: bytes) -> None:
    decided = json.loads(value)
    if key == b"downgrade":
        str(decided["target-version"])
    elif not isinstance(decided, list):
        raise ValueError("it is no list")


_CHECKS: Final[dict[Column, Callable[[bytes, bytes], object]]] = {
    Column.LEASE: record.decode,
    Column.META: _check_meta,
    Column.ALARM: lambda key, _: AlarmMember.FromString(key),
    Column.AUTH: _check_auth,
    Column.AUTH_USERS: _check_user,
    Column.AUTH_ROLES: _check_role,
    Column.CLUSTER: _check_cluster,
}
