"""What h2load repeats: one body for each workload, and how its replies are known to be right."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from bench import h2load
from bench.client import Client
from bench.fill import BenchError, expect, keepalive_body
from bench.wire import frame_message
from etcdpb import rpc_pb2 as pb

VALUE_BYTES: Final = 64
LARGE_VALUE_BYTES: Final = 1024
MANY: Final = 1000  # Keys of the large range, leases of the long keepalive stream.
LISTED: Final = 100_000  # Leases of the list of leases.
TTL_S: Final = 3600  # Nothing expires while it is measured.
HOT_KEY: Final = b"bench/hot"

Check = Callable[[h2load.Run], None]


@dataclass(frozen=True, slots=True)
class Repeated:
    """`prepare` sets the scene and returns the body; `checker` returns a check for each run."""

    name: str
    method: str
    prepare: Callable[[Client, random.Random], bytes]
    checker: Callable[[Client, bytes], Check]
    in_short: bool = False  # Whether the short run has it too.
    one_in_flight: bool = False  # Measured so alone: what it costs does not depend on the load.


def _prepare_put(client: Client, rng: random.Random, value_bytes: int = VALUE_BYTES) -> bytes:
    request = pb.PutRequest(key=HOT_KEY, value=rng.randbytes(value_bytes))
    client.call("KV/Put", request)
    return frame_message(request.SerializeToString())


def _check_puts(client: Client, body: bytes) -> Check:
    """Every put made a revision and a version of the key, and the value is the one sent."""
    request = pb.RangeRequest(key=HOT_KEY)
    before = client.call("KV/Range", request)

    def check(run: h2load.Run) -> None:
        after = client.call("KV/Range", request)
        grown = after.header.revision - before.header.revision
        expect("revisions made by the puts", grown, run.requests)
        versions = after.kvs[0].version - before.kvs[0].version
        expect("versions made by the puts", versions, run.requests)
        if after.kvs[0].value != pb.PutRequest.FromString(body[5:]).value:
            raise BenchError("the value read is not the value put")

    return check


def _prepare_range(
    client: Client, rng: random.Random, keys: int, *, count_only: bool = False
) -> bytes:
    for number in range(keys):
        key = b"bench/many/%06d" % number
        client.call("KV/Put", pb.PutRequest(key=key, value=rng.randbytes(VALUE_BYTES)))
    request = pb.RangeRequest(key=b"bench/many/000000")
    if keys > 1:
        request = pb.RangeRequest(
            key=b"bench/many/", range_end=b"bench/many0", count_only=count_only
        )
    reply = client.call("KV/Range", request)
    expect("keys in the range", reply.count, keys)
    expect("keys returned", len(reply.kvs), 0 if count_only else keys)
    return frame_message(request.SerializeToString())


def _check_bytes(method: str, request_class: type[Message]) -> Callable[[Client, bytes], Check]:
    """Every reply was as long as the one a real client gets: a refusal has no bytes at all."""

    def checker(client: Client, body: bytes) -> Check:
        reply = client.call(method, request_class.FromString(body[5:]))
        wanted = len(frame_message(reply.SerializeToString()))
        return lambda run: expect("bytes of replies", run.data_bytes, wanted * run.requests)

    return checker


def _prepare_list(client: Client, rng: random.Random) -> bytes:
    with_ids = (
        pb.LeaseGrantRequest(ID=rng.getrandbits(62) | 1 << 62, TTL=TTL_S).SerializeToString()
        for _ in range(LISTED)
    )
    client.many("Lease/LeaseGrant", with_ids)
    expect("leases listed", client.lease_count(), LISTED)
    return frame_message(pb.LeaseLeasesRequest().SerializeToString())


def _prepare_time_to_live(client: Client, _: random.Random) -> bytes:
    granted = client.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=TTL_S))
    return frame_message(pb.LeaseTimeToLiveRequest(ID=granted.ID).SerializeToString())


def _prepare_grant(client: Client, _: random.Random) -> bytes:
    request = pb.LeaseGrantRequest(TTL=TTL_S)  # No ID: the server picks one.
    expect("TTL granted", client.call("Lease/LeaseGrant", request).TTL, TTL_S)
    return frame_message(request.SerializeToString())


def _check_grants(client: Client, _: bytes) -> Check:
    """Every grant made a lease."""
    before = client.lease_count()
    return lambda run: expect("leases made", client.lease_count() - before, run.requests)


def _prepare_keepalive(client: Client, rng: random.Random, messages: int) -> bytes:
    ids = [rng.getrandbits(62) | 1 << 62 for _ in range(messages)]
    for number in ids:
        client.call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=number, TTL=TTL_S))
    return keepalive_body(ids)


def _check_keepalives(client: Client, body: bytes) -> Check:
    """Every stream carried as many bytes as a real client gets, whose replies all renew."""
    requests, at = [], 0
    while at < len(body):
        end = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
        requests.append(pb.LeaseKeepAliveRequest.FromString(body[at + 5 : end]))
        at = end
    replies = list(client.stream("Lease/LeaseKeepAlive", requests))
    renewed = [(reply.ID, reply.TTL) for reply in replies]
    if renewed != [(request.ID, TTL_S) for request in requests]:
        raise BenchError("a keepalive was not answered with its lease and the full TTL")
    wanted = sum(len(frame_message(reply.SerializeToString())) for reply in replies)
    return lambda run: expect("bytes of replies", run.data_bytes, wanted * run.requests)


_check_ranges = _check_bytes("KV/Range", pb.RangeRequest)

REPEATED: Final = (
    Repeated("put, one key, 64 B", "KV/Put", _prepare_put, _check_puts, in_short=True),
    Repeated(
        "put, one key, 1 KiB",
        "KV/Put",
        lambda c, r: _prepare_put(c, r, LARGE_VALUE_BYTES),
        _check_puts,
    ),
    Repeated(
        "range, 1 key",
        "KV/Range",
        lambda c, r: _prepare_range(c, r, 1),
        _check_ranges,
        in_short=True,
    ),
    Repeated("range, 100 keys", "KV/Range", lambda c, r: _prepare_range(c, r, 100), _check_ranges),
    Repeated(
        "range, 1000 keys",
        "KV/Range",
        lambda c, r: _prepare_range(c, r, MANY),
        _check_ranges,
        in_short=True,
    ),
    Repeated(
        "range, count of 1000 keys",
        "KV/Range",
        lambda c, r: _prepare_range(c, r, MANY, count_only=True),
        _check_ranges,
    ),
    Repeated("lease grant", "Lease/LeaseGrant", _prepare_grant, _check_grants, in_short=True),
    Repeated(
        "lease timetolive",
        "Lease/LeaseTimeToLive",
        _prepare_time_to_live,
        _check_bytes("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest),
    ),
    Repeated(
        "keepalive, 1 message a stream",
        "Lease/LeaseKeepAlive",
        lambda c, r: _prepare_keepalive(c, r, 1),
        _check_keepalives,
        in_short=True,
    ),
    Repeated(
        "keepalive, 1000 messages a stream",
        "Lease/LeaseKeepAlive",
        lambda c, r: _prepare_keepalive(c, r, MANY),
        _check_keepalives,
        in_short=True,
    ),
    Repeated(
        "list of 100,000 leases",
        "Lease/LeaseLeases",
        _prepare_list,
        _check_bytes("Lease/LeaseLeases", pb.LeaseLeasesRequest),
        one_in_flight=True,
    ),
)
