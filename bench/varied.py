"""What `load replay` sends: a body of its own for each request, as real clients do.

A feed makes the bodies of each run beforehand, and what they need: keys to delete, leases to
revoke, the revisions a compare must name. `replay` counts refusals; a feed's check adds what no
status tells, that the store moved by exactly the changes asked for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.message import Message

from bench.client import Client
from bench.fill import expect
from bench.gotool import METHODS
from bench.repeated import TTL_S, VALUE_BYTES
from bench.servers import Server
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

DISTINCT: Final = 100_000
MIXED: Final = 10_000
LEASES: Final = 1000
OBJECT_BYTES: Final = 512  # A small object of Kubernetes.
PREFIX: Final = b"bench/varied/"
PUT, RANGE, TXN, DELETE = (METHODS.index(f"KV/{n}") for n in ("Put", "Range", "Txn", "DeleteRange"))
REVOKE: Final = METHODS.index("Lease/LeaseRevoke")

Records = Sequence[tuple[int, bytes]]


class Feed(Protocol):
    """Bodies for one server. `changes` is by how many revisions the last ones move the store."""

    changes: int

    def records(self, requests: int) -> Records: ...


@dataclass(frozen=True, slots=True)
class Varied:
    name: str
    feed: Callable[[Server, Client, random.Random], Feed]
    in_short: bool = False
    requests_max: int = 400_000  # A run; 100,000 where each needs something made for it.


def _key(number: int) -> bytes:
    return PREFIX + b"%08d" % number


def _record(method: int, request: Message) -> tuple[int, bytes]:
    return method, frame_message(request.SerializeToString())


def _make(server: Server, method: str, requests: Iterable[bytes]) -> None:
    """Calls before a run, all of which must be answered."""
    with server.connect() as connection:
        for _ in connection.calls(method, requests):
            pass


class _Cycle:
    """The same bodies in every run, from the first on, again and again."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._puts = [method == PUT for method, _ in records]
        self.changes = 0

    def records(self, requests: int) -> Records:
        whole, rest = divmod(requests, len(self._records))
        self.changes = whole * sum(self._puts) + sum(self._puts[:rest])
        return self._records


def _puts(_: Server, client: Client, rng: random.Random, *, leased: bool) -> Feed:
    leases = [0]
    if leased:
        leases = [
            client.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=TTL_S)).ID
            for _ in range(LEASES)
        ]
    numbers = rng.sample(range(DISTINCT), DISTINCT)
    return _Cycle([
        _record(PUT, pb.PutRequest(
            key=_key(number), value=rng.randbytes(VALUE_BYTES), lease=leases[number % len(leases)]
        ))
        for number in numbers
    ])  # fmt: skip


def _mixed(server: Server, _: Client, rng: random.Random) -> Feed:
    """Four ranges of one key to one put."""
    value = rng.randbytes(VALUE_BYTES)
    every = (pb.PutRequest(key=_key(n), value=value).SerializeToString() for n in range(MIXED))
    _make(server, "KV/Put", every)
    return _Cycle([
        _record(PUT, pb.PutRequest(key=_key(rng.randrange(MIXED)), value=value))
        if rng.randrange(5) == 0
        else _record(RANGE, pb.RangeRequest(key=_key(rng.randrange(MIXED))))
        for _ in range(DISTINCT)
    ])  # fmt: skip


def _guarded_put(key: bytes, mod_revision: int, value: bytes) -> pb.TxnRequest:
    """A write as Kubernetes sends it: only over the revision it has seen, else show what is there.

    A mod revision of 0 is that of a key that does not exist: a creation.
    """
    return pb.TxnRequest(
        compare=[
            pb.Compare(
                key=key, target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=mod_revision
            )
        ],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
    )


class _Creates:
    def __init__(self, _: Server, _client: Client, rng: random.Random) -> None:
        self._rng = rng
        self._next = 0
        self.changes = 0

    def records(self, requests: int) -> Records:
        first, self._next = self._next, self._next + requests
        self.changes = requests
        value = self._rng.randbytes(OBJECT_BYTES)
        return [
            _record(TXN, _guarded_put(_key(number), 0, value))
            for number in range(first, self._next)
        ]


class _Updates:
    def __init__(self, server: Server, client: Client, rng: random.Random) -> None:
        self._server, self._client, self._rng = server, client, rng
        self._keys = 0
        self.changes = 0

    def records(self, requests: int) -> Records:
        value = self._rng.randbytes(OBJECT_BYTES)
        missing = range(self._keys, requests)
        _make(
            self._server,
            "KV/Put",
            (pb.PutRequest(key=_key(n), value=value).SerializeToString() for n in missing),
        )
        self._keys = max(self._keys, requests)
        self.changes = requests
        request = pb.RangeRequest(key=PREFIX, range_end=PREFIX[:-1] + b"0", keys_only=True)
        found = list(self._client.call("KV/Range", request).kvs)
        chosen = self._rng.sample(found, requests)
        return [_record(TXN, _guarded_put(kv.key, kv.mod_revision, value)) for kv in chosen]


class _Deletes:
    def __init__(self, server: Server, _: Client, rng: random.Random) -> None:
        self._server, self._rng = server, rng
        self.changes = 0

    def records(self, requests: int) -> Records:
        value = self._rng.randbytes(VALUE_BYTES)
        keys = [_key(number) for number in self._rng.sample(range(requests), requests)]
        _make(
            self._server,
            "KV/Put",
            (pb.PutRequest(key=key, value=value).SerializeToString() for key in keys),
        )
        self.changes = requests
        return [_record(DELETE, pb.DeleteRangeRequest(key=key)) for key in keys]


class _Revokes:
    def __init__(self, server: Server, client: Client, rng: random.Random) -> None:
        self._server, self._client, self._rng = server, client, rng
        self.changes = 0  # No lease here holds a key.

    def records(self, requests: int) -> Records:
        expect("leases before", self._client.lease_count(), 0)
        ids = [self._rng.getrandbits(62) | 1 << 62 for _ in range(requests)]
        _make(
            self._server,
            "Lease/LeaseGrant",
            (pb.LeaseGrantRequest(ID=each, TTL=TTL_S).SerializeToString() for each in ids),
        )
        return [_record(REVOKE, pb.LeaseRevokeRequest(ID=each)) for each in ids]


CONSUMING_MAX: Final = 100_000

VARIED: Final = (
    Varied("put, 100,000 keys, 64 B", lambda s, c, r: _puts(s, c, r, leased=False), in_short=True),
    Varied("put with lease, 100,000 keys", lambda s, c, r: _puts(s, c, r, leased=True)),
    Varied("mixed, 4 ranges to 1 put", _mixed),
    Varied("txn create, 512 B", _Creates, requests_max=CONSUMING_MAX),
    Varied("txn update, 512 B", _Updates, requests_max=CONSUMING_MAX, in_short=True),
    Varied("delete", _Deletes, requests_max=CONSUMING_MAX),
    Varied("lease revoke", _Revokes, requests_max=CONSUMING_MAX, in_short=True),
)
