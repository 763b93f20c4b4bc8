"""Many leases with a key each, as fast as the server takes them, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.servers import Server
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

PREFIX: Final = b"bench/lease/"
KEY_BYTES: Final = 20
VALUE_BYTES: Final = 32


class BenchError(Exception):
    """A server did not do what it was asked, so its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Filled:
    """Lease `ids[i]` holds `keys[i]`."""

    ids: Sequence[int]
    keys: Sequence[bytes]


def fill(server: Server, leases: int, *, ttl_s: int, rng: random.Random, first: int = 0) -> Filled:
    """Grant `leases` leases and put one key on each, numbered from `first`; check all are there.

    IDs are random 63-bit numbers, as long as those a server picks.

    Raises:
        BenchError: not all are there afterwards.
    """
    ids = [rng.getrandbits(62) | 1 << 62 for _ in range(leases)]
    keys = [PREFIX + b"%08d" % number for number in range(first, first + leases)]
    assert all(len(key) == KEY_BYTES for key in keys)
    with server.connect() as connection:
        grants = (pb.LeaseGrantRequest(ID=i, TTL=ttl_s).SerializeToString() for i in ids)
        granted = sum(1 for _ in connection.calls("Lease/LeaseGrant", grants))
        puts = (
            pb.PutRequest(key=key, value=rng.randbytes(VALUE_BYTES), lease=i).SerializeToString()
            for key, i in zip(keys, ids, strict=True)
        )
        put = sum(1 for _ in connection.calls("KV/Put", puts))
    if (granted, put) != (leases, leases):
        raise BenchError(f"{granted} grants and {put} puts answered, not {leases}")
    check_all_there(server, first + leases)
    return Filled(ids, keys)


def check_all_there(server: Server, leases: int) -> None:
    """Raise BenchError unless exactly `leases` leases and as many keys exist."""
    with server.client() as client:
        found = (client.lease_count(), client.count(PREFIX))
    if found != (leases, leases):
        raise BenchError(f"{found[0]} leases and {found[1]} keys exist, not {leases}")


def keepalive_body(ids: Sequence[int]) -> bytes:
    """One keepalive for each of `ids`, framed, to be sent on one stream."""
    return b"".join(frame_message(pb.LeaseKeepAliveRequest(ID=i).SerializeToString()) for i in ids)


def expect(what: str, found: int, wanted: int) -> None:
    """Raise BenchError unless `found` is what was `wanted`."""
    if found != wanted:
        raise BenchError(f"{what}: {found}, not {wanted}")
