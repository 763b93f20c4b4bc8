"""One message in, one out: stream, call and buffer in one object.

What its service waits for costs no task and no future. The whole answer to a call is one piece of
bytes, put together from parts that are made once.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from server import status
from server.call_counts import CallCounts
from server.status import Code, RpcError, Status
from server.transport.connection import Connection, Whole
from server.transport.dispatch import UnaryMethod
from server.transport.frames import END_STREAM, FRAME_BYTES_MAX, ErrorCode
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.rpc import Rpc
from server.transport.wire import (
    OK_TRAILERS,
    PREFIX_BYTES,
    RESPONSE_HEADERS,
    answer_one,
    prefixed,
    trailers_only,
    unpack_prefix,
)


class UnaryCall(Rpc):
    """One message in, one out. It is the `server.call.Call` that its service answers."""

    body: bytearray | None = None  # A request that comes in pieces.
    is_waiting = False  # Its service has the message and has not answered.

    def __init__(
        self,
        connection: Connection,
        id: int,
        head: Head,
        host: Host,
        method: UnaryMethod,
    ) -> None:
        self.connection = connection  # As in `Rpc`, but for one call less.
        self.id = id
        self.head = head
        self.host = host
        self.window = connection.stream_window
        self.method = method
        self.deadline, self.is_over = 0.0, False  # CPython 3.11 is slow to find them in `Rpc`.

    def opened(self) -> None:
        if self.head.timeout_s is not None:
            self.host.wait(self, self.head.timeout_s)

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:
        if self.is_over:
            return
        try:
            if self.body is not None or not is_last:
                self._collect(data, size)
                if not is_last:
                    return
                body: bytes | bytearray = self.body or b""
                self._drop_body()
            else:
                body = data
            message = self._message(body, 0, self._only_size(body))
        except Exception as error:  # noqa: BLE001  # all of them are answered, bugs logged
            self.fail(error)
        else:
            self.serve(message, len(body) - PREFIX_BYTES)

    def serve(self, message: bytes, size: int) -> None:
        """Let the service answer, now or later. `size` is what the message was on the wire."""
        method = self.method
        counts = method.counts
        counts.started += 1
        counts.received_bytes += size
        self.is_waiting = True
        try:
            reply = method.handle(message, self)
        except Exception as error:  # noqa: BLE001  # as above
            self.fail(error)
        else:
            if reply is not None:
                self.reply(reply)

    def _only_size(self, body: bytes | bytearray) -> int:
        """The size of the one message that `body` is.

        Raises:
            RpcError: it is too large, or there is not exactly one.
        """
        if len(body) >= PREFIX_BYTES:
            size = self._size_at(body, 0)
            if size == len(body) - PREFIX_BYTES:
                return size
        raise RpcError(status.NO_MESSAGE)

    def _collect(self, data: bytes, size: int) -> None:
        if self.body is None:
            self.body = bytearray()
        self.body += data
        if len(self.body) >= PREFIX_BYTES:
            self._size_at(self.body, 0)
        if len(self.body) > self.host.limit_bytes + PREFIX_BYTES:
            raise RpcError(status.NO_MESSAGE)
        self._hold(len(data))
        self._take(size)

    def _drop_body(self) -> None:
        self.body = None
        self._release(self.held)

    def _drop_unsent(self) -> None:
        if self.unsent is not None:
            self.unsent = None
            self.connection.backlog_bytes -= self.unsent_bytes

    def _answered(self) -> None:
        self.is_waiting = False
        if self.deadline:
            self.host.done(self)

    def reply(self, message: bytes) -> None:
        self.is_waiting = False
        if self.deadline:
            self.host.done(self)
        if self.is_over:
            return
        counts = self.method.counts
        counts.ok += 1
        counts.sent_bytes += len(message)
        connection = self.connection
        size = len(message) + PREFIX_BYTES
        if (
            size <= connection.frame_bytes
            and size <= connection.window
            and size <= self.window
            and not connection.must_shrink
        ):
            connection.window -= size
            connection.send(answer_one(self.id, message))
            self.is_over = True
            if self.is_placed:
                connection.end(self.id)  # No `_forget`: who is served has said all there is.
            return
        connection.send_block(0, self.id, RESPONSE_HEADERS)
        self.unsent = deque((prefixed(message),))
        self.unsent_bytes = size
        connection.backlog_bytes += size
        self.host.wait(self, UNTAKEN_S)
        self.writable()

    def fail(self, error: Exception) -> None:
        is_counted = self.is_waiting
        self._answered()
        if not self.is_over:
            self.is_over = True
            refusal = self.host.status_of(error)
            if is_counted:
                self.method.counts.failed[refusal.code] += 1
            self.connection.send_block(END_STREAM, self.id, trailers_only(refusal))
            self._drop_body()
            self._forget()

    def writable(self) -> None:
        if self.unsent is None or self.is_over:
            return
        before = self.unsent_bytes
        is_sent = self._send_body()
        self.connection.backlog_bytes -= before - self.unsent_bytes
        if is_sent:
            self.host.done(self)
            self._close(OK_TRAILERS)
        elif self.unsent_bytes != before:
            self.host.wait(self, UNTAKEN_S)  # The client takes it, if slowly.

    def expire(self) -> None:
        if self.unsent is None:
            self.fail(RpcError(status.DEADLINE_EXCEEDED))
        elif not self.is_over:
            self.is_over = True
            self._drop_unsent()
            self.connection.reset(self.id, ErrorCode.CANCEL)

    def lost(self, code: int) -> None:  # noqa: ARG002  # why is of no interest: nobody listens
        if self.is_waiting and not self.is_over:
            self.method.counts.failed[Code.CANCELLED] += 1
        self.is_over = True
        self._drop_unsent()
        self._drop_body()
        self.host.done(self)


class WholeCall(UnaryCall):
    """A call whose request came whole: it gets a place among the streams if it has to wait."""

    is_remote_closed = True
    is_placed = False

    def placed(self) -> WholeCall | None:
        """Itself, if it has to wait: for its service, or for the client to take the answer."""
        if self.is_over:
            return None
        self.is_placed = True
        if self.is_waiting and self.head.timeout_s is not None:
            self.host.wait(self, self.head.timeout_s)
        return self


def answers_whole(host: Host, method: UnaryMethod) -> Whole:
    """The `Whole` of a unary method."""
    assert host.limit_bytes >= FRAME_BYTES_MAX, "what comes in one frame is never too large"
    handle, counts = method.handle, method.counts
    # A call that is answered at once needs no object of its own: it is over when the next begins,
    # which finds it waiting as a new one does. Its connection stays with it until then.
    spare: WholeCall | None = None

    def whole(
        connection: Connection, id: int, head: Head, data: bytes, start: int, stop: int
    ) -> UnaryCall | None:
        nonlocal spare
        if host.is_stopping:
            RefusedCall.whole(connection, id, head, host)
            return None
        size = stop - start - PREFIX_BYTES
        if size < 0 or unpack_prefix(data, start) != (0, size):
            call = WholeCall(connection, id, head, host, method)
            call.received(data[start:stop], stop - start, is_last=True)
            return call.placed()
        if spare is None:
            call = spare = WholeCall(connection, id, head, host, method)
            call.is_waiting = True
        else:
            call = spare
            call.connection, call.id, call.head = connection, id, head
            call.window = connection.stream_window
        counts.started += 1
        counts.received_bytes += size
        try:
            reply = handle(data[start + PREFIX_BYTES : stop], call)
        except Exception as error:  # noqa: BLE001  # all of them are answered, bugs logged
            spare = None
            call.fail(error)
            return None
        if reply is None:
            spare = None
            if head.timeout_s is None and not call.is_over:
                call.is_placed = True
                return call
            return call.placed()
        size = len(reply) + PREFIX_BYTES
        if size > connection.whole_bytes or size > connection.window:
            spare = None
            call.reply(reply)
            return call.placed()
        counts.ok += 1
        counts.sent_bytes += len(reply)
        connection.window -= size
        connection.send(answer_one(id, reply))
        return None

    return whole


class RefusedCall(UnaryCall):
    """A call that no service is to see: answered as soon as it is opened."""

    def __init__(
        self, connection: Connection, id: int, head: Head, host: Host, refusal: Status
    ) -> None:
        super().__init__(connection, id, head, host, _NO_METHOD)
        self._refusal = refusal

    @classmethod
    def whole(cls, connection: Connection, id: int, head: Head, host: Host) -> None:
        """Answer a request that came whole to a server that is about to end."""
        call = cls(connection, id, head, host, status.SERVER_STOPPED)
        call.is_remote_closed = True
        call.opened()

    def opened(self) -> None:
        self.fail(RpcError(self._refusal))


def _never(message: bytes, call: object) -> bytes | None:  # noqa: ARG001  # never called
    raise AssertionError("a refused call has no handler")


_NO_METHOD: Final = UnaryMethod(_never, CallCounts())
