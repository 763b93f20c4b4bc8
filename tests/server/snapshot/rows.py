"""Rows of etcd's buckets, written by hand, and snapshots of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etcdpb.auth_pb2 import User
from etcdpb.kv_pb2 import KeyValue
from etcdpb.lease_pb2 import Lease
from mvcc.revision import encode, encode_tombstone
from server.snapshot.buckets import Facts, MemberFacts
from server.snapshot.writer import Row
from tests.server.snapshot.support import with_hash, written

MEMBER = MemberFacts(0x8E9E05C52164694D, "default", ["http://localhost:2380"], [])


def facts(*, scheduled: int = -1, finished: int = -1, term: int = 7) -> Facts:
    return Facts(MEMBER, 9, term, scheduled, finished, "3.6.0", "3.6.0")


def put(
    main: int, key: bytes, *, sub: int = 0, create: int = 0, version: int = 1, lease: int = 0
) -> Row:
    """A put; of a new key unless `create` says when it was created."""
    kv = KeyValue(
        key=key,
        create_revision=create or main,
        mod_revision=main,
        version=version,
        lease=lease,
        value=b"v%d" % main,
    )
    return encode(main, sub), kv.SerializeToString()


def deleted(main: int, key: bytes) -> Row:
    return encode_tombstone(main, 0), KeyValue(key=key).SerializeToString()


def lease(id: int, ttl: int = 60) -> Row:
    return id.to_bytes(8, "big", signed=True), Lease(ID=id, TTL=ttl).SerializeToString()


def user(name: bytes) -> Row:
    return name, User(name=name).SerializeToString()


def snapshot(
    path: Path,
    keys: Sequence[Row] = (),
    leases: Sequence[Row] = (),
    users: Sequence[Row] = (),
    about: Facts | None = None,
) -> Path:
    """A snapshot of these rows in the file `path`."""
    meta = (about or facts()).meta()
    auth = [(b"authRevision", (len(users) + 1).to_bytes(8, "big"))]
    content = [
        *((b"auth", auth), (b"authUsers", users)),
        *((b"key", keys), (b"lease", leases), (b"meta", meta)),
    ]
    path.write_bytes(with_hash(written(content)))
    return path
