"""Methods that ask who calls before they are called; see `server.auth.needs`.

A refusal rests on users and roles as they are in memory, so it waits until they are on the disk,
as every answer does.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from server.auth.errors import AuthError
from server.auth.needs import Need, need_of
from server.call import PeerCall, Stream, Streaming, Unary
from server.commands.base import State
from server.engine import Engine


class Guard:
    def __init__(self, engine: Engine, state: State) -> None:
        self._engine = engine
        self._state = state

    def guarded(self, path: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """`handler`, behind what the method of that path needs."""
        need = need_of(path)
        if need is Need.NOTHING:
            return handler
        if inspect.iscoroutinefunction(handler):
            return self._stream(need, handler)
        return self._unary(need, handler)

    def _unary(self, need: Need, handle: Unary) -> Unary:
        def guarded(message: bytes, call: PeerCall) -> bytes | None:
            if self._state.auth.enabled:
                try:
                    need.check(self._state.gate.principal(call))
                except AuthError:
                    return self._engine.read(self._refuse, need, call)
            return handle(message, call)

        return guarded

    def _refuse(self, need: Need) -> bytes:
        need.check(self._state.principal())
        raise AssertionError("nothing changes while a read waits")

    def _stream(self, need: Need, serve: Callable[[Stream], Awaitable[None]]) -> Streaming:
        async def guarded(stream: Stream) -> None:
            if self._state.auth.enabled:
                await self._engine.settled()
                need.check(self._state.gate.principal(stream))
            await serve(stream)

        return guarded
