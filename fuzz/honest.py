"""The honest peer: python's `h2`, which checks every frame it is sent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from fuzz.h2_service import LATER, REFUSAL, large_answer, split_frames
from server.transport.connection import Connection

_METHODS: Final = (b"Echo", b"Late", b"Large", b"Fail", b"None", b"Talk")
_TIMEOUTS: Final = (None, b"5S", b"4999871u", b"1H")
_WINDOWS: Final = (0, 1, 100, 65_535, 1 << 20)


@dataclass
class _Request:
    path: bytes
    body: bytes  # With its prefix.
    sent: int = 0
    is_ended: bool = False
    answer: bytearray = field(default_factory=bytearray)
    headers: dict[bytes, bytes] = field(default_factory=dict)


class HonestClient:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._peer: Any = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._peer.initiate_connection()
        self.unfinished: dict[int, _Request] = {}
        self._is_settling = True  # SETTINGS has not been acknowledged.
        # Half of them say the same again and again, as real clients do.
        self._repeats = rng.choices((b"Echo", b"Late", b"Talk"), k=2) if rng.random() < 0.5 else []
        self.answered = 0
        self._actions = (
            *[self._open] * 5,
            *[self._send] * 8,
            *[self._send_alone] * 4,
            self._reset,
            self._ping,
            self._settings,
            self._window,
            self._prioritise,
        )

    def act(self) -> None:
        self._rng.choice(self._actions)()

    def take(self) -> bytes:
        return bytes(self._peer.data_to_send())

    def has_output(self) -> bool:
        return bool(self._peer._data_to_send)

    # --- what it does ---

    def _open(self) -> None:
        peer, rng = self._peer, self._rng
        if peer.open_outbound_streams >= peer.remote_settings.max_concurrent_streams:
            return
        is_plain = not self._repeats and rng.random() < 0.1
        name = rng.choice(self._repeats or _METHODS)
        headers = [
            (b":method", b"GET" if is_plain else b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/health" if is_plain else b"/f.S/" + name),
            (b":authority", b"localhost"),
        ]
        if not is_plain:
            headers += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
            timeout = None if self._repeats else rng.choice(_TIMEOUTS)
            if timeout is not None:
                headers.append((b"grpc-timeout", timeout))
        for _ in range(0 if self._repeats else rng.randrange(3)):
            value = bytes(rng.choice(b"abcXYZ019-_ /\xff") for _ in range(rng.randrange(200)))
            headers.append((b"x-%d" % rng.randrange(5), value.strip()))
        body = b"" if is_plain else self._body(name)
        if not self._repeats and rng.random() < 0.2:
            headers.append((b"content-length", b"%d" % len(body)))
        stream_id = peer.get_next_available_stream_id()
        request = _Request(b"" if is_plain else name, body, is_ended=is_plain)
        self.unfinished[stream_id] = request
        peer.send_headers(stream_id, headers, end_stream=is_plain)

    def _body(self, name: bytes) -> bytes:
        rng = self._rng
        if name != b"Talk":
            sizes = (0, 1, 10, 300) if self._repeats else (0, 1, 10, 300, 20_000, 150_000)
            return _prefixed(rng.randbytes(rng.choice(sizes)))
        body = b""
        for _ in range(rng.randrange(5)):
            message = rng.choice((b"", b"", b"", LATER)) + rng.randbytes(
                rng.choice((0, 1, 9, 3000))
            )
            body += _prefixed(message) * rng.choice((1, 1, 2, 8, 100))
        return body

    def _some(self) -> tuple[int, _Request] | None:
        sending = [pair for pair in self.unfinished.items() if not pair[1].is_ended]
        return self._rng.choice(sending) if sending else None

    def _send(self) -> None:
        some = self._some()
        if some is not None:
            self._send_piece(*some, self._rng.choice((0, 1, 5, 1000, 16_384)))

    def _send_alone(self) -> None:
        """The rest of a message of the oldest stream that has any, as keepalives are sent."""
        for stream_id, request in self.unfinished.items():
            if request.path == b"Talk" and not request.is_ended:
                stop = 0
                while stop <= request.sent and stop < len(request.body):
                    stop += 5 + int.from_bytes(request.body[stop + 1 : stop + 5], "big")
                self._send_piece(stream_id, request, stop - request.sent, paddings=(None,))
                return

    def _send_piece(
        self,
        stream_id: int,
        request: _Request,
        size: int,
        paddings: Sequence[int | None] = (None, None, None, 0, 200),
    ) -> None:
        peer = self._peer
        rest = len(request.body) - request.sent
        padding = self._rng.choice(paddings)
        cost = 0 if padding is None else padding + 1
        room = min(peer.local_flow_control_window(stream_id), peer.max_outbound_frame_size) - cost
        size = min(size, rest, room)
        if size < 0:
            return
        is_last = size == rest
        piece = request.body[request.sent : request.sent + size]
        peer.send_data(stream_id, piece, end_stream=is_last, pad_length=padding)
        request.sent += size
        request.is_ended = is_last

    def _reset(self) -> None:
        if self.unfinished and self._rng.random() < 0.5:
            stream_id = self._rng.choice(list(self.unfinished))
            self._peer.reset_stream(stream_id, error_code=8)
            del self.unfinished[stream_id]

    def _ping(self) -> None:
        self._peer.ping(self._rng.randbytes(8))

    def _settings(self) -> None:
        rng = self._rng
        if self._is_settling:
            return  # h2 takes an acknowledgement for one of all that it has changed since.
        self._is_settling = True
        self._peer.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: rng.choice(_WINDOWS),
                SettingCodes.HEADER_TABLE_SIZE: rng.choice((0, 100, 4096, 65_536)),
                SettingCodes.MAX_FRAME_SIZE: rng.choice((16_384, 20_000, 1 << 20)),
            }
        )

    def _window(self) -> None:
        stream_id = self._rng.choice([None, *self.unfinished])
        self._widen(stream_id, self._rng.choice((1, 10, 5000, 100_000)))

    def _widen(self, stream_id: int | None, size: int) -> None:
        peer = self._peer
        manager = (
            peer._inbound_flow_control_window_manager
            if stream_id is None
            else peer.streams[stream_id]._inbound_window_manager
        )
        # Not so near to the end that a change of settings would go beyond it.
        if manager.current_window_size + size < (1 << 30):
            peer.increment_flow_control_window(size, stream_id)

    def _prioritise(self) -> None:
        self._peer.prioritize(self._rng.choice((1, 3, 5, 1001)), weight=7, depends_on=0)

    # --- what it reads ---

    def read(self, data: bytes) -> None:
        # A frame at a time: h2 looks up its own frame size once for all that it is given.
        for frame in split_frames(data, has_preface=False):
            for event in self._peer.receive_data(frame):
                self._on_event(event)

    def _on_event(self, event: Any) -> None:
        assert not isinstance(event, events.ConnectionTerminated), event
        if isinstance(event, events.SettingsAcknowledged):
            self._is_settling = False
        request = self.unfinished.get(getattr(event, "stream_id", None) or 0)
        if request is None:
            return
        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            request.headers.update(event.headers)
        elif isinstance(event, events.DataReceived):
            request.answer += event.data
        elif isinstance(event, events.StreamEnded):
            _check_answer(request)
            self.answered += 1
            del self.unfinished[event.stream_id]
        elif isinstance(event, events.StreamReset):
            # Only where it opened too many before it had read how many it may.
            assert event.error_code == ErrorCodes.REFUSED_STREAM, event
            del self.unfinished[event.stream_id]

    def open_windows(self) -> None:
        """Let the server send, and send what is left."""
        if not self._is_settling and self._peer.local_settings.initial_window_size < 1 << 20:
            self._is_settling = True
            self._peer.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self._widen(None, 1 << 20)
        for stream_id, request in list(self.unfinished.items()):
            self._widen(stream_id, 1 << 18)
            if not request.is_ended:
                self._send_piece(stream_id, request, 16_384)

    def check_windows(self, connection: Connection) -> None:
        """How much may still be sent to it: both sides must have counted alike."""
        manager = self._peer._inbound_flow_control_window_manager
        assert connection.window == manager.current_window_size
        assert connection.stream_window == self._peer.local_settings.initial_window_size
        assert connection.frame_bytes == self._peer.local_settings.max_frame_size


def _prefixed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _twice_over(body: bytes) -> bytes:
    said = b""
    while body:
        size = int.from_bytes(body[1:5], "big")
        said += _prefixed(body[5 : 5 + size] * 2)
        body = body[5 + size :]
    return said


def _check_answer(request: _Request) -> None:
    message = request.body[5:]
    headers, answer = request.headers, bytes(request.answer)
    if not request.path:
        assert headers[b":status"] == b"404"
        assert len(answer) == int(headers[b"content-length"])
        return
    assert headers[b":status"] == b"200"
    if request.path in (b"Fail", b"None"):
        assert headers[b"grpc-status"] == b"%d" % REFUSAL.code
        assert headers[b"grpc-message"] == REFUSAL.message.replace("%", "%25").encode()
        assert not answer
        return
    assert headers[b"grpc-status"] == b"0"
    if request.path == b"Talk":
        assert answer == _twice_over(request.body)
    else:
        assert answer == _prefixed(large_answer(message) if request.path == b"Large" else message)
