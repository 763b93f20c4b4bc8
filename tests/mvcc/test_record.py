"""Frames are what protobuf would have written, in every message that shows a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import PutResponse, RangeResponse, WatchResponse
from mvcc.record import (
    Change,
    event_field,
    frame,
    key_value,
    parse,
    tombstone_event,
    unframe,
    varint,
)
from tests.mvcc.support import framed

key_values = st.builds(
    KeyValue,
    key=st.sampled_from((b"k", b"\0", b"k" * 127, b"k" * 128, b"k" * 1023, b"k" * 1024)),
    value=st.sampled_from(
        (b"", b"v", b"v" * 127, b"v" * 128, b"v" * 1023, b"v" * 1024, b"v" * 20_000)
    ),
    create_revision=st.integers(0, 2**63 - 1),
    mod_revision=st.integers(0, 2**63 - 1),
    version=st.integers(0, 3),
    lease=st.integers(-(2**63), 2**63 - 1),
)


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "8001"),
        (0x3FFF, "ff7f"),
        (0x4000, "808001"),
        (2**63 - 1, "ffffffffffffffff7f"),
        (-1, "ffffffffffffffffff01"),
        (-(2**63), "80808080808080808001"),
    ],
)
def test_a_varint_has_seven_bits_a_byte_and_a_negative_one_ten_bytes(
    number: int, encoded: str
) -> None:
    assert varint(number).hex() == encoded


@given(st.integers(-(2**63), 2**63 - 1).filter(bool))
def test_a_varint_is_protobufs(number: int) -> None:
    assert b"\x30" + varint(number) == KeyValue(lease=number).SerializeToString()


@given(key_values)
def test_a_key_value_is_protobufs_byte_for_byte(kv: KeyValue) -> None:
    numbers = (kv.create_revision, kv.mod_revision, kv.version, kv.lease)
    assert key_value(kv.key, kv.value, *numbers) == kv.SerializeToString()


@given(key_values)
def test_a_frame_is_the_kv_of_every_message_that_has_one(kv: KeyValue) -> None:
    body = kv.SerializeToString()
    one = frame(body)
    assert (unframe(one), parse(one)) == (body, kv)
    assert RangeResponse.FromString(one + one) == RangeResponse(kvs=[kv, kv])
    assert PutResponse.FromString(one) == PutResponse(prev_kv=kv)
    assert Event.FromString(one) == Event(kv=kv)


@given(key_values, key_values)
def test_an_event_field_is_the_event_of_a_watch_response(kv: KeyValue, prev: KeyValue) -> None:
    put, deletion = frame(kv.SerializeToString()), tombstone_event(kv.key, kv.mod_revision)
    fields = event_field(put, frame(prev.SerializeToString())) + event_field(deletion, None)
    gone = KeyValue(key=kv.key, mod_revision=kv.mod_revision)
    assert WatchResponse.FromString(fields) == WatchResponse(
        events=[Event(kv=kv, prev_kv=prev), Event(type=Event.DELETE, kv=gone)]
    )


def test_a_change_makes_each_form_of_its_event_once() -> None:
    """Watchers that did not ask for prev_kv never see it."""
    event, before = framed(key=b"a", version=2), framed(key=b"a", version=1)
    change = Change(b"a", event, before, is_delete=False, old_lease=0, lease=0)
    plain, full = change.field(prev_kv=False), change.field(prev_kv=True)
    assert plain == event_field(event, None)
    assert full == event_field(event, before)
    assert change.field(prev_kv=False) is plain
    assert change.field(prev_kv=True) is full


def test_the_first_version_of_a_key_has_one_form_only() -> None:
    change = Change(b"a", framed(key=b"a"), None, is_delete=False, old_lease=0, lease=0)
    assert change.field(prev_kv=True) is change.field(prev_kv=False)
