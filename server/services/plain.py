"""The requests that are sent most, taken apart by hand: a Get, a put, a guarded put.

Each function gives nothing for whatever is not in the plainest form, as every encoder writes it;
such a message is parsed. For a guarded put this takes a fifth of the time of parsing it and asking
for each field that is looked at until it is queued, for a put three quarters, for a Get a quarter
(timeit).
"""

from __future__ import annotations

from typing import Final

from server.commands.plain import GuardedPut, PlainPut

_SHORT: Final = 0x80  # A length below it has one octet.
# Fields 1, 2 and 3 of RangeRequest, PutRequest, RequestOp and TxnRequest as far as each has them.
_FIRST: Final = 0x0A  # Key; request_range; compare.
_SECOND: Final = 0x12  # Value; request_put; success.
_THIRD: Final = 0x1A  # Failure.
_LEASE: Final = 0x18  # PutRequest.lease, field 3, a varint.
_MOD_IS: Final = b"\x10\x02\x1a"  # Compare.target, field 2: MOD; and the tag of its key, field 3.
_MOD_REVISION: Final = 0x30  # Compare.mod_revision, field 6, a varint.
# Where a key ends that a message begins with, by the two octets before it; of one that is not empty
# and not long.
_end_of_key: Final = {bytes((_FIRST, size)): size + 2 for size in range(1, _SHORT)}.get
_GUARDED_KEY_MAX: Final = 100  # So that the length of all that holds nothing else has one octet.
_NUMBER_OCTETS_MAX: Final = 9  # Of a varint that is no negative int64.


def only_key(message: bytes) -> bytes:
    """The key of a RangeRequest that says nothing else; b"" of any other."""
    return message[2:] if _end_of_key(message[:2]) == len(message) else b""


def plain_put(message: bytes) -> PlainPut | None:
    """The put that a PutRequest asks for, if it says nothing but key, value and lease."""
    try:
        return _put(message, 0, len(message))
    except IndexError:  # It ends too soon.
        return None


def guarded_put(message: bytes) -> GuardedPut | None:
    """The guarded put that a TxnRequest asks for, if it is one and all is about one key."""
    try:
        size = message[5]
        end = 2 + message[1]
        if (
            message[0] != _FIRST
            or message[2:5] != _MOD_IS
            or not 0 < size <= _GUARDED_KEY_MAX
            or end >= _SHORT
        ):
            return None
        at = 6 + size
        key = message[6:at]
        mod_revision = 0
        if at != end:
            if message[at] != _MOD_REVISION:
                return None
            mod_revision = _number(message[at + 1 : end])
        if message[end] != _SECOND:
            return None
        size, at = _length(message, end + 1)
        end = at + size
        if message[at] != _SECOND:
            return None
        size, at = _length(message, at + 1)
        if at + size != end:
            return None
        put = _put(message, at, end)
    except IndexError:  # It ends too soon.
        return None
    if put is None or put.key != key or mod_revision < 0:
        return None
    rest = message[end:]
    if not rest:
        return GuardedPut(put, mod_revision, shows=False)
    size = len(key)
    if rest == bytes((_THIRD, size + 4, _FIRST, size + 2, _FIRST, size)) + key:
        return GuardedPut(put, mod_revision, shows=True)
    return None


def _put(message: bytes, at: int, end: int) -> PlainPut | None:
    """The PutRequest that stands there.

    Raises:
        IndexError: it ends too soon.
    """
    size = message[at + 1]
    if message[at] != _FIRST or not 0 < size < _SHORT:
        return None
    at += 2
    key = message[at : at + size]
    at += size
    value = b""
    if at < end and message[at] == _SECOND:
        size, at = _length(message, at + 1)
        value = message[at : at + size]
        at += size
    if at == end:
        return PlainPut(key, value, 0)
    if at > end or message[at] != _LEASE:
        return None
    lease = _number(message[at + 1 : end])
    return None if lease < 0 else PlainPut(key, value, lease)


def _length(message: bytes, at: int) -> tuple[int, int]:
    """The varint that begins there, and where it ends; beyond all lengths if it is a long one.

    Raises:
        IndexError: it ends too soon.
    """
    size = message[at]
    if size < _SHORT:
        return size, at + 1
    second = message[at + 1]
    if second < _SHORT:
        return size & 0x7F | second << 7, at + 2
    third = message[at + 2]
    if third < _SHORT:
        return size & 0x7F | (second & 0x7F) << 7 | third << 14, at + 3
    return len(message), at + 3


def _number(octets: bytes) -> int:
    """The varint that `octets` are; -1 if they are none, or a negative or longer one."""
    if not 0 < len(octets) <= _NUMBER_OCTETS_MAX or octets[-1] >= _SHORT:
        return -1
    number = octets[-1]
    for octet in octets[-2::-1]:
        if octet < _SHORT:
            return -1
        number = number << 7 | octet & 0x7F
    return number
