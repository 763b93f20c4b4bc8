"""A request on an HTTP/2 connection that is no gRPC, answered by the ASGI app.

Bounds: what the client sends ahead by the stream's window, which is given back as the app takes
it; what waits for the client's window by `SEND_AHEAD_BYTES`, above which the app's `send` does not
return; a whole answer that nobody takes by `UNTAKEN_S`; a request that goes on behind its answer
by `REST_S`, in which what is wrong with it is still answered as such.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final
from urllib.parse import unquote

from starlette.types import Message, Scope

from server.status import RpcError
from server.transport.connection import Connection
from server.transport.frames import DATA, END_STREAM, ErrorCode, frame
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.hpack import encode
from server.transport.rpc import Rpc
from server.transport.sending import SEND_AHEAD_BYTES
from server.transport.web import PEER_CN, WebServer

REST_S: Final = 1.0  # For the rest of a request: some clients drop an answer that a reset follows.
_PIECE_BYTES: Final = 64 << 10  # What waits is cut into such pieces; cutting one copies it.
# Of a connection and not of a request (RFC 9113 section 8.2.2).
_HOP_BY_HOP: Final = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"))


class WebCall(Rpc):
    """One request and its answer."""

    def __init__(
        self,
        connection: Connection,
        id: int,
        head: Head,
        host: Host,
        server: WebServer,
        *,
        is_tls: bool,
    ) -> None:
        super().__init__(connection, id, head, host)
        self._server = server
        self._body = bytearray()
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_asked = False  # The app has been given the end of the body.
        self._is_begun = False  # The head of the answer has been sent.
        self._is_answered = False  # The app has sent the end of it.
        self._is_lost = False
        self._is_tls = is_tls
        self.unsent = deque()

    # --- the connection's side ---

    def opened(self) -> None:
        self.host.active += 1
        tasks = self._server.tasks  # It keeps the task alive, and says that it is.
        task = asyncio.get_running_loop().create_task(self._run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _run(self) -> None:
        try:
            await self._server.app(self._scope(), self.receive, self.send)
        except Exception as error:  # noqa: BLE001  # a bug, and the others are not to suffer by it
            self.host.status_of(error)
        finally:
            self.host.active -= 1
            self._body.clear()
            self._release(self.held)
        if not self._is_answered and not self.is_over:
            self.is_over = True
            self.connection.reset(self.id, ErrorCode.INTERNAL_ERROR)

    def received(self, data: bytes, size: int, *, is_last: bool) -> None:
        if self.is_over:
            if is_last and not self._is_lost:
                self.host.done(self)
                self.connection.end(self.id)
            return
        if len(data) < size:
            self._take(size - len(data))  # Padding.
        if data:
            self._body += data
            try:
                self._hold(len(data))
            except RpcError:
                self._abandon(ErrorCode.ENHANCE_YOUR_CALM)
        self._wake()

    def writable(self) -> None:
        if self._is_begun and not self.is_over:
            self._push()

    def expire(self) -> None:
        """The answer is there, and nobody has taken it; or it is, and the request goes on."""
        self._abandon(ErrorCode.NO_ERROR if self.is_over else ErrorCode.CANCEL)

    def _abandon(self, code: ErrorCode) -> None:
        self.is_over = True
        self.connection.reset(self.id, code)
        self._leave()

    def lost(self, code: int) -> None:  # noqa: ARG002  # why is of no interest: nobody listens
        self.is_over = True
        self.host.done(self)
        self._leave()

    def _leave(self) -> None:
        """What waits is of no use any more, and the app is to hear it."""
        self._is_lost = True
        self._body.clear()
        self._release(self.held)
        self.unsent = deque()
        self.unsent_bytes = 0
        self._wake()
        self._wake_sender()

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None and not arrived.done():
            arrived.set_result(None)

    def _wake_sender(self) -> None:
        if self.unsent_bytes < SEND_AHEAD_BYTES:
            drained, self._drained = self._drained, None
            if drained is not None and not drained.done():
                drained.set_result(None)

    def _push(self) -> None:
        is_all = self._send_body()
        self._wake_sender()
        if is_all and self._is_answered:
            self.is_over = True
            self.host.done(self)
            self.connection.send(frame(DATA, END_STREAM, self.id, b""))
            if self.is_remote_closed:
                self.connection.end(self.id)
            else:
                self.host.wait(self, REST_S)

    # --- the app's side ---

    def _scope(self) -> Scope:
        head = self.head
        path, _, query = head.path.partition(b"?")
        headers = [(name.lower(), value) for name, value in head.metadata()]
        if head.authority:
            headers = [field for field in headers if field[0] != b"host"]
            headers.insert(0, (b"host", head.authority))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": head.method.decode("latin-1"),
            "scheme": "https" if self._is_tls else "http",  # What it is, not what the client says.
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "state": {PEER_CN: self.connection.peer_cn},
        }

    async def receive(self) -> Message:
        while not self._body and not self._is_lost and not self._is_answered:
            if self.is_remote_closed and not self._is_asked:
                break
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        if self._is_lost or self._is_answered:
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        self._body.clear()
        self._release(len(body))
        self._take(len(body))
        self._is_asked = self.is_remote_closed
        return {"type": "http.request", "body": body, "more_body": not self.is_remote_closed}

    async def send(self, message: Message) -> None:
        if self.is_over:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
            return
        body = message.get("body", b"")
        if self.head.method != b"HEAD":
            assert self.unsent is not None
            self.unsent.extend(
                body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES)
            )
            self.unsent_bytes += len(body)
        if not message.get("more_body", False):
            self._is_answered = True
            self.host.wait(self, UNTAKEN_S)
            self._push()
            return
        self._push()
        while self.unsent_bytes >= SEND_AHEAD_BYTES and not self.is_over:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        fields = [
            (b":status", b"%d" % status),
            *self._server.date,
            *(field for field in headers if field[0] not in _HOP_BY_HOP),
        ]
        self._is_begun = True
        self.connection.send_block(0, self.id, encode(tuple(fields)))
