r"""The bytes of a version of a key, framed once and joined into every answer that shows it.

A *frame* is a `mvccpb.KeyValue` with the field prefix `\x12 length` before it. RangeResponse.kvs,
PutResponse.prev_kv and Event.kv are all field 2, so one frame serves the three of them; and
since an event's default type is PUT, the frame of a put *is* the body of its event. Joining
stored frames costs a hundredth of serialising the same messages anew.

On disk stands the KeyValue alone, without the prefix, as in etcd's `key` bucket. A tombstone's
row holds a KeyValue with nothing but the key.
"""

from __future__ import annotations

from typing import Final

from etcdpb.kv_pb2 import KeyValue

_KEY_TAG: Final = b"\x0a"  # KeyValue.key, field 1.
_VALUE_TAG: Final = b"\x2a"  # KeyValue.value, field 5, length-delimited.
_MOD_REVISION_TAG: Final = b"\x18"  # KeyValue.mod_revision, field 3, a varint.
_KV_TAG: Final = b"\x12"  # Field 2, length-delimited.
_PREV_KV_TAG: Final = b"\x1a"  # Field 3 of Event, length-delimited.
_DELETE_TYPE: Final = b"\x08\x01"  # Event.type = DELETE.
_EVENTS_TAG: Final = b"\x5a"  # WatchResponse.events, field 11, length-delimited.
_ONE_OCTET: Final = [bytes((number,)) for number in range(0x80)]
HEADS_BYTES: Final = 1024  # A field of fewer bytes finds its head in a table.

# Filled anew for each version: a fourth of the cost of a new one. Numbers only! What is set as
# bytes stays in a message's memory for as long as there is the message, whatever is set next.
_NUMBERS: Final = KeyValue()
_LEASE: Final = KeyValue()
_numbers: Final = _NUMBERS.SerializeToString
_lease: Final = _LEASE.SerializeToString


def varint(number: int) -> bytes:
    """`number` as a protobuf varint; a negative one as its 64-bit two's complement."""
    if 0 <= number < 0x80:
        return _ONE_OCTET[number]
    if 0 <= number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if 0 <= number < 0x20_0000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    if 0 <= number < 0x1000_0000:
        low, middle = number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80
        return bytes((low, middle, number >> 14 & 0x7F | 0x80, number >> 21))
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def delimited(tag: bytes, body: bytes) -> bytes:
    """`body` as a length-delimited field whose encoded tag is `tag`."""
    return tag + varint(len(body)) + body


def _heads(tag: bytes) -> list[bytes]:
    """What stands before a length-delimited field's bytes, by how many those are."""
    return [tag + varint(size) for size in range(HEADS_BYTES)]


_KEY_HEADS: Final = _heads(_KEY_TAG)
_VALUE_HEADS: Final = [b"", *_heads(_VALUE_TAG)[1:]]  # Of none it is left out.
_KV_HEADS: Final = _heads(_KV_TAG)
_EVENT_HEADS: Final = _heads(_EVENTS_TAG)


def key_value(
    key: bytes, value: bytes, create_revision: int, mod_revision: int, version: int, lease: int
) -> bytes:
    """The KeyValue of a version, as protobuf would serialise it.

    `key` is not empty; `lease` 0 is none.
    """
    numbers = _NUMBERS
    numbers.create_revision = create_revision
    numbers.mod_revision = mod_revision
    numbers.version = version
    key_bytes, value_bytes = len(key), len(value)
    is_short = key_bytes < HEADS_BYTES
    key_head = _KEY_HEADS[key_bytes] if is_short else _KEY_TAG + varint(key_bytes)
    is_short = value_bytes < HEADS_BYTES
    value_head = _VALUE_HEADS[value_bytes] if is_short else _VALUE_TAG + varint(value_bytes)
    if lease:
        _LEASE.lease = lease
        return b"".join((key_head, key, _numbers(), value_head, value, _lease()))
    return b"".join((key_head, key, _numbers(), value_head, value))


def frame(kv: bytes) -> bytes:
    """A KeyValue as a field: see the module."""
    size = len(kv)
    return (_KV_HEADS[size] if size < HEADS_BYTES else _KV_TAG + varint(size)) + kv


def unframe(framed: bytes) -> bytes:
    """The KeyValue inside a frame."""
    at = 1
    while framed[at] & 0x80:
        at += 1
    return framed[at + 1 :]


def parse(framed: bytes) -> KeyValue:
    return KeyValue.FromString(unframe(framed))


def tombstone(key: bytes) -> bytes:
    """The KeyValue of a tombstone's row: the key, which is never empty, and nothing else."""
    return _KEY_TAG + varint(len(key)) + key


def tombstone_event(key: bytes, main: int) -> bytes:
    """The body of a DELETE event: key and revision of the deletion, as etcd sends it."""
    return deletion(tombstone(key), main)


def deletion(row: bytes, main: int) -> bytes:
    """The same, of the row that `tombstone` made."""
    return _DELETE_TYPE + frame(row + _MOD_REVISION_TAG + varint(main))


def event_field(event: bytes, prev: bytes | None) -> bytes:
    """An event as it stands in WatchResponse.events, with the frame `prev` as its prev_kv."""
    if prev is not None:
        event += _PREV_KV_TAG + prev[1:]
    size = len(event)
    return (_EVENT_HEADS[size] if size < HEADS_BYTES else _EVENTS_TAG + varint(size)) + event


class Change:
    """One version that a transaction made. Disk, lessor and watchers all follow these.

    `event` is the event's body without prev_kv. `before` is what a watcher's prev_kv shows: the
    frame of the version that stood *before the transaction*; None if there was none, and for a
    put that creates its key.
    """

    __slots__ = (
        "_plain",
        "_with_prev",
        "before",
        "event",
        "is_delete",
        "key",
        "lease",
        "old_lease",
    )

    def __init__(
        self,
        key: bytes,
        event: bytes,
        before: bytes | None,
        is_delete: bool,
        old_lease: int,
        lease: int,
    ) -> None:
        self.key = key
        self.event = event
        self.before = before
        self.is_delete = is_delete
        self.old_lease = old_lease
        self.lease = lease
        self._plain: bytes | None = None
        self._with_prev: bytes | None = None

    def field(self, *, prev_kv: bool) -> bytes:
        """The event for a WatchResponse, made once for all watchers that want it so."""
        if prev_kv and self.before is not None:
            if self._with_prev is None:
                self._with_prev = event_field(self.event, self.before)
            return self._with_prev
        if self._plain is None:
            self._plain = event_field(self.event, None)
        return self._plain


# What a `Change` is made of. Of a transaction that is one put nothing more is kept: most of them
# nobody watches, and an object costs as much as a tenth of the whole put.
LonePut = tuple[bytes, bytes, bytes | None, bool, int, int]
# What one transaction did.
Changes = list[Change] | LonePut
