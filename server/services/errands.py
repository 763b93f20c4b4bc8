"""What one service asks of another, in the name of the caller it serves.

Lock and Election are clients of KV and Lease that happen to live in the server, as in etcd
(server/etcdserver/api/v3client): nothing they do goes past the checks, the quota or the queue
that the caller's own requests would meet. Their errors are etcd's texts, but none of its codes:
an error that comes out of a client has lost its code, and arrives as Unknown.
"""

from __future__ import annotations

import logging
from typing import TypeVar

from google.protobuf.message import Message

from server.auth.caller import SERVER, Caller
from server.awaited import AwaitedCall
from server.call import Unary
from server.log import fields
from server.status import Code, RpcError, Status, status_of

logger = logging.getLogger(__name__)

ReplyT = TypeVar("ReplyT", bound=Message)


class _Unheard(AwaitedCall):
    """One whose answer nobody waits for."""

    def reply(self, message: bytes) -> None: ...

    def fail(self, error: Exception) -> None:
        logger.warning(
            "what a caller left behind could not be taken back", extra=fields(error=str(error))
        )


async def ask(handle: Unary, request: Message, reply: type[ReplyT], caller: Caller) -> ReplyT:
    """The reply to `request`, asked as `caller`.

    Raises:
        RpcError: it was refused; the code is Unknown, whatever it was.
    """
    try:
        call = AwaitedCall(caller.token, caller.peer_cn)
        return reply.FromString(await call.made(handle, request.SerializeToString()))
    except Exception as error:
        known = status_of(error)
        if known is None:
            raise
        raise RpcError(Status(Code.UNKNOWN, known.message)) from error


def tidy(handle: Unary, request: Message) -> None:
    """Take back what was done for a caller who may be gone, and whose token may have run out.

    It is queued when this returns. A refusal is logged.
    """
    errand = _Unheard(SERVER)
    try:
        handle(request.SerializeToString(), errand)
    except Exception as error:
        if status_of(error) is None:
            raise
        errand.fail(error)
