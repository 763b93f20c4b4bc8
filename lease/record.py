"""A lease's row on disk, byte for byte as etcd writes it.

Key: the id as uint64, 8 bytes big-endian, so negative ids sort after all positive ones and
a scan must take the whole bucket (etcd's schema package, server/storage/schema/lease.go).
Value: `leasepb.Lease` with ID and TTL. The attached keys are not part of it: the newest
record of each key says which lease it belongs to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from google.protobuf.message import DecodeError

from etcdpb import lease_pb2
from lease.errors import CorruptLeaseError
from lease.lease import NO_LEASE, TTL_MAX_S, LeaseID

# Two's complement, so a signed int64 has the bytes of its uint64 cast.
_KEY: Final = struct.Struct(">q")
# The 8 bytes under which a lease of this id stands in the bucket.
encode_key: Final[Callable[[LeaseID], bytes]] = _KEY.pack
_RECORD: Final = lease_pb2.Lease()  # Filled anew for each: a third of the cost of a new one.


def encode_value(lease_id: LeaseID, ttl: int) -> bytes:
    """The record of a lease granted for `ttl` seconds."""
    _RECORD.ID = lease_id
    _RECORD.TTL = ttl
    return _RECORD.SerializeToString()


def value_bytes(lease_id: LeaseID, ttl: int) -> int:
    """How many bytes `encode_value` makes of an id that is not 0, and at least a second."""
    # Two tags and two varints of 7 bits an octet; a negative id is 64 bits.
    id_octets = (lease_id.bit_length() + 6) // 7 if lease_id > 0 else 10
    return 2 + id_octets + (ttl.bit_length() + 6) // 7


def decode_all(
    rows: Iterable[tuple[bytes, bytes]],
) -> Iterator[tuple[LeaseID, int, bytes | None]]:
    """Of each row the id, the TTL in seconds, and its value if `encode_value` would not make it.

    Most leases have the TTL of the one before. So a row is first held against what such a lease
    would have: that says all there is to know of it, for half the cost of parsing it.

    Raises:
        CorruptLeaseError: as `decode`.
    """
    likely = lease_pb2.Lease(TTL=1)
    ttl = 1
    for key, value in rows:
        if len(key) == _KEY.size:
            (lease_id,) = _KEY.unpack(key)
            likely.ID = lease_id
            if likely.SerializeToString() == value and lease_id != NO_LEASE:
                yield lease_id, ttl, None
                continue
        lease_id, ttl = decode(key, value)
        likely.TTL = ttl
        yield lease_id, ttl, None if value == encode_value(lease_id, ttl) else value


def decode(key: bytes, value: bytes) -> tuple[LeaseID, int]:
    """The id and the TTL, in seconds, of one row.

    Raises:
        CorruptLeaseError: the row is none that `encode_key` and `encode_value` could make.
    """
    if len(key) != _KEY.size:
        raise CorruptLeaseError(key, f"the key has {len(key)} bytes instead of {_KEY.size}")
    lease_id: LeaseID = _KEY.unpack(key)[0]
    if lease_id == NO_LEASE:
        raise CorruptLeaseError(key, "the ID is 0")
    try:
        record = lease_pb2.Lease.FromString(value)
    except DecodeError as error:
        raise CorruptLeaseError(key, "the value is no leasepb.Lease") from error
    stored_id, ttl = record.ID, record.TTL
    if stored_id != lease_id:
        raise CorruptLeaseError(key, f"the value is of lease {stored_id:x}")
    if not 1 <= ttl <= TTL_MAX_S:
        raise CorruptLeaseError(key, f"a TTL of {ttl} s is not in 1..{TTL_MAX_S}")
    return lease_id, ttl
