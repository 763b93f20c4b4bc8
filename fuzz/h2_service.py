"""The side that is tested: a core with calls whose answers are known beforehand.

/f.S/Echo    the message, at once           /f.S/Late   the message, when it is asked to
/f.S/Large   as many bytes as it says       /f.S/Fail   a refusal
/f.S/None    is refused before it is read   GET         there is no such page
/f.S/Talk    a stream: each message twice over, at once, or if it begins with `LATER` by a coroutine
"""

from __future__ import annotations

import random
from itertools import takewhile
from typing import Any, Final

from hyperframe.frame import Frame

from server.call import Call, Stream
from server.call_counts import CallCounts
from server.status import Code, RpcError, Status
from server.transport import streaming_whole, unary
from server.transport.connection import Connection, Whole
from server.transport.dispatch import StreamMethod, UnaryMethod
from server.transport.frames import FRAME_BYTES_MAX, HEADER_BYTES, PREFACE
from server.transport.head import Head
from server.transport.host import Host
from server.transport.hpack import _NEWEST, TABLE_BYTES_MAX, _size
from server.transport.peer import GAPS_MAX, PINGS_HELD_MAX, RESETS_MAX, STREAM_WINDOW_BYTES
from server.transport.plain import PlainCall
from server.transport.requests import BLOCKS_MAX
from server.transport.sending import SEND_AHEAD_BYTES, SendingCall
from server.transport.streaming import MESSAGE_OVERHEAD_BYTES, StreamingCall
from server.transport.unary import RefusedCall, UnaryCall
from server.transport.wire import PREFIX_BYTES
from tests.support.at_once import AnsweredAtOnce
from tests.support.clock import FakeClock

LIMIT_BYTES: Final = 300_000
REFUSAL: Final = Status(Code.UNAVAILABLE, "not today, 100% sure")
TEXTS_MAX: Final = 1024
LATER: Final = b"?"
# What a stream holds at most: empty messages cost more here than on their way.
_HELD_BYTES_MAX: Final = STREAM_WINDOW_BYTES * (1 + MESSAGE_OVERHEAD_BYTES // PREFIX_BYTES)
_UNSENT_BYTES_MAX: Final = SEND_AHEAD_BYTES + 2 * LIMIT_BYTES + FRAME_BYTES_MAX


class Service:
    def __init__(self, rng: random.Random, *, streams_max: int) -> None:
        self._rng = rng
        self.streams_max = streams_max
        self.host = Host(FakeClock(), LIMIT_BYTES)
        self.late: list[tuple[Call, bytes]] = []
        self.connection = Connection(
            self._accept, streams_max=streams_max, on_output=_nothing, on_ping=_nothing
        )
        self._methods = {
            b"/f.S/Echo": UnaryMethod(_echo, CallCounts()),
            b"/f.S/Late": UnaryMethod(self._keep, CallCounts()),
            b"/f.S/Large": UnaryMethod(_large, CallCounts()),
            b"/f.S/Fail": UnaryMethod(_fail, CallCounts()),
        }
        self.talks = CallCounts()
        self._answers = AnsweredAtOnce(self._at_once)
        self._talk = StreamMethod(
            _talk, self.talks, client_streams=True, server_streams=True, at_once=self._answers
        )
        self._dirty: list[SendingCall] = []
        self.awaited = self.at_once = self.again = 0  # How often the short ways were gone.

    def receive(self, data: bytes) -> None:
        answer = self.connection.received_again(data)
        if answer is None:
            self.connection.receive(data)
        else:
            self.again += 1
            self.connection.send(answer)

    def take(self) -> bytes:
        """What is to be sent, as when the connection writes."""
        dirty, self._dirty = self._dirty, []
        for each in dirty:
            each.pack()
        return self.connection.take()

    def _accept(
        self, connection: Connection, stream_id: int, head: Head
    ) -> UnaryCall | RefusedCall | PlainCall | StreamingCall:
        if not head.content_type.startswith(b"application/grpc"):
            return PlainCall(connection, stream_id, head, self.host)
        if head.path == b"/f.S/Talk":
            return self._accept_talk(connection, stream_id, head)
        method = self._methods.get(head.path)
        if method is None:
            return RefusedCall(connection, stream_id, head, self.host, REFUSAL)
        head.target.whole = self._counted(unary.answers_whole(self.host, method))
        return UnaryCall(connection, stream_id, head, self.host, method)

    def _accept_talk(self, connection: Connection, stream_id: int, head: Head) -> StreamingCall:
        on_dirty = self._dirty_again
        head.target.whole = self._counted(
            streaming_whole.answers_whole(self.host, self._talk, self._answers, on_dirty)
        )
        return StreamingCall(connection, stream_id, head, self.host, self._talk, on_dirty)

    def _counted(self, whole: Whole) -> Whole:
        def counted(
            connection: Connection, id: int, head: Head, data: bytes, start: int, stop: int
        ) -> Any:
            self.awaited += 1
            return whole(connection, id, head, data, start, stop)

        return counted

    def _dirty_again(self, call: SendingCall) -> None:
        self._dirty.append(call)

    def _at_once(self, messages: list[bytes]) -> list[bytes]:
        answers = [each * 2 for each in takewhile(_is_now, messages)]
        self.at_once += len(answers)
        return answers

    def _keep(self, message: bytes, call: Call) -> bytes | None:
        self.late.append((call, message))
        return None

    def answer_one(self) -> None:
        if self.late:
            call, message = self.late.pop(self._rng.randrange(len(self.late)))
            call.reply(message)

    def answer_all(self) -> None:
        while self.late:
            self.answer_one()


def _nothing(*_: object) -> None: ...


def _is_now(message: bytes) -> bool:
    return message[:1] != LATER


async def _talk(stream: Stream) -> None:
    while (message := await stream.receive()) is not None:
        await stream.send(message * 2)


def _echo(message: bytes, call: Call) -> bytes | None:  # noqa: ARG001  # answers at once
    return message


def _large(message: bytes, call: Call) -> bytes | None:  # noqa: ARG001  # answers at once
    return large_answer(message)


def large_answer(message: bytes) -> bytes:
    return b"x" * (len(message) * 1000 % 200_001)


def _fail(message: bytes, call: Call) -> bytes | None:  # noqa: ARG001  # refuses at once
    raise RpcError(REFUSAL)


def split_frames(data: bytes, *, has_preface: bool) -> list[bytes]:
    """The frames of `data`, which must be whole ones, by a parser that is not ours."""
    frames: list[bytes] = []
    at = 0
    if has_preface:
        assert data.startswith(PREFACE)
        at = len(PREFACE)
        frames.append(data[:at])
    while at < len(data):
        frame, size = Frame.parse_frame_header(memoryview(data[at : at + 9]))
        stop = at + 9 + size
        assert stop <= len(data), "a piece of a frame"
        frame.parse_body(memoryview(data[at + 9 : stop]))
        frames.append(data[at:stop])
        at = stop
    return frames


def check_bounds(service: Service) -> None:
    """Everything that could grow is within its bound."""
    connection = service.connection
    assert len(connection) <= service.streams_max
    assert len(connection._resets) <= RESETS_MAX
    assert len(connection._gaps) <= GAPS_MAX
    assert len(connection._pings) < PINGS_HELD_MAX
    assert not connection._awaited.keys() & connection._streams.keys()
    assert len(connection._heads) <= BLOCKS_MAX
    assert len(connection._by_fields) <= BLOCKS_MAX
    for names, (_, fields) in connection._by_fields.items():
        assert names == tuple(map(id, fields)), "kept, or another may have that id"
    assert set(connection._blocked) <= set(connection._streams)
    assert set(connection._bodies) <= set(connection._streams)
    assert len(connection._input) <= HEADER_BYTES + FRAME_BYTES_MAX
    decoder = connection._decoder
    assert 0 <= decoder._size <= TABLE_BYTES_MAX
    assert decoder._size == sum(map(_size, decoder._table[_NEWEST:]))
    assert len(decoder._texts) <= TEXTS_MAX
    streams = connection._streams.values()
    assert connection.held_bytes == sum(getattr(each, "held", 0) for each in streams)
    waiting = [each for each in streams if isinstance(each, UnaryCall) and each.unsent]
    assert connection.backlog_bytes == sum(each.unsent_bytes for each in waiting)
    for each in streams:
        if isinstance(each, StreamingCall):
            assert each.held <= _HELD_BYTES_MAX
            assert each.unsent_bytes <= _UNSENT_BYTES_MAX
        elif isinstance(each, UnaryCall):
            assert each.held <= LIMIT_BYTES + FRAME_BYTES_MAX
    # A stream's call is over when its service is done, and may still wait to be taken.
    talks = [each for each in streams if isinstance(each, StreamingCall) and each._last is None]
    assert set(talks) == set(service.host.streams)
    assert service.talks.active == len(talks)
