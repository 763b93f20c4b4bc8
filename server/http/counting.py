"""The app's calls of services, counted as those of the transports are.

etcd's gateway is a gRPC client of its own server, so what comes in as JSON is among the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from server.auth.caller import ServerToken
from server.awaited import AwaitedCall
from server.call import OneByOne, Stream, Streaming
from server.call_counts import CallCounts
from server.status import Code, failure_of
from server.transport.dispatch import StreamMethod, UnaryMethod


async def counted_call(method: UnaryMethod, message: bytes, token: str | None) -> bytes:
    """Call a unary method; raises what it is refused with."""
    counts = method.counts
    with _counted(counts):
        counts.received_bytes += len(message)
        reply = await AwaitedCall(token).made(method.handle, message)
        counts.sent_bytes += len(reply)
    return reply


def counted_serve(method: StreamMethod) -> Streaming:
    """What serves a stream of that method."""

    async def serve(stream: Stream) -> None:
        with _counted(method.counts):
            await method.serve(_CountedStream(stream, method.counts))

    return serve


@contextmanager
def _counted(counts: CallCounts) -> Iterator[None]:
    counts.started += 1
    try:
        yield
    except asyncio.CancelledError:
        counts.failed[Code.CANCELLED] += 1
        raise
    except Exception as error:
        counts.failed[failure_of(error).code] += 1
        raise
    else:
        counts.ok += 1


class _CountedStream(OneByOne):
    def __init__(self, stream: Stream, counts: CallCounts) -> None:
        self._stream = stream
        self._counts = counts

    @property
    def token(self) -> str | ServerToken | None:
        return self._stream.token

    @property
    def peer_cn(self) -> str | None:
        return self._stream.peer_cn

    async def receive(self) -> bytes | None:
        message = await self._stream.receive()
        if message is not None:
            self._counts.messages_received += 1
            self._counts.received_bytes += len(message)
        return message

    async def send(self, message: bytes) -> None:
        self._counts.messages_sent += 1
        self._counts.sent_bytes += len(message)
        await self._stream.send(message)

    def send_now(self, message: bytes) -> bool:
        is_sent = self._stream.send_now(message)
        if is_sent:
            self._counts.messages_sent += 1
            self._counts.sent_bytes += len(message)
        return is_sent
