"""What both ends of a connection tell each other about it, and what is on its way out.

The state of one HTTP/2 connection but for its input: the streams there are, the windows, the
frames to be sent. `Connection` adds the reading of frames, requests and bodies.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from server.transport.faults import (
    ConnectionFault,
    StreamFault,
    check_connection_wide,
    check_size,
)
from server.transport.frames import (
    ACK,
    END_HEADERS,
    FRAME_BYTES_LIMIT,
    FRAME_BYTES_MAX,
    HEADERS,
    PING,
    PRIORITY_BYTES,
    SETTING_ENABLE_PUSH,
    SETTING_HEADER_TABLE_SIZE,
    SETTING_INITIAL_WINDOW_SIZE,
    SETTING_MAX_CONCURRENT_STREAMS,
    SETTING_MAX_FRAME_SIZE,
    SETTING_MAX_HEADER_LIST_SIZE,
    SETTINGS,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    ErrorCode,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from server.transport.head import Head
from server.transport.hpack import EMPTY_TABLE, TABLE_BYTES_MAX
from server.transport.stream import Stream

BLOCK_BYTES_MAX: Final = 64 << 10  # Of a header block, as it is on the wire.
STREAM_WINDOW_BYTES: Final = 1 << 20  # What a client may send on a stream before it is read.
CONNECTION_WINDOW_BYTES: Final = 16 << 20  # And on the connection at once.
NUISANCES_MAX: Final = 10_000  # Between two refills. A client that pings every 10 ms makes 100.
# Above that many, PING and WINDOW_UPDATE need a reason: clients send them for what they are sent.
# grpc's own stack makes one or two of an answer, whose least is some 30 bytes.
SENT_BYTES_A_NUISANCE: Final = 8
RESETS_MAX: Final = 256  # Ids of streams reset lately: frames for them may be on their way.
GAPS_MAX: Final = 16  # Stretches of ids that were passed over, of a client that does so.
BACKLOG_BYTES_MAX: Final = 256 << 20  # Answers not taken; above it new requests are refused.
HELD_BYTES_MAX: Final = 256 << 20  # Of bodies not yet whole, or not yet read by their service.
AGAIN_BYTES_MAX: Final = 32  # Of a frame that is expected again. A keepalive's are 25 at most.
PINGS_HELD_MAX: Final = 16  # Not acknowledged yet; with so many all are, at once.
STREAMS_A_NUISANCE: Final = 64  # That a change of their window touches: counted as one frame.


class Peer:
    """See the module. `Connection` is what is made.

    Of so many attributes CPython makes a dict of 1.6 KB, looked through at each use. So: slots.
    """

    __slots__ = (
        "__weakref__",
        "_awaited", "_blocked", "_bodies", "_configured", "_gaps", "_granted", "_is_acknowledged",
        "_is_ping_paced", "_is_told", "_last_id", "_nuisances", "_on_output", "_on_paced", "_out",
        "_out_bytes", "_paid", "_pings", "_replies", "_resets", "_seen_id", "_streams",
        "_streams_max", "_window_most", "backlog_bytes", "frame_bytes", "held_bytes", "is_dead",
        "is_draining", "must_shrink", "peer_cn", "stream_window", "whole_bytes", "window",
    )  # fmt: skip

    def __init__(
        self,
        *,
        streams_max: int,
        on_output: Callable[[], None],
        on_ping: Callable[[Peer], None],
    ) -> None:
        self._streams_max = streams_max
        self._on_output = on_output
        self._on_paced = on_ping
        self._pings: list[bytes] = []  # What those say that wait for `acknowledge`.
        self._is_ping_paced = False
        self._streams: dict[int, Stream] = {}
        # Requests whose body is still to come, and nothing else, as it looks: the head of each.
        self._awaited: dict[int, Head] = {}
        # Streams we reset lately: the client may not know yet, and is not blamed.
        self._resets: OrderedDict[int, None] = OrderedDict()
        self._gaps: deque[range] = deque(maxlen=GAPS_MAX)  # Ids below `_seen_id` never used.
        self._blocked: OrderedDict[int, None] = OrderedDict()  # Wait for `window`, oldest first.
        self._bodies: dict[int, int] = {}  # What is still to come, where the length was told.
        self._last_id = 0  # The last stream that was begun here,
        self._seen_id = 0  # and the last that the client has opened: GOAWAY comes in between.
        self._configured = False  # The client's first SETTINGS frame has been read,
        self._is_acknowledged = False  # and ours has been by the client.
        self._out: list[bytes] = [
            settings(
                (SETTING_MAX_CONCURRENT_STREAMS, streams_max),
                (SETTING_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
                (SETTING_MAX_HEADER_LIST_SIZE, BLOCK_BYTES_MAX),
            ),
            window_update(0, CONNECTION_WINDOW_BYTES - WINDOW_DEFAULT),
        ]
        self.window = WINDOW_DEFAULT  # Bytes of DATA the client lets us send on all streams.
        self._window_most = WINDOW_DEFAULT  # The largest `window` ever: growth beyond is counted.
        self._out_bytes = 0
        self._is_told = False  # `on_output` was called, and nothing has been taken since.
        self.backlog_bytes = 0  # Of unary answers that wait for a window.
        self.held_bytes = 0  # Of bodies that came, as `HELD_BYTES_MAX` counts them.
        self.must_shrink = False  # Our next header block is to say that the table is empty.
        self.frame_bytes = FRAME_BYTES_MAX  # Of one frame's payload, as the client allows.
        self.stream_window = WINDOW_DEFAULT  # Of each new stream, as the client has set it.
        self.whole_bytes = FRAME_BYTES_MAX  # Of the DATA of a new stream's answer, if all goes now.
        self._nuisances = 0
        self._replies = 0  # PING and WINDOW_UPDATE frames, since the last refill.
        self._granted = WINDOW_DEFAULT  # What `window` would be if nothing had been sent,
        self._paid = 0  # and how much had been at the last refill.
        self.is_draining = False  # GOAWAY was sent: no new streams.
        self.peer_cn: str | None = None  # Of the client's certificate, if TLS has verified one.
        self.is_dead = False  # Nothing more is read; the socket closes once all is sent.

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._streams) + len(self._awaited)

    @property
    def is_settled(self) -> bool:
        """Both sides know each other's settings."""
        return self._configured and self._is_acknowledged

    # --- output ---

    def send(self, data: bytes) -> None:
        """Queue whole frames. A stream takes what it sends as DATA off both windows itself."""
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._is_told:
            self._is_told = True
            self._on_output()

    def send_block(self, flags: int, stream_id: int, block: bytes) -> None:
        """Queue a header block, whole."""
        if self.must_shrink:
            self.must_shrink = False
            self._set_whole_bytes()
            block = EMPTY_TABLE + block
        self.send(frame(HEADERS, flags | END_HEADERS, stream_id, block))

    def take(self) -> bytes:
        """What is to be written to the socket now."""
        out, self._out = self._out, []
        self._out_bytes = 0
        self._is_told = False
        return b"".join(out)

    def end(self, stream_id: int) -> None:
        """Both sides have said their last: forget the stream."""
        self._streams.pop(stream_id, None)
        if self._blocked:
            self._blocked.pop(stream_id, None)
        if self._bodies:
            self._bodies.pop(stream_id, None)
        if self.is_draining:
            self._die_if_done()

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End one stream from our side; its `lost` is not called."""
        self.send(rst_stream(stream_id, code))
        self._resets[stream_id] = None
        if len(self._resets) > RESETS_MAX:
            self._resets.popitem(last=False)
        self.end(stream_id)

    def wait_for_window(self, stream_id: int) -> None:
        """Call the stream's `writable` once the connection's window has room again."""
        self._blocked[stream_id] = None

    def grant(self, stream_id: int, size: int) -> None:
        """Let the client send `size` more bytes on a stream, for those that were used up."""
        self.send(window_update(stream_id, size))

    def drain(self) -> None:
        """Take no new streams; the connection is dead once those it has are done."""
        if not self.is_draining:
            self.is_draining = True
            self.send(goaway(self._last_id, ErrorCode.NO_ERROR))
            self._die_if_done()

    def refill(self) -> None:
        """Forgive what was counted so far. Called about once a second."""
        self._nuisances = self._replies = 0
        self._paid = self._granted - self.window

    def lost(self) -> None:
        """The socket is gone, or is about to be closed: every stream hears it."""
        self.is_dead = True
        self._blocked.clear()
        self._bodies.clear()
        self._awaited.clear()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.lost(ErrorCode.CANCEL)
        # Whoever hears of it holds it, and is held by it: only the collector frees a circle, and
        # the collector comes rarely.
        self._on_output = self._on_paced = _unheard

    # --- control frames ---

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_size(payload, 8)
        check_connection_wide(stream_id)
        self._reply()
        if flags & ACK:
            return
        self._pings.append(payload)
        if not self._is_ping_paced:
            self.acknowledge()
            self._on_paced(self)
        elif len(self._pings) == PINGS_HELD_MAX:
            self.acknowledge()

    def acknowledge(self) -> bool:
        """Acknowledge the PINGs that came; false if there are none, and the next need not wait."""
        pings, self._pings = self._pings, []
        self._is_ping_paced = bool(pings) and not self.is_dead
        if self._is_ping_paced:
            self.send(b"".join([frame(PING, ACK, 0, payload) for payload in pings]))
        return self._is_ping_paced

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        check_size(payload, 4)
        increment = int.from_bytes(payload, "big") & WINDOW_MAX
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
            self.window += increment
            self._granted += increment
            if self.window > WINDOW_MAX:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window too large")
            if self.window > self._window_most:
                self._window_most = self.window
                self._reply()
            # Only those that wait for this very window, however many streams there are.
            while self._blocked and self.window > 0:
                waiting = self._streams.get(self._blocked.popitem(last=False)[0])
                if waiting is not None:
                    waiting.writable()
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_used(stream_id)
            self._reply()
            return
        if increment == 0:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        stream.window += increment
        if stream.window > WINDOW_MAX:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        if stream.window > self.stream_window:
            self._reply()  # More than it began with: nothing on this stream has paid for it.
        stream.writable()

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_connection_wide(stream_id)
        self._nuisance()
        if flags & ACK:
            check_size(payload, 0)
            self._is_acknowledged = True
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        self._configured = True
        stream_window = self.stream_window
        for at in range(0, len(payload), 6):
            name = int.from_bytes(payload[at : at + 2], "big")
            value = int.from_bytes(payload[at + 2 : at + 6], "big")
            if name == SETTING_INITIAL_WINDOW_SIZE:
                if value > WINDOW_MAX:
                    raise ConnectionFault(
                        ErrorCode.FLOW_CONTROL_ERROR, "an initial window too large"
                    )
                stream_window = value
            elif name == SETTING_HEADER_TABLE_SIZE:
                # RFC 7541 section 4.2. Once told, our table is empty for good.
                if value < TABLE_BYTES_MAX:
                    self.must_shrink = True
            elif name == SETTING_MAX_FRAME_SIZE:
                if not FRAME_BYTES_MAX <= value <= FRAME_BYTES_LIMIT:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame size out of range")
                self.frame_bytes = value
            elif name == SETTING_ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        self.send(frame(SETTINGS, ACK, 0))  # Before any DATA that the change lets go.
        # Once a frame, however often the frame says it: each change visits every stream.
        if stream_window != self.stream_window:
            self._set_stream_window(stream_window)
        self._set_whole_bytes()

    def _set_whole_bytes(self) -> None:
        """To nothing as long as the next header block is to begin with something else."""
        self.whole_bytes = 0 if self.must_shrink else min(self.frame_bytes, self.stream_window)

    def _set_stream_window(self, size: int) -> None:
        """Applies to the streams there are, too; a window may thereby become negative."""
        self._nuisances += len(self._streams) // STREAMS_A_NUISANCE
        change = size - self.stream_window
        self.stream_window = size
        for stream in list(self._streams.values()):
            stream.window += change
            if stream.window > WINDOW_MAX:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window too large")
            if change > 0:
                stream.writable()

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        check_size(payload, 4)
        self._nuisance()
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_used(stream_id)
            return
        self.end(stream_id)
        stream.lost(int.from_bytes(payload, "big"))

    def _on_priority(self, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
        self._nuisance()
        if len(payload) != PRIORITY_BYTES:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        if depends_on(payload) == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)

    def _check_used(self, stream_id: int) -> None:
        """A frame came for no open stream. Was there ever one of that id?"""
        if stream_id == 0 or stream_id & 1 == 0 or stream_id > self._seen_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame on a stream never opened")

    def _nuisance(self) -> None:
        self._nuisances += 1
        if self._nuisances > NUISANCES_MAX:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to no purpose")

    def _reply(self) -> None:
        """As `_nuisance`, of a kind that honest clients answer DATA with, at whatever pace."""
        self._replies += 1
        if self._replies > NUISANCES_MAX:
            sent = self._granted - self.window - self._paid
            if self._replies > NUISANCES_MAX + sent // SENT_BYTES_A_NUISANCE:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to no purpose")

    def _die_if_done(self) -> None:
        if self.is_draining and not len(self):
            self.is_dead = True
            self._on_output()


def _unheard(*_: object) -> None:
    """What a connection that is lost tells."""


def depends_on(priority: bytes) -> int:
    return int.from_bytes(priority[:4], "big") & WINDOW_MAX
