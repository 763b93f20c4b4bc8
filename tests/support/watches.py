"""A watch stream of a server in the process, and what it must carry according to the model.

The client reads at once, or stops for a while; then watchers fall behind and are caught up. So
events are compared, not how many responses they came in: all of them, in order, none twice, no
revision split, and each watcher's only after it was told that it was created.
"""

from __future__ import annotations

from dataclasses import dataclass

from etcdpb.kv_pb2 import Event
from etcdpb.rpc_pb2 import (
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from tests.model import Model
from tests.support.calls import Pipe
from tests.support.rules import within
from tests.support.server import ServerInProcess

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"


@dataclass
class Watch:
    request: WatchCreateRequest
    next_revision: int  # All of its events below have been seen.
    is_compacted: bool = False

    def wants(self, event: Event) -> bool:
        kind = WatchCreateRequest.NODELETE if event.type else WatchCreateRequest.NOPUT
        key = self.request.key or b"\0"
        return kind not in self.request.filters and bool(
            within(key, self.request.range_end, [event.kv.key])
        )


class WatchStream:
    def __init__(self, server: ServerInProcess, model: Model) -> None:
        self.watches: dict[int, Watch] = {}
        self.is_paused = False
        self._model = model
        self._pipe = Pipe(server.clock.now)
        self._expected: list[WatchResponse] = []  # Answers without events, in order.
        self._read = 0
        self._looked = 0
        self._next_id = 0
        server.open("/etcdserverpb.Watch/Watch", self._pipe)

    # The client's side

    def create(self, request: WatchCreateRequest) -> None:
        self._pipe.write(WatchRequest(create_request=request).SerializeToString())
        reason = ""
        key, end = request.key or b"\0", request.range_end
        if request.start_revision < 0:
            reason = COMPACTED
        elif end not in (b"", b"\0") and end <= key:
            reason = EMPTY_RANGE
        elif request.watch_id and request.watch_id in self.watches:
            reason = DUPLICATE_ID
        header = self._model.header()
        if reason:
            self._expected.append(
                WatchResponse(
                    header=header, watch_id=-1, created=True, canceled=True, cancel_reason=reason
                )
            )
            return
        watch_id = request.watch_id
        if not watch_id:
            while self._next_id in self.watches:
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
        start = request.start_revision or self._model.revision + 1
        self.watches[watch_id] = Watch(request, start)
        self._expected.append(WatchResponse(header=header, watch_id=watch_id, created=True))

    def cancel(self, watch_id: int) -> None:
        cancel = WatchCancelRequest(watch_id=watch_id)
        self._pipe.write(WatchRequest(cancel_request=cancel).SerializeToString())
        if self.watches.pop(watch_id, None) is not None:
            header = self._model.header()
            self._expected.append(WatchResponse(header=header, watch_id=watch_id, canceled=True))

    def ask_for_progress(self) -> None:
        progress = WatchProgressRequest()
        self._pipe.write(WatchRequest(progress_request=progress).SerializeToString())
        revision = self._model.revision
        if self.watches and all(
            not watch.is_compacted and watch.request.start_revision <= revision
            for watch in self.watches.values()
        ):
            self._expected.append(WatchResponse(header=self._model.header(), watch_id=-1))

    def toggle(self) -> None:
        self.is_paused = not self.is_paused
        if self.is_paused:
            self._pipe.pause()
        else:
            self._pipe.resume()

    # What came

    def deleted_since_the_last_look(self) -> dict[bytes, tuple[int, float]]:
        """By key: the revision of its latest delete, and when the client heard of it."""
        deleted = {}
        pipe = self._pipe
        for message, at in zip(
            pipe.sent[self._looked :], pipe.sent_at[self._looked :], strict=True
        ):
            for event in WatchResponse.FromString(message).events:
                if event.type == Event.DELETE:
                    deleted[event.kv.key] = (event.kv.mod_revision, at)
        self._looked = len(pipe.sent)
        return deleted

    def check(self) -> None:
        """Hold what has come to what had to; a client that does not read may lack some."""
        new = [WatchResponse.FromString(message) for message in self._pipe.sent[self._read :]]
        self._read = len(self._pipe.sent)
        for response in new:
            if response.events:
                self._take_events(response)
            elif response.canceled and response.compact_revision:
                self._take_compaction(response)
            else:
                assert response == self._expected.pop(0)
        if not self.is_paused:
            assert self._expected == []
            for watch_id, watch in self.watches.items():
                if not watch.is_compacted:
                    missing = [r for r, _ in self._due(watch, self._model.revision)]
                    assert missing == [], f"watch {watch_id} lacks {missing}"

    def _due(self, watch: Watch, until: int) -> list[tuple[int, list[Event]]]:
        """Revisions up to `until` that the watch has yet to see, with its events."""
        due = []
        for revision in range(max(watch.next_revision, 0), until + 1):
            wanted = [event for event in self._model.events[revision] if watch.wants(event)]
            if wanted:
                due.append((revision, wanted))
        return due

    def _take_events(self, response: WatchResponse) -> None:
        watch = self.watches[response.watch_id]
        assert not watch.is_compacted
        last = response.events[-1].kv.mod_revision
        due = self._due(watch, last)
        expected = [event for _, events in due for event in events]
        assert len(response.events) == len(expected)
        for got, event in zip(response.events, expected, strict=True):
            before = event.kv.mod_revision - 1
            if not watch.request.prev_kv or (
                not got.HasField("prev_kv") and before < self._model.compacted
            ):
                event = Event(type=event.type, kv=event.kv)
            assert got == event
        watch.next_revision = last + 1
        header = self._model.header()
        if len(due) == 1 and response.header.revision != self._model.revision:
            header.revision = last  # Live; else it was read from history.
        elif self.is_paused or response.header.revision != self._model.revision:
            header.revision = max(last, response.header.revision)
        assert response.header == header

    def _take_compaction(self, response: WatchResponse) -> None:
        watch = self.watches[response.watch_id]
        assert not watch.is_compacted
        assert watch.next_revision < self._model.compacted
        header = self._model.header()
        header.revision = 0
        assert response == WatchResponse(
            header=header,
            watch_id=response.watch_id,
            canceled=True,
            compact_revision=response.compact_revision,
        )
        assert response.compact_revision <= self._model.compacted
        watch.is_compacted = True
