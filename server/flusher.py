"""The fsync, off the loop.

One thread, one fsync at a time: the engine has at most one group in flight. Where there is no
disk there is nothing to wait for, and `InlineFlusher` answers at the loop's next turn.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from mvcc.backend.base import Backend

Done = Callable[[BaseException | None], None]


class Flusher(Protocol):
    def flush(self, done: Done) -> None:
        """Make all that was written durable, then call `done` on the loop.

        `done` is given None, or what went wrong.
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
    ) -> None:
        """`on_synced` is told, in the flusher's thread, how many seconds each fsync took."""
        self._backend = backend
        self._on_synced = on_synced
        self._loop = loop
        self._queue: SimpleQueue[Done | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
        self._thread.start()

    def flush(self, done: Done) -> None:
        self._queue.put(done)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (done := self._queue.get()) is not None:
            error: BaseException | None = None
            began = time.perf_counter()
            try:
                self._backend.sync()
            except BaseException as failure:  # noqa: BLE001  # handed over, not swallowed
                error = failure
            if self._on_synced is not None:
                self._on_synced(time.perf_counter() - began)
            self._loop.call_soon_threadsafe(done, error)


class InlineFlusher:
    """Where there is nothing to wait for: memory, or --unsafe-no-fsync."""

    def flush(self, done: Done) -> None:
        asyncio.get_running_loop().call_soon(done, None)

    def stop(self) -> None: ...
