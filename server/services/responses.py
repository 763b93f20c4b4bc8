"""What a watcher is sent: the encoded WatchResponse around its events.

Many clients watch the same keys, and a stream's first watcher has the id 0 nearly always. So the
response to an event is made once for all watchers of one id that hear of that event alone, but for
the first of all, and their streams send the same bytes.

Bound: the responses to one event and those to one run of revisions, `SHARED_IDS_MAX` of at most
`SHARED_BYTES_MAX` each.
"""

from __future__ import annotations

from typing import Final

from mvcc.record import varint
from mvcc.watcher import Run
from server.call import Burst
from server.header import Headers

SHARED_IDS_MAX: Final = 64  # One more, and all are forgotten.
SHARED_BYTES_MAX: Final = 16 << 10  # Of a response, or a run's events: above it copies cost most.
_ID_TAG: Final = b"\x10"  # WatchResponse.watch_id, field 2.
_SHORT_ID: Final = [b"", *(_ID_TAG + varint(number) for number in range(1, 0x80))]  # 0: left out.
_FRAGMENT: Final = b"\x38\x01"  # WatchResponse.fragment, field 7.


class Responses:
    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._event = b""  # That `_made` are about. It is held, so no other can be taken for it.
        self._made: dict[int, bytes] = {}  # By watch id.
        self._run: Run = []  # That `_bursts` are about, and held like the event.
        self._bursts: dict[int, Burst] = {}  # By watch id.

    def live(self, watch_id: int, revision: int, events: list[bytes]) -> bytes:
        """The response to what one revision did; an event is the same object for all watchers."""
        prefix = self.prefix
        if len(events) > 1:
            return b"".join((prefix(watch_id, revision), *events))
        event = events[0]
        if event is not self._event:  # It is kept from the second watcher on: most have but one.
            self._event = event
            if self._made:
                self._made.clear()
            return prefix(watch_id, revision) + event
        response = self._made.get(watch_id)
        if response is None:
            response = prefix(watch_id, revision) + event
            if len(response) <= SHARED_BYTES_MAX:
                if len(self._made) >= SHARED_IDS_MAX:
                    self._made.clear()
                self._made[watch_id] = response
        return response

    def burst(self, watch_id: int, run: Run) -> Burst | None:
        """The responses to a run of revisions, of one event each; None if they are too large.

        For one and the same run and id the same object.
        """
        if run is self._run:
            burst = self._bursts.get(watch_id)
            if burst is not None:
                return burst
        if sum(len(events[0]) for _, events in run) > SHARED_BYTES_MAX:
            return None
        if run is not self._run or len(self._bursts) >= SHARED_IDS_MAX:
            self._bursts.clear()
            self._run = run
        messages = [self.live(watch_id, revision, events) for revision, events in run]
        burst = self._bursts[watch_id] = Burst(messages)
        return burst

    def prefix(self, watch_id: int, revision: int) -> bytes:
        """What stands before the events."""
        is_short = 0 <= watch_id < 0x80
        field = _SHORT_ID[watch_id] if is_short else _ID_TAG + varint(watch_id)
        return self._headers.at(revision) + field


def fragments(prefix: bytes, events: list[bytes], limit: int) -> list[bytes]:
    """Cut a response between its events so that each piece is below `limit`, if it can be.

    All pieces but the last say that they are fragments; one event alone is never cut.
    """
    if len(prefix) + sum(map(len, events)) < limit:
        return [b"".join((prefix, *events))]
    pieces: list[bytes] = []
    piece: list[bytes] = []
    size = len(prefix) + len(_FRAGMENT)
    for event in events:
        if piece and size + len(event) >= limit:
            pieces.append(b"".join((prefix, _FRAGMENT, *piece)))
            piece, size = [], len(prefix) + len(_FRAGMENT)
        piece.append(event)
        size += len(event)
    pieces.append(b"".join((prefix, *piece)))
    return pieces
