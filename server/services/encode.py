r"""Replies, put together from stored frames: see `mvcc.record`. A reply is header, then body.

Nothing here is parsed or copied twice; a Range of a thousand keys is one join.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from etcdpb.rpc_pb2 import LeaseKeepAliveResponse, LeaseLeasesResponse
from lease.lessor import Lease
from mvcc.record import delimited, varint
from mvcc.view import RangeResult
from server.commands.kv import DeleteResult
from server.commands.plain import GuardedResult
from server.commands.txn import PutAnswer, RangeAnswer, TxnResult
from server.header import revision_only

_EMPTY_HEADER: Final = b"\x0a\x00"  # The header of a nested transaction's answer, as etcd's.
_SUCCEEDED: Final = b"\x10\x01"  # TxnResponse.succeeded, field 2.
_RESPONSES: Final = b"\x1a"  # TxnResponse.responses, field 3.
# What stands before the revision in the header of a single put's answer, by that varint's size: a
# response of so many bytes, which is a response_put, which has a header, which has a revision.
_PUT_DONE: Final = [
    _SUCCEEDED + _RESPONSES + bytes((size + 5, 0x12, size + 3, 0x0A, size + 1, 0x18))
    for size in range(11)
]
_MORE: Final = b"\x18\x01"  # RangeResponse.more, field 3.
_COUNT: Final = b"\x20"  # RangeResponse.count, field 4.
_ONE: Final = _COUNT + b"\x01"
_DELETED: Final = b"\x10"  # DeleteRangeResponse.deleted, field 2.
_PREV_KVS: Final = b"\x1a"  # DeleteRangeResponse.prev_kvs, field 3.
# Filled anew for each reply: a third of the time that encoding a 63-bit id in Python takes, and
# half of that of a new message (0.36, 1.0 and 0.6 us).
_LEASE_REPLY: Final = LeaseKeepAliveResponse()


def range_response(header: bytes, result: RangeResult) -> bytes:
    parts = [header, *result.frames]
    if result.more:
        parts.append(_MORE)
    if result.total:
        parts.append(_COUNT + varint(result.total))
    return b"".join(parts)


def one_key(header: bytes, framed: bytes) -> bytes:
    """The answer to a Range of one key that is there."""
    return header + framed + _ONE


def put_response(header: bytes, prev: bytes | None) -> bytes:
    return header if prev is None else header + prev


def delete_response(header: bytes, result: DeleteResult) -> bytes:
    parts = [header]
    if result.deleted:
        parts.append(_DELETED + varint(result.deleted))
    parts.extend(_PREV_KVS + framed[1:] for framed in result.prevs)
    return b"".join(parts)


def txn_response(header: bytes, result: TxnResult) -> bytes:
    parts = [header]
    if result.succeeded:
        parts.append(_SUCCEEDED)
    parts.extend(delimited(_RESPONSES, _response_op(answer)) for answer in result.answers)
    return b"".join(parts)


def guarded_response(header: bytes, number: bytes, result: GuardedResult) -> bytes:
    """The answer to the transaction that a guarded put is; `number` is its revision's varint."""
    revision, is_put, shown = result
    if is_put:
        return b"".join((header, _PUT_DONE[len(number)], number))
    answers: list[PutAnswer | DeleteResult | RangeAnswer | TxnResult] = []
    if shown is not None:
        answers.append(RangeAnswer(revision, RangeResult(shown, len(shown), more=False)))
    return txn_response(header, TxnResult(revision, succeeded=False, answers=answers))


def _response_op(answer: PutAnswer | DeleteResult | RangeAnswer | TxnResult) -> bytes:
    """A ResponseOp: one of four members, in the order Range, Put, DeleteRange, Txn."""
    if isinstance(answer, RangeAnswer):
        return delimited(b"\x0a", range_response(revision_only(answer.revision), answer.result))
    if isinstance(answer, PutAnswer):
        return delimited(b"\x12", put_response(revision_only(answer.revision), answer.prev))
    if isinstance(answer, DeleteResult):
        return delimited(b"\x1a", delete_response(revision_only(answer.revision), answer))
    return delimited(b"\x22", txn_response(_EMPTY_HEADER, answer))


def leases(found: Iterable[Lease]) -> bytes:
    """The body of a LeaseLeasesResponse, or a part of it."""
    response = LeaseLeasesResponse()
    add = response.leases.add  # A fifth of the time that a list of messages made first takes.
    for each in found:
        add(ID=each.id)
    return response.SerializeToString()


def lease_response(header: bytes, lease_id: int, ttl: int) -> bytes:
    """A LeaseGrantResponse or a LeaseKeepAliveResponse: they look alike.

    `ttl` 0, which protobuf leaves out, is how a keepalive says that the lease is gone.
    """
    _LEASE_REPLY.ID = lease_id
    _LEASE_REPLY.TTL = ttl
    return header + _LEASE_REPLY.SerializeToString()
