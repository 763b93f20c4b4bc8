"""Streams whose request came whole: all messages in one frame, and the end.

Most of them are one keepalive and its answer. Such a call has no object of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from server.call import AtOnce
from server.transport.at_once import answers_to
from server.transport.connection import Connection, Whole
from server.transport.dispatch import StreamMethod
from server.transport.head import Head
from server.transport.host import Host
from server.transport.rpc import answered
from server.transport.sending import SendingCall
from server.transport.streaming import StreamingCall
from server.transport.unary import RefusedCall


def answers_whole(
    host: Host, method: StreamMethod, at_once: AtOnce, on_dirty: Callable[[SendingCall], None]
) -> Whole:
    """The `Whole` of a method with answers `at_once`, on one connection."""
    counts = method.counts

    def whole(
        connection: Connection, id: int, head: Head, data: bytes, start: int, stop: int
    ) -> StreamingCall | None:
        if host.is_stopping:
            RefusedCall.whole(connection, id, head, host)
            return None
        counts.started += 1
        answers, rest = answers_to(at_once, counts, data[start:stop])
        if not rest and answered(connection, id, connection.stream_window, answers):
            counts.ok += 1
            return None
        call = StreamingCall(connection, id, head, host, method, on_dirty)
        return None if call.go_on(answers, rest) else call

    return whole
