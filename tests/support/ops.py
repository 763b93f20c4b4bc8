"""Transactions in few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etcdpb import rpc_pb2 as pb
from mvcc.compaction import STEP_ROWS_MAX
from tests.support.client import Client


def put(key: bytes, value: bytes = b"", **fields: Any) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **fields))


def get(key: bytes, range_end: bytes = b"", **fields: Any) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, range_end=range_end, **fields))


def delete(key: bytes, range_end: bytes = b"", **fields: Any) -> pb.RequestOp:
    request = pb.DeleteRangeRequest(key=key, range_end=range_end, **fields)
    return pb.RequestOp(request_delete_range=request)


def txn(success: Iterable[pb.RequestOp], **fields: Any) -> pb.TxnRequest:
    return pb.TxnRequest(success=success, **fields)


def nested(success: Iterable[pb.RequestOp], **fields: Any) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=success, **fields))


async def fill_for_a_long_sweep(client: Client) -> int:
    """Make so many old versions that a sweep takes steps; returns the newest revision.

    Between two steps the sweeper waits for the clock, so with a `FakeClock` that stands still a
    compaction of that revision is never done.
    """
    every_key = txn([put(b"%d" % number) for number in range(100)])
    for _ in range(STEP_ROWS_MAX // 100 + 2):
        reply = await client.kv.Txn(every_key)
    return reply.header.revision
