"""etcdserverpb.Watch: one stream, many watchers, all responses in one order.

Everything a stream sends passes through one outbox, or past it while it is empty and the transport
takes more at once; so a created reply comes before the watcher's first event, and a progress
notification behind every event it speaks of. What does not wait wakes no task. The outbox is
bounded. What finds it full is not lost: a watcher that the hub cannot serve falls behind and is
caught up from history once the client has read on; a periodic progress notification is dropped,
as in etcd; and requests are not read while their answers cannot be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from etcdpb.rpc_pb2 import WatchCreateRequest, WatchRequest, WatchResponse
from mvcc.keyrange import KeyRange
from mvcc.watch import WatchHub
from mvcc.watcher import Run, Sink, Watcher
from server import status
from server.auth.errors import AuthError
from server.call import Stream
from server.clock import Clock
from server.commands.base import State
from server.engine import Engine
from server.header import Headers
from server.services.responses import Responses, fragments

# etcd has room for 128. A response costs the transport far more than an event, and a watcher that
# falls behind is caught up with many revisions in one: the fewer, the cheaper a storm of expiries.
OUTBOX_RESPONSES_MAX: Final = 16
OUTBOX_BYTES_MAX: Final = 16 << 20  # Of events waiting in a stream's outbox; one always fits.
OUTBOXES_BYTES_MAX: Final = 64 << 20  # Of all streams; above it each has room for one response.
WATCHERS_PER_STREAM_MAX: Final = 1 << 20  # etcd has no limit; this is some 300 MB.
_REFUSED_ID: Final = -1
_ALL_WATCHERS_ID: Final = -1  # A progress notification for the whole stream.


class WatchService:
    def __init__(
        self,
        engine: Engine,
        state: State,
        hub: WatchHub,
        headers: Headers,
        clock: Clock,
        *,
        progress_interval_s: float,
        max_response_bytes: int,
    ) -> None:
        """`max_response_bytes`: above it the responses of a watcher that asks are cut."""
        self.engine = engine
        self.store = state.store
        self.auth = state.auth
        self.gate = state.gate
        self.hub = hub
        self.headers = headers
        self.responses = Responses(headers)
        self.clock = clock
        self.progress_interval_s = progress_interval_s
        self.outboxes_bytes = 0
        self.max_response_bytes = max_response_bytes

    async def Watch(self, stream: Stream) -> None:
        """Serve one stream until the client is gone. A half-close ends nothing."""
        await _WatchStream(self, stream).run()


class _WatchStream(Sink):
    """One stream's watchers and its outbox. It is the sink of all of its watchers."""

    def __init__(self, service: WatchService, stream: Stream) -> None:
        self._service = service
        self._hub = service.hub
        self._responses = service.responses
        self._stream = stream
        self._watchers: dict[int, Watcher] = {}
        self._fragmented: set[int] = set()
        self._notified: dict[int, bool] = {}  # By id: has it sent events since the last tick?
        self._next_id = 0
        self._outbox: deque[list[bytes]] = deque()  # A response, or the pieces of one.
        self._outbox_bytes = 0
        self._wake = asyncio.Event()  # Something to send, or a watcher fell behind.
        self._room = asyncio.Event()  # The outbox was emptied.
        self._ticker: asyncio.Task[None] | None = None
        self._progress_asked = False

    async def run(self) -> None:
        reader = asyncio.ensure_future(self._read())
        sender = asyncio.ensure_future(self._send())
        try:
            # The reader ends at the client's half-close, the sender never by itself.
            await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (reader, sender):
                if task.done():
                    task.result()
            await sender
        finally:
            tasks = [task for task in (reader, sender, self._ticker) if task is not None]
            for task in tasks:
                task.cancel()
            for watcher in self._watchers.values():
                self._hub.remove(watcher)
            self._watchers.clear()
            self._count(-self._outbox_bytes)
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    # --- from the client ---

    async def _read(self) -> None:
        while (message := await self._stream.receive()) is not None:
            while len(self._outbox) >= OUTBOX_RESPONSES_MAX:
                self._room.clear()
                await self._room.wait()
            request = WatchRequest.FromString(message)
            kind = request.WhichOneof("request_union")
            if kind == "create_request":
                # The revision of the created reply is where the watcher's events begin.
                await self._service.engine.settled()
                self._create(request.create_request)
            elif kind == "cancel_request":
                self._cancel(request.cancel_request.watch_id)
            elif kind == "progress_request":
                self._progress_asked = True
                self._wake.set()

    def _create(self, request: WatchCreateRequest) -> None:
        # An empty key is the smallest there is (server/etcdserver/api/v3rpc/watch.go).
        keys = KeyRange.from_wire(request.key or b"\0", request.range_end)
        reason = None
        if request.start_revision < 0:
            reason = status.COMPACTED.message
        elif self._service.auth.enabled and (denied := self._denial(request)) is not None:
            reason = denied
        elif keys.is_empty:
            reason = status.WATCH_EMPTY_RANGE
        elif len(self._watchers) >= WATCHERS_PER_STREAM_MAX:
            reason = status.TOO_MANY_REQUESTS.message
        elif request.watch_id in self._watchers and request.watch_id != 0:
            reason = status.WATCH_DUPLICATE_ID
        if reason is not None:
            self._respond(
                WatchResponse(
                    watch_id=_REFUSED_ID, created=True, canceled=True, cancel_reason=reason
                )
            )
            return
        watch_id = request.watch_id or self._pick_id()
        watcher = Watcher(
            watch_id,
            keys,
            self,
            start_revision=request.start_revision,
            no_put=WatchCreateRequest.NOPUT in request.filters,
            no_delete=WatchCreateRequest.NODELETE in request.filters,
            prev_kv=request.prev_kv,
        )
        self._watchers[watch_id] = watcher
        if request.fragment:
            self._fragmented.add(watch_id)
        if request.progress_notify:
            self._notified[watch_id] = False
            if self._ticker is None:
                self._ticker = asyncio.ensure_future(self._tick())
        self._respond(WatchResponse(watch_id=watch_id, created=True))
        self._hub.add(watcher)
        self._wake.set()

    def _denial(self, request: WatchCreateRequest) -> str | None:
        """Why the caller may not watch these keys. One that may is not asked again, as in etcd."""
        try:
            principal = self._service.gate.principal(self._stream)
            principal.must_read(request.key or b"\0", request.range_end)
        except AuthError as error:
            return status.go_text(status.STATUS_OF[type(error)])
        return None

    def _pick_id(self) -> int:
        """The smallest id never picked on this stream and not in use."""
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _cancel(self, watch_id: int) -> None:
        """An id that is unknown, or was cancelled already, gets no answer at all."""
        watcher = self._watchers.pop(watch_id, None)
        if watcher is None:
            return
        self._fragmented.discard(watch_id)
        self._notified.pop(watch_id, None)
        self._hub.remove(watcher)
        self._respond(WatchResponse(watch_id=watch_id, canceled=True))

    # --- progress ---

    def _answer_progress(self) -> None:
        """Tell how far the whole stream is, if that was asked and no watcher is behind.

        etcd drops a request that finds one behind. Ours fall behind sooner and catch up at once,
        so the request waits for it. What waits for a revision that has not happened, or was told
        that its revisions are compacted, stands in the way as on etcd: the request is dropped.
        """
        if not self._progress_asked or self._behind():
            return
        self._progress_asked = False
        if self._watchers and self._hub.progress_revision(self._watchers.values()) is not None:
            self._respond(WatchResponse(watch_id=_ALL_WATCHERS_ID))

    async def _tick(self) -> None:
        clock, interval_s = self._service.clock, self._service.progress_interval_s
        while True:
            await clock.sleep_until(clock.now() + interval_s)
            for watch_id, had_events in self._notified.items():
                self._notified[watch_id] = False
                watcher = self._watchers[watch_id]
                if had_events or self._hub.progress_revision((watcher,)) is None:
                    continue
                if self._has_room():
                    self._respond(WatchResponse(watch_id=watch_id))

    # --- to the client ---

    def _has_room(self) -> bool:
        if not self._outbox:
            return True
        return (
            len(self._outbox) < OUTBOX_RESPONSES_MAX
            and self._outbox_bytes < OUTBOX_BYTES_MAX
            and self._service.outboxes_bytes < OUTBOXES_BYTES_MAX
        )

    def _count(self, size: int) -> None:
        self._outbox_bytes += size
        self._service.outboxes_bytes += size

    def _respond(self, response: WatchResponse) -> None:
        """Queue an answer that carries no events, with the revision of now in its header."""
        header = self._service.headers.at(self._service.store.published)
        self._put([header + response.SerializeToString()])

    def _put(self, pieces: list[bytes]) -> None:
        if not self._outbox and len(pieces) == 1 and self._stream.send_now(pieces[0]):
            return  # Nothing waits that it would overtake: the sender's send has returned.
        self._queue(pieces)

    def _queue(self, pieces: list[bytes]) -> None:
        self._outbox.append(pieces)
        self._count(sum(map(len, pieces)))
        self._wake.set()

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:
        """Called by the hub: one revision's events for one watcher."""
        watch_id = watcher.id
        if self._outbox and not self._has_room():
            self._wake.set()
            return False
        if watch_id in self._fragmented:
            self._queue_events(watcher, revision, events)
            return True
        if watch_id in self._notified:
            self._notified[watch_id] = True
        response = self._responses.live(watch_id, revision, events)
        if self._outbox or not self._stream.send_now(response):
            self._queue([response])
        return True

    def offer_run(self, watcher: Watcher, run: Run) -> int:
        """Called by the hub: several revisions of one event each."""
        watch_id = watcher.id
        # One event alone is never cut, so it is all the same who has asked for fragments.
        burst = None if self._outbox else self._responses.burst(watch_id, run)
        if burst is None or not self._stream.send_all_now(burst):
            return super().offer_run(watcher, run)
        if watch_id in self._notified:
            self._notified[watch_id] = True
        return len(run)

    def _queue_events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        if watcher.id in self._notified:
            self._notified[watcher.id] = True
        prefix = self._responses.prefix(watcher.id, revision)
        if watcher.id in self._fragmented:
            self._put(fragments(prefix, events, self._service.max_response_bytes))
        else:
            self._put([b"".join((prefix, *events))])

    async def _send(self) -> None:
        while True:
            while self._outbox:
                pieces = self._outbox[0]
                for piece in pieces:
                    await self._stream.send(piece)
                self._outbox.popleft()
                self._count(-sum(map(len, pieces)))
            self._room.set()
            self._wake.clear()
            caught_up = await self._catch_up()
            self._answer_progress()
            if not caught_up and not self._outbox:
                await self._wake.wait()

    def _behind(self) -> list[Watcher]:
        return [w for w in self._watchers.values() if not w.is_synced and not w.is_compacted]

    async def _catch_up(self) -> bool:
        """Give each watcher that is behind a turn, as far as there is room. False if none is."""
        behind = self._behind()
        for watcher in behind:
            await self._service.engine.settled()
            if not self._has_room():
                break
            if self._watchers.get(watcher.id) is not watcher or watcher.is_synced:
                continue  # Cancelled meanwhile.
            caught = self._hub.catch_up(watcher)
            if caught.events:
                self._queue_events(watcher, self._service.store.published, caught.events)
            elif caught.compact_revision:
                # etcd sends this one without a revision in its header.
                response = WatchResponse(
                    watch_id=watcher.id, canceled=True, compact_revision=caught.compact_revision
                )
                self._put([self._service.headers.at(0) + response.SerializeToString()])
            await asyncio.sleep(0)  # A long history is read in turns with everything else.
        return bool(behind)
