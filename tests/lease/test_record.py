"""A lease's row has etcd's bytes, for every id; a row that no lessor wrote is never skipped."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from etcdpb import lease_pb2
from lease.errors import CorruptLeaseError
from lease.lease import NO_LEASE, TTL_MAX_S, LeaseID
from lease.record import decode, decode_all, encode_key, encode_value, value_bytes
from tests.lease.support import L1, LARGEST, NEGATIVE, SMALLEST, MemoryBucket

int64s = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("lease_id", "key"),
    [
        (L1, "0000000000000001"),
        (LARGEST, "7fffffffffffffff"),
        (SMALLEST, "8000000000000000"),
        (NEGATIVE, "ffffffffffffffff"),
    ],
)
def test_the_key_is_the_id_as_a_big_endian_uint64(lease_id: LeaseID, key: str) -> None:
    assert encode_key(lease_id).hex() == key


def test_negative_ids_sort_after_positive_ones() -> None:
    keys = [encode_key(lease_id) for lease_id in (L1, LARGEST, SMALLEST, NEGATIVE)]
    assert keys == sorted(keys)


def test_the_value_is_etcds_to_the_byte() -> None:
    # Field 1, varint 1; field 2, varint 60; the absent remaining TTL takes no byte.
    assert encode_value(L1, 60).hex() == "0801103c"


@given(lease_id=int64s.filter(bool).map(LeaseID), ttl=st.integers(1, TTL_MAX_S))
def test_any_lease_comes_back_as_it_was_written(lease_id: LeaseID, ttl: int) -> None:
    value = encode_value(lease_id, ttl)
    assert decode(encode_key(lease_id), value) == (lease_id, ttl)
    assert value_bytes(lease_id, ttl) == len(value)


@pytest.mark.parametrize("ttl", [1, 0x7F, 0x80, TTL_MAX_S])
@pytest.mark.parametrize("lease_id", [1, 0x7F, 0x80, 2**63 - 1, -1, -(2**63)])
def test_the_size_of_a_value_is_known_without_making_it(lease_id: int, ttl: int) -> None:
    assert value_bytes(LeaseID(lease_id), ttl) == len(encode_value(LeaseID(lease_id), ttl))


def test_rows_are_put_found_listed_and_deleted_under_their_ids() -> None:
    """TestLeaseBackend (server/storage/schema/lease_test.go)."""
    bucket = MemoryBucket()
    for lease_id in (NEGATIVE, L1):
        bucket.put(encode_key(lease_id), encode_value(lease_id, 7))
    assert list(bucket.ttls().items()) == [(L1, 7), (NEGATIVE, 7)]
    bucket.delete(encode_key(L1), value_bytes(L1, 7))
    assert bucket.ttls() == {NEGATIVE: 7}


def test_a_checkpoint_that_etcd_stored_is_no_corruption() -> None:
    value = lease_pb2.Lease(ID=1, TTL=60, RemainingTTL=20).SerializeToString()
    assert decode(encode_key(L1), value) == (L1, 60)


@pytest.mark.parametrize("ttl", [1, TTL_MAX_S])
def test_the_shortest_and_the_longest_ttl_are_read(ttl: int) -> None:
    assert decode(encode_key(L1), encode_value(L1, ttl)) == (L1, ttl)


KEY = encode_key(L1)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"", encode_value(L1, 60), "the key has 0 bytes instead of 8"),
        (KEY[:7], encode_value(L1, 60), "the key has 7 bytes instead of 8"),
        (KEY + b"\0", encode_value(L1, 60), "the key has 9 bytes instead of 8"),
        (KEY, b"\x08", "the value is no leasepb.Lease"),
        (KEY, encode_value(LeaseID(2), 60), "the value is of lease 2"),
        (KEY, b"", "the value is of lease 0"),
        (bytes(8), encode_value(LeaseID(0), 60), "the ID is 0"),
        (KEY, encode_value(L1, 0), "a TTL of 0 s is not in 1..9000000000"),
        (KEY, encode_value(L1, -1), "a TTL of -1 s is not in 1..9000000000"),
        (KEY, encode_value(L1, TTL_MAX_S + 1), "a TTL of 9000000001 s is not in 1..9000000000"),
    ],
)
def test_a_row_that_no_lessor_wrote_is_named_with_its_reason(
    key: bytes, value: bytes, reason: str
) -> None:
    with pytest.raises(CorruptLeaseError) as caught:
        decode(key, value)
    assert (caught.value.key, caught.value.reason) == (key, reason)
    assert (key.hex() or "(empty key)") in str(caught.value)


def test_rows_read_one_after_the_other_say_what_each_says_by_itself() -> None:
    """With the TTL of the row before and with another, with a small id, a large and a negative."""
    written = [(L1, 1), (LeaseID(2), 1), (LARGEST, 300), (LeaseID(3), 300), (NEGATIVE, 5)]
    rows = [(encode_key(lease_id), encode_value(lease_id, ttl)) for lease_id, ttl in written]
    checkpoint = lease_pb2.Lease(ID=4, TTL=5, RemainingTTL=2).SerializeToString()
    rows.append((encode_key(LeaseID(4)), checkpoint))
    expected = [(lease_id, ttl, None) for lease_id, ttl in written] + [(4, 5, checkpoint)]
    assert list(decode_all(rows)) == expected


@pytest.mark.parametrize(
    "row",
    [
        (encode_key(NO_LEASE), encode_value(NO_LEASE, 1)),
        (encode_key(NO_LEASE), encode_value(NO_LEASE, 7)),
        (encode_key(L1)[1:], encode_value(L1, 7)),
        (encode_key(L1), encode_value(NEGATIVE, 7)),
        (encode_key(L1), b""),
    ],
)
def test_a_row_that_no_lessor_wrote_is_refused_behind_one_of_the_same_ttl(
    row: tuple[bytes, bytes],
) -> None:
    before = [(encode_key(LARGEST), encode_value(LARGEST, 7))]
    with pytest.raises(CorruptLeaseError):
        list(decode_all([*before, row]))
    with pytest.raises(CorruptLeaseError):
        list(decode_all([row]))
