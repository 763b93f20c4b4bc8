"""A unary method asked from within the server, by a coroutine that awaits the answer."""

from __future__ import annotations

import asyncio

from server.auth.caller import ServerToken
from server.call import Unary


class AwaitedCall:
    """A `server.call.PeerCall` in the name of whoever the coroutine works for."""

    def __init__(self, token: str | ServerToken | None, peer_cn: str | None = None) -> None:
        """The credentials are those of a `server.auth.caller.Caller`."""
        self.token = token
        self.peer_cn = peer_cn
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(message)

    def fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    async def made(self, handle: Unary, message: bytes) -> bytes:
        """The reply to `message`. Raises what the method refuses it with."""
        reply = handle(message, self)
        return await self._answer if reply is None else reply
