"""A native connection without a socket: what one client sends, frame by frame, and hears.

/f.S/Echo   the message, at once            /f.S/Late  when the test answers
/f.S/Large  as many bytes as it says        /f.S/Talk  a stream: each message twice over
/f.S/Now    the message, by its call

A `Talk` answers at once what does not begin with `LATER`; that, its coroutine answers. It is
refused by a message of `REFUSED`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

import hpack

from server.call import PeerCall, Stream
from server.call_counts import CallCounts
from server.outbox import Outbox
from server.status import RpcError
from server.transport.base import OVERHEAD_BYTES
from server.transport.connection import Connection
from server.transport.dispatch import MethodTable, StreamMethod, UnaryMethod
from server.transport.frames import (
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
)
from server.transport.native import NativeProtocol, NativeServer
from server.transport.room import Room
from tests.server.transport.sockets import OPENING
from tests.server.transport.support import LIMIT_BYTES, REFUSAL, block, data, parsed, prefixed
from tests.support.at_once import AnsweredAtOnce
from tests.support.clock import FakeClock

LATER: Final = b"?"
REFUSED: Final = b"?refused"


class Socket(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_left = False  # The protocol has been taken off it.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002  # no TLS
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:  # noqa: ARG002  # it lingers
        self.is_left = True

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@dataclass
class Heard:
    """What came back on one stream."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    is_ended: bool = False
    reset: ErrorCode | None = None

    @property
    def status(self) -> bytes | None:
        return self.fields.get(b"grpc-status")

    @property
    def messages(self) -> list[bytes]:
        found, rest = [], self.body
        while rest:
            size = int.from_bytes(rest[1:5], "big")
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found


class Methods(MethodTable):
    def __init__(self, *, is_at_once: bool) -> None:
        super().__init__()
        self.late: list[PeerCall] = []
        self.begun = 0  # Coroutines of /f.S/Talk.
        self.gate = asyncio.Event()  # Where they wait before they answer.
        self.gate.set()
        self.batches: list[list[bytes]] = []  # As they were asked for at once.
        self.refuses = False  # Nothing is answered at once.
        self.counts = CallCounts()  # Of /f.S/Talk.
        at_once = AnsweredAtOnce(self._at_once) if is_at_once else None
        talk = StreamMethod(self._talk, self.counts, True, True, at_once)
        self._methods |= {
            "/f.S/Echo": UnaryMethod(_echo, CallCounts()),
            "/f.S/Late": UnaryMethod(self._late, CallCounts()),
            "/f.S/Now": UnaryMethod(_now, CallCounts()),
            "/f.S/Large": UnaryMethod(_large, CallCounts()),
            "/f.S/Talk": talk,
        }

    def _late(self, message: bytes, call: PeerCall) -> bytes | None:
        if message == REFUSED:
            raise RpcError(REFUSAL)
        self.late.append(call)
        return None

    def _at_once(self, messages: list[bytes]) -> list[bytes]:
        self.batches.append(messages)
        if self.refuses:
            return []
        return [each * 2 for each in takewhile(lambda each: each[:1] != LATER, messages)]

    async def _talk(self, stream: Stream) -> None:
        self.begun += 1
        while (message := await stream.receive()) is not None:
            await self.gate.wait()
            if message == REFUSED:
                raise RpcError(REFUSAL)
            await stream.send(message * 2)


def _echo(message: bytes, call: PeerCall) -> bytes | None:  # noqa: ARG001  # at once
    return message


def _now(message: bytes, call: PeerCall) -> bytes | None:
    call.reply(message)
    return None


def _large(message: bytes, call: PeerCall) -> bytes | None:  # noqa: ARG001  # at once
    return bytes(int(message))


class Client:
    """Must be made in a running loop."""

    def __init__(
        self,
        *,
        streams_max: int = 100,
        opening: bytes = OPENING,
        is_at_once: bool = True,
        beside: Client | None = None,
    ) -> None:
        """`beside` another one, of the same server."""
        self.clock = FakeClock()
        self.methods = Methods(is_at_once=is_at_once)
        self.server = NativeServer(
            self.methods,
            self.clock,
            max_request_bytes=LIMIT_BYTES - OVERHEAD_BYTES,
            max_concurrent_streams=streams_max,
            keepalive_interval_s=0,
            keepalive_timeout_s=0,
            room=Room(1),
            outbox=Outbox(),
        )
        if beside is not None:
            self.clock, self.methods, self.server = beside.clock, beside.methods, beside.server
        self.protocol = NativeProtocol(self.server)
        self.socket = Socket()
        self.protocol.connection_made(self.socket)
        self._decoder: Any = hpack.Decoder()
        self._heard: dict[int, Heard] = {}
        self.goaway: ErrorCode | None = None
        self.goaway_last_id = 0
        self.granted = 0  # Of the connection's window.
        self.longest = 0  # Of the frames of DATA.
        self.last_id = -1
        self.send(opening)

    @property
    def connection(self) -> Connection:
        return self.protocol.connection

    def is_awaited(self, stream_id: int) -> bool:
        """Noted, without a place among the streams."""
        connection = self.connection
        return stream_id in connection._awaited and stream_id not in connection._streams

    @property
    def is_over(self) -> bool:
        """Nothing is under way."""
        return len(self.connection) == 0 and self.host_streams == 0

    @property
    def host_streams(self) -> int:
        return len(self.server.host.streams)

    @property
    def counts(self) -> CallCounts:
        return self.methods.counts

    def send(self, *frames: bytes) -> None:
        self.protocol.data_received(b"".join(frames))

    def know(self, name: str, body: bytes = prefixed(b"1")) -> None:
        """Have one such request answered, so that the next ones may be awaited."""
        self.send(self.open(name), data(self.last_id, body))
        assert self.heard(self.last_id).status == b"0"

    def open(self, name: str = "Echo", **changes: bytes | None) -> bytes:
        """The head of one more request."""
        self.last_id += 2
        fields = block(_path=b"/f.S/" + name.encode(), **changes)
        return frame(HEADERS, END_HEADERS, self.last_id, fields)

    def heard(self, stream_id: int) -> Heard:
        """All that has come back on a stream so far."""
        frames, self.socket.written = parsed(self.socket.written), b""
        for each in frames:
            heard = self._heard.setdefault(each.stream_id, Heard())
            if each.type == HEADERS:
                heard.fields.update(self._decoder.decode(each.data, raw=True))
            elif each.type == DATA:
                heard.body += each.data
                self.longest = max(self.longest, len(each.data))
            elif each.type == WINDOW_UPDATE and not each.stream_id:
                self.granted += each.window_increment
            elif each.type == RST_STREAM:
                heard.reset = ErrorCode(each.error_code)
            elif each.type == GOAWAY:
                self.goaway = ErrorCode(each.error_code)
                self.goaway_last_id = each.last_stream_id
            if each.type in (HEADERS, DATA) and "END_STREAM" in each.flags:
                assert not heard.is_ended
                heard.is_ended = True
        return self._heard.setdefault(stream_id, Heard())


def count_of(client: Client) -> tuple[Any, ...]:
    """How the calls went, once nothing is under way."""
    counts = client.counts
    assert counts.active == client.host_streams == len(client.connection) == 0
    assert client.connection.held_bytes == 0
    assert len(asyncio.all_tasks()) == 1, "the test's own"
    ended = {code: many for code, many in enumerate(counts.failed) if many}
    messages = (counts.messages_received, counts.messages_sent)
    return counts.started, counts.ok, ended, messages, counts.received_bytes, counts.sent_bytes


def opened() -> tuple[Client, int]:
    """A client and a stream of it that has a place, no task, and nothing said yet."""
    client = Client()
    client.know("Talk")
    client.send(client.open("Talk"), data(client.last_id, b"", flags=0))
    assert (client.host_streams, client.methods.begun) == (1, 0)
    return client, client.last_id
