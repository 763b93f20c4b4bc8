"""A transaction's request, looked at once.

Each look into a protobuf message makes an object for what is found there, and a transaction is
looked at by many: what it costs, whether it is well formed, whether it writes a key twice, who
may do it, which branch is taken, and only then is it carried out. So its operations are taken
out of the message one time, and the rest goes by their types.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from etcdpb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)


class Plan:
    """The conditions and both branches of `request`, nested transactions as plans of their own.

    A cheap thing to make of any request, be it one that is then refused.
    """

    __slots__ = ("compares", "failure", "request", "success")

    def __init__(self, request: TxnRequest) -> None:
        self.request = request
        self.compares = list(request.compare)
        self.success = operations_of(request.success)
        self.failure = operations_of(request.failure)

    @property
    def is_read_only(self) -> bool:
        """Whether all operations of both branches are ranges; a nested transaction is none."""
        for operations in (self.success, self.failure):
            for operation in operations:
                if not isinstance(operation, RangeRequest):
                    return False
        return True

    @property
    def reads_history(self) -> bool:
        """Whether a Range somewhere in it names a revision, and so may read older rows."""
        for operations in (self.success, self.failure):
            for operation in operations:
                if isinstance(operation, RangeRequest):
                    if operation.revision:
                        return True
                elif isinstance(operation, Plan) and operation.reads_history:
                    return True
        return False


# None is an operation of which no member is set: it is refused, but by whom is a matter of order.
Operation: TypeAlias = RangeRequest | PutRequest | DeleteRangeRequest | Plan | None


def operations_of(operations: Iterable[RequestOp]) -> list[Operation]:
    """One branch."""
    found: list[Operation] = []
    for operation in operations:
        member = operation.WhichOneof("request")
        if member == "request_txn":
            found.append(Plan(operation.request_txn))
        else:
            found.append(None if member is None else getattr(operation, member))
    return found
