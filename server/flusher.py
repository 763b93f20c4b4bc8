"""The fsync: off the loop, unless it is quick and few callers wait for it and for nothing else.

One fsync at a time: the engine has at most one group in flight. The way to the thread and back
costs as long as a quick fsync, and with few commands in the group and none behind them there is
little to do meanwhile: reads and writes that come wait for the group either way, and only a
renewal would be answered. So that one is done on the loop, as long as the last fsyncs took at most
`INLINE_S` on average: that is how long a renewal may have to wait for it. One slow fsync sends the
next ones to the thread again. With many commands the loop has the next group to read meanwhile.

Up to 16 commands are few: 16 workers of etcd's Go client put 1.43 times as often as with etcd,
where only a lone command's fsync was done on the loop 1.14 times; of any number, 1.08 times
(`python -m bench clientv3 --rounds 3 --seconds 0.6`, one run of each, on two shared cores).

Where there is no disk there is nothing to wait for, and `InlineFlusher` answers at the loop's next
turn.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from mvcc.backend.base import Backend

INLINE_S: Final = 0.002  # Of an fsync on the loop: what applying a full group takes, too.
_WEIGHT: Final = 1 / 8  # Of the newest fsync in the average.

Done = Callable[[BaseException | None], None]


class Flusher(Protocol):
    def flush(self, done: Done, *, is_small: bool = False) -> None:
        """Make all that was written durable, then call `done` on the loop.

        `done` is given None, or what went wrong; it may be told of that once more, later.
        `is_small`: few callers wait for it, and nobody else for anything. Then it may be done here
        and now, `done` called from within.
        """
        ...

    def stop(self) -> None:
        """Wait for the flush under way and end. Its `done` is still called."""
        ...


class ThreadFlusher:
    def __init__(
        self,
        backend: Backend,
        loop: asyncio.AbstractEventLoop,
        *,
        on_synced: Callable[[float], None] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`on_synced` is told, in whatever thread, how many seconds each fsync took by `timer`."""
        self._backend = backend
        self._on_synced = on_synced
        self._timer = timer
        self._average_s = math.inf  # Until the first is known.
        self._loop = loop
        self._queue: SimpleQueue[Done | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
        self._thread.start()

    def flush(self, done: Done, *, is_small: bool = False) -> None:
        if is_small and self._average_s <= INLINE_S:
            done(self._sync())
            self._loop.call_soon(self._settle, done)
        else:
            self._queue.put(done)

    def _settle(self, done: Done) -> None:
        """With few callers the loop has time until they have the answers and ask for more."""
        try:
            self._backend.settle()
        except BaseException as failure:  # noqa: BLE001  # handed over, not swallowed
            done(failure)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (done := self._queue.get()) is not None:
            self._loop.call_soon_threadsafe(done, self._sync())

    def _sync(self) -> BaseException | None:
        """What went wrong. One at a time, so what it changes needs no lock."""
        error: BaseException | None = None
        began = self._timer()
        try:
            self._backend.sync()
        except BaseException as failure:  # noqa: BLE001  # handed over, not swallowed
            error = failure
        took = self._timer() - began
        average = self._average_s
        self._average_s = took if average == math.inf else average + (took - average) * _WEIGHT
        if self._on_synced is not None:
            self._on_synced(took)
        return error


class InlineFlusher:
    """Where there is nothing to wait for: memory, or a store that does no fsync."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def flush(self, done: Done, *, is_small: bool = False) -> None:  # noqa: ARG002  # all are alike
        error: BaseException | None = None
        try:
            self._backend.sync()
        except BaseException as failure:  # noqa: BLE001  # handed over, not swallowed
            error = failure
        asyncio.get_running_loop().call_soon(done, error)

    def stop(self) -> None: ...
