"""The native transport: gRPC over our own HTTP/2, on an asyncio protocol.

One write for all that one read, or one group of the engine, has answered: what calls send is
packed when the loop gets round to it. A unary call makes no task and no future; a stream makes
one task, for the service that serves it.

While the socket takes no more, nothing is read from it either, so what a client does not read
holds up nobody but itself.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from server import status
from server.clock import Clock, next_tick
from server.loop import as_transport
from server.outbox import Outbox
from server.settings.urls import URL
from server.status import RpcError, Status
from server.tls import ServerTLS, listening, peer_cn
from server.transport.asgi import WebCall
from server.transport.base import DRAIN_LOOK_S, OVERHEAD_BYTES, wait_until
from server.transport.connection import Connection
from server.transport.dispatch import MethodTable, StreamMethod, UnaryMethod
from server.transport.frames import PING, ErrorCode, frame
from server.transport.head import Head
from server.transport.host import UNTAKEN_S, Host
from server.transport.linger import LINGER_S, LingeringProtocol
from server.transport.peer import AGAIN_BYTES_MAX
from server.transport.pings import PingPace
from server.transport.plain import PlainCall
from server.transport.room import Room
from server.transport.routes import NOT_GRPC, Routes
from server.transport.sending import SendingCall
from server.transport.sniff import SniffingProtocol
from server.transport.streaming import StreamingCall
from server.transport.unary import RefusedCall, UnaryCall
from server.transport.web import WebServer, is_secure

# etcd's default is 2**32 - 1, which memory does not allow: a stream with a watch takes 12 KB here.
STREAMS_MAX: Final = 100_000
TICKS_PER_S: Final = 10
TICK_S: Final = 1 / TICKS_PER_S  # How late a deadline may be noticed.
_PING_PAYLOAD: Final = b"tenure\0\0"

# What one client has sent at once is taken in turns with what others have: so much a turn,
TURN_BYTES: Final = 64 << 10  # some 1,000 small requests, 10 to 20 ms;
CROWD: Final = 2000  # and while so many changes wait, of nobody who sent more than a turn's worth.
CROWDED_S: Final = 0.002  # Between two looks at how many there are.

# How long a new connection may take for its preface and SETTINGS, and to acknowledge ours.
BEGIN_S: Final = 30.0


class NativeServer:
    def __init__(
        self,
        methods: MethodTable,
        clock: Clock,
        *,
        max_request_bytes: int,
        max_concurrent_streams: int,
        keepalive_interval_s: float,
        keepalive_timeout_s: float,
        room: Room,
        outbox: Outbox,
        tls: ServerTLS | None = None,
        web: WebServer | None = None,
    ) -> None:
        """`web` serves what is no gRPC, on the same listeners."""
        self.web = web
        self.outbox = outbox
        self.methods = methods
        self.clock = clock
        self.host = Host(clock, max_request_bytes + OVERHEAD_BYTES)
        self.routes = Routes(methods, self.host)
        self.streams_max = min(max_concurrent_streams, STREAMS_MAX)
        self.keepalive_interval_s = keepalive_interval_s
        self.keepalive_timeout_s = keepalive_timeout_s
        self.tls = tls
        self.connections: dict[NativeProtocol, None] = {}
        self.lingering: dict[LingeringProtocol, None] = {}  # Over, but for the client's side.
        self._room = room
        room.holds(self.connections.__len__, self.lingering.__len__)
        self._listeners: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None
        self.ping_pace = PingPace(clock)

    @property
    def streams(self) -> int:
        return len(self.host.streams)

    async def listen(self, url: URL) -> None:
        """Bind an address.

        Raises:
            OSError: it cannot be bound.
        """
        options = listening(self.tls, url)
        self._listeners.append(await self._room.listen(url, self._protocol, options))

    async def start(self) -> None:
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    def _protocol(self) -> asyncio.Protocol:
        if self.web is None:
            return NativeProtocol(self)
        return SniffingProtocol(self.web, lambda: NativeProtocol(self))

    async def _tick(self) -> None:
        sockets: list[NativeProtocol | LingeringProtocol] = []
        ticks = share = 0
        while True:
            await self.clock.sleep_until(next_tick(self.clock.now(), TICKS_PER_S))
            self.host.expire()
            if ticks % TICKS_PER_S == 0:
                sockets = self._sockets()
                share = math.ceil(len(sockets) / TICKS_PER_S)
            ticks += 1
            now = self.clock.now()
            for each in sockets[:share]:  # Ten thousand at once would hold up the loop.
                each.tick(now)
            del sockets[:share]

    def _sockets(self) -> list[NativeProtocol | LingeringProtocol]:
        return [*self.connections, *self.lingering]

    @property
    def is_busy(self) -> bool:
        """Whether there is something under way that a client waits for."""
        host = self.host
        return host.active > 0 or bool(host.streams) or self.methods.active_unary > 0

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls, end the streams as etcd does, let the rest finish within `grace_s`."""
        self.host.is_stopping = True
        for listener in self._listeners:
            listener.close()
        for call in list(self.host.streams):
            call.stop(RpcError(status.SERVER_STOPPED))
        await wait_until(lambda: not self.is_busy, grace_s)
        for protocol in list(self.connections):
            protocol.connection.drain()
        await asyncio.sleep(DRAIN_LOOK_S)

    async def close(self) -> None:
        """Let go of every socket."""
        if self._ticker is not None:
            self._ticker.cancel()
        self.ping_pace.close()
        for each in self._sockets():
            each.close()
        for listener in self._listeners:
            await listener.wait_closed()


class NativeProtocol(asyncio.Protocol):
    """One socket: bytes between it and its `Connection`."""

    def __init__(self, server: NativeServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._is_reading = False
        self._is_scheduled = False
        self._is_paused = False
        self._dirty: list[SendingCall] = []
        self._rest = b""  # What came and has not had its turn; meanwhile nothing is read.
        self._heard_at = server.clock.now()
        self._is_heard = False  # Since the last tick.
        self._pinged_at: float | None = None
        self._ends_at: float | None = None  # Unless it begins by then; or, if it is over, at all.
        self._stuck_at: float | None = None  # The client has taken nothing since.
        self._waiting_bytes = 0  # In the socket's buffer, at the last tick.
        self.connection = Connection(
            self._accept,
            streams_max=server.streams_max,
            on_output=self._on_output,
            on_ping=server.ping_pace.add,
        )

    # --- the socket's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = as_transport(transport)
        self.connection.peer_cn = peer_cn(transport)
        self._server.connections[self] = None
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._is_heard = True
        if self._rest or len(data) > TURN_BYTES:
            is_new = not self._rest
            self._rest += data
            if is_new:
                self._read_or_not()
                self._take_turn()
            return
        if len(data) <= AGAIN_BYTES_MAX:
            answer = self.connection.received_again(data)
            if answer is not None:
                if self._is_scheduled or self._is_paused:
                    self.connection.send(answer)  # Behind what waits.
                    self._flush()
                elif self._transport is not None:
                    self._transport.write(answer)
                return
        self._is_reading = True
        self.connection.receive(data)
        self._is_reading = False
        self._flush()

    def _take_turn(self) -> None:
        """Take some of the rest, unless very much waits already; the others come in between."""
        if self._transport is None:
            self._rest = b""
            return
        if self._server.methods.queued() > CROWD:
            self._loop.call_later(CROWDED_S, self._take_turn)
            return
        some, self._rest = self._rest[:TURN_BYTES], self._rest[TURN_BYTES:]
        self._is_reading = True
        self.connection.receive(some)
        self._is_reading = False
        if self._rest:
            self._loop.call_soon(self._take_turn)
        else:
            self._read_or_not()
        self._flush()

    def eof_received(self) -> bool:
        return False  # A client that has closed its side has closed: HTTP/2 knows no half.

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # lost is lost
        self._transport = None
        self._server.connections.pop(self, None)
        self._dirty.clear()
        self.connection.lost()

    def pause_writing(self) -> None:
        self._is_paused = True
        self._read_or_not()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._read_or_not()
        self._flush()

    def _read_or_not(self) -> None:
        if self._transport is None:
            return
        if self._is_paused or self._rest:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- the connection's side ---

    def _on_output(self) -> None:
        if not self._is_reading and not self._is_scheduled:
            self._is_scheduled = True
            self._server.outbox.later(self._flush)

    def _on_dirty(self, call: SendingCall) -> None:
        self._dirty.append(call)
        self._on_output()

    def _flush(self) -> None:
        """Write what there is, in one piece."""
        self._is_scheduled = False
        transport = self._transport
        if transport is None or self._is_paused:
            return
        if self._dirty:
            self._is_reading = True  # What packing sends is part of this very flush.
            dirty, self._dirty = self._dirty, []
            for call in dirty:
                call.pack()
            self._is_reading = False
        data = self.connection.take()
        if data:
            transport.write(data)
        if self.connection.is_dead:
            self._linger(transport)

    def _linger(self, transport: asyncio.Transport) -> None:
        server = self._server
        self._transport = None
        if self._rest:
            self._rest = b""
            transport.resume_reading()
        server.connections.pop(self, None)
        self.connection.lost()
        until = server.clock.now() + LINGER_S
        transport.set_protocol(LingeringProtocol(transport, until, server.lingering))

    def _accept(
        self, connection: Connection, stream_id: int, head: Head
    ) -> UnaryCall | StreamingCall | PlainCall | WebCall:
        host = self._server.host
        method = head.target.route
        if method is None:
            method = head.target.route = self._server.routes.of(head, self._on_dirty)
        if host.is_stopping and method is not NOT_GRPC:
            return RefusedCall(connection, stream_id, head, host, status.SERVER_STOPPED)
        if isinstance(method, UnaryMethod):
            return UnaryCall(connection, stream_id, head, host, method)
        if method is NOT_GRPC:
            web = self._server.web
            if web is None:
                return PlainCall(connection, stream_id, head, host)
            is_tls = self._transport is not None and is_secure(self._transport)
            return WebCall(connection, stream_id, head, host, web, is_tls=is_tls)
        if isinstance(method, Status):
            return RefusedCall(connection, stream_id, head, host, method)
        assert isinstance(method, StreamMethod)
        return StreamingCall(connection, stream_id, head, host, method, self._on_dirty)

    # --- time ---

    def tick(self, now: float) -> None:
        """About once a second: forgive floods, and find out whether a silent peer still lives."""
        if self._transport is None:
            return
        connection = self.connection
        connection.refill()
        if connection.is_dead or not connection.is_settled:
            self._wait_for_end(now)
            return
        self._ends_at = None
        self._note_taken(now)
        server = self._server
        if self._is_heard:
            self._is_heard, self._heard_at, self._pinged_at = False, now, None
        elif self._pinged_at is not None:
            if now - self._pinged_at > server.keepalive_timeout_s:
                self.close()
        elif 0 < server.keepalive_interval_s < now - self._heard_at:
            self._pinged_at = now
            connection.send(frame(PING, 0, 0, _PING_PAYLOAD))

    def _wait_for_end(self, now: float) -> None:
        """It does not get on with its beginning, or is over and cannot be told so."""
        connection = self.connection
        is_begun = connection.is_begun and not connection.is_dead
        if self._ends_at is None:
            self._ends_at = now + (LINGER_S if connection.is_dead else BEGIN_S)
        elif self._ends_at <= now:
            if is_begun:
                self._ends_at = None
                connection.fail(ErrorCode.SETTINGS_TIMEOUT, "SETTINGS was not acknowledged")
            else:
                self.close()

    def _note_taken(self, now: float) -> None:
        """Whoever takes what we send is alive; who takes nothing is not waited for for ever.

        Watches are: they hold little, and come back when they can.
        """
        assert self._transport is not None
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._waiting_bytes:
            self._is_heard = True
        is_stuck = self._is_paused and waiting == self._waiting_bytes
        self._waiting_bytes = waiting
        if not is_stuck:
            self._stuck_at = None
        elif self._stuck_at is None:
            self._stuck_at = now
        elif now - self._stuck_at >= UNTAKEN_S and not len(self.connection):
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
