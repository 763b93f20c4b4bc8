"""Transactions in few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etcdpb import rpc_pb2 as pb


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
