"""What a service sees of a transport: a call to answer, or a stream to talk on.

Messages are protobuf bytes on both sides; a transport never looks into them. A unary service
method is `handle(message, call)`. It returns the reply, or returns None and later calls
`call.reply` or `call.fail`, exactly once; so a call that waits for the disk costs no task.
Where waiting is the nature of the call (watch, keep-alive) the method is a coroutine that is
given a `Stream`. Refusals are raised, or passed to `fail`, as the errors `server.status` knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from server.auth.caller import Caller


class Call(Protocol):
    """A unary call that waits for its answer. The caller may be gone; answering is harmless."""

    def reply(self, message: bytes) -> None: ...

    def fail(self, error: Exception) -> None: ...


class PeerCall(Call, Caller, Protocol):
    """A call that came from somebody, who can be asked for credentials."""


class Burst:
    """Messages that follow each other, the same ones on many streams."""

    __slots__ = ("messages", "wire")

    def __init__(self, messages: list[bytes]) -> None:
        """One at least."""
        self.messages = messages
        self.wire = b""  # What a transport made of them, kept for the next stream.


class Stream(Caller, Protocol):
    """One call with messages in both directions, in order."""

    async def receive(self) -> bytes | None:
        """The next message, or None once the client has half-closed."""
        ...

    async def send(self, message: bytes) -> None:
        """Send `message`; returns when the transport has room for more.

        One coroutine at a time may send.
        """
        ...

    def send_now(self, message: bytes) -> bool:
        """Send `message` if that needs no waiting; False if it does, and nothing was sent.

        Some transports always say no. Not to be called while a `send` has not returned.
        """
        ...

    def send_all_now(self, burst: Burst) -> bool:
        """`send_now` of several messages, all of them or none."""
        ...


class OneByOne:
    """Part of a stream that sends several messages no quicker than each by itself."""

    def send_all_now(self, burst: Burst) -> bool:  # noqa: ARG002
        return False


Unary = Callable[[bytes, PeerCall], bytes | None]
Streaming = Callable[[Stream], Awaitable[None]]


class AtOnce(Protocol):
    """Where each message of a stream has one answer, and nearly always at once.

    It never raises; what is out of the ordinary, the stream's coroutine is given to tell.
    """

    def __call__(self, messages: list[bytes]) -> list[bytes]:
        """The answers to as many of the first messages as have one."""
        ...

    def alone(self, message: bytes) -> bytes | None:
        """The same of a message that came alone, as it does from who renews one lease."""
        ...
