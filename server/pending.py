"""What waits in the engine: the commands and reads that were asked for, and who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from server.auth.caller import Caller, ServerToken, TheServer
from server.call import PeerCall
from server.commands.base import Command

ResultT = TypeVar("ResultT")

# Plain tuples: one is made for each request, and one with names costs five times as much.
# The command, who waits for it, how its result is encoded, the size of the request in bytes.
Pending = tuple[Command[Any], PeerCall, Callable[[Any], bytes], int]
# What answers, the request, who waits.
Read = tuple[Callable[[Any], bytes], Any, PeerCall]
# Of a command in the group in flight: who waits, how to encode, the result or the refusal.
Applied = tuple[PeerCall, Callable[[Any], bytes], Any, Exception | None]


class Asked(NamedTuple):
    """How many requests were ever made, up to one moment: what `Engine.asked` counts."""

    commands: int
    reads: int


class Nobody(TheServer):
    """The server, which waits for no answer; and whoever does not wait any longer."""

    def reply(self, message: bytes) -> None: ...

    def fail(self, error: Exception) -> None: ...


NOBODY: Final = Nobody()


class Waiter(Generic[ResultT]):
    """A call that a coroutine awaits: it keeps the result itself, and no bytes of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, caller: Caller) -> None:
        self.future: asyncio.Future[ResultT] = loop.create_future()
        self._caller = caller

    @property
    def token(self) -> str | ServerToken | None:
        return self._caller.token

    @property
    def peer_cn(self) -> str | None:
        return self._caller.peer_cn

    def keep(self, result: ResultT) -> bytes:
        if not self.future.done():  # The coroutine may have been cancelled.
            self.future.set_result(result)
        return b""

    def reply(self, message: bytes) -> None: ...

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def is_own(encode: Callable[[Any], bytes]) -> bool:
    """Whether the server itself waits for a command: its result is then kept, not encoded."""
    return isinstance(getattr(encode, "__self__", None), Waiter)
