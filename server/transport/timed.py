"""How long calls take, for `--metrics=extensive`: a layer around what handles them.

It is around the handler and not in the transports, so a server that is not asked for it pays
nothing, and whatever calls a service is timed: both transports, and the JSON gateway.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, cast

from server.call import PeerCall, Stream, Streaming, Unary
from server.call_counts import Handling


def timed_unary(handle: Unary, handling: Handling) -> Unary:
    def timed(message: bytes, call: PeerCall) -> bytes | None:
        seen = _TimedCall(call, handling)
        is_waiting = False
        try:
            reply = handle(message, cast(PeerCall, seen))
            is_waiting = reply is None
        finally:
            if not is_waiting:
                seen.ended()
        return reply

    return timed


def timed_stream(serve: Streaming, handling: Handling) -> Streaming:
    async def timed(stream: Stream) -> None:
        began = perf_counter()
        try:
            await serve(stream)
        finally:
            handling.observe(perf_counter() - began)

    return timed


class _TimedCall:
    """A call whose answer is noticed. All else that a service asks of it is the call's own."""

    __slots__ = ("_began", "_call", "_handling")

    def __init__(self, call: PeerCall, handling: Handling) -> None:
        self._call = call
        self._handling = handling
        self._began = perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def ended(self) -> None:
        self._handling.observe(perf_counter() - self._began)

    def reply(self, message: bytes) -> None:
        self.ended()
        self._call.reply(message)

    def fail(self, error: Exception) -> None:
        self.ended()
        self._call.fail(error)
