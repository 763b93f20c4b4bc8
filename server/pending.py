"""What waits in the engine: the commands and reads that were asked for, and who asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from server.auth.caller import Caller, ServerToken, TheServer
from server.call import PeerCall
from server.commands.base import Command, Steps

ResultT = TypeVar("ResultT")

# Plain tuples: one is made for each request, and one with names costs five times as much.
# The command, who waits for it, how its result is encoded, the size of the request in bytes.
Pending = tuple[Command[Any], PeerCall, Callable[[Any], bytes], int]
# An answer that takes long: each step is some milliseconds of work at most, the last returns it.
Slices = Generator[None, None, bytes]
# What answers, the request, who waits.
Read = tuple[Callable[[Any], bytes | Slices], Any, PeerCall]
# Of a command in the group in flight: who waits, how to encode, the result or the refusal.
Applied = tuple[PeerCall, Callable[[Any], bytes], Any, Exception | None]


def in_steps(
    steps: Steps[Any], on_result: Callable[[Any], None], on_error: Callable[[BaseException], None]
) -> None:
    """Run `steps` to their end, one a turn. An error of `on_result` is told like one of theirs."""

    def step() -> None:
        try:
            try:
                next(steps)
            except StopIteration as end:
                on_result(end.value)
            else:
                loop.call_soon(step)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the change is half made
            on_error(error)

    loop = asyncio.get_running_loop()
    loop.call_soon(step)


class Acknowledged(Protocol):
    """Where the newest acknowledged state is noted before an answer leaves (see `mvcc` mark)."""

    def set(self, revision: int, sequence: int) -> None: ...


class EngineStats(NamedTuple):
    queued: int
    groups: int
    commands: int


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


def take_clients(queue: deque[Pending], count: int) -> list[Pending]:
    """Take those that clients wait for out of the first `count` of `queue`, if it is above 0."""
    taken: list[Pending] = []
    kept: list[Pending] = []
    for _ in range(max(0, count)):
        pending = queue.popleft()
        _, call, encode, _ = pending
        (kept if call is NOBODY or is_own(encode) else taken).append(pending)
    queue.extendleft(reversed(kept))
    return taken
