"""A disk whose fsync takes as long as a test wants."""

from __future__ import annotations

import asyncio

from mvcc.backend.base import Backend
from server.flusher import Done


class HeldFlusher:
    """A real `Flusher`: it syncs the backend, but while held only when the test lets it."""

    def __init__(self, backend: Backend, *, held: bool = False) -> None:
        self.flushes = 0
        self.small: list[bool] = []  # Of each flush, whether few waited for it, and nobody else.
        self._backend = backend
        self._held = held
        self._waiting: Done | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a group is in flight."""
        return self._waiting is not None

    def hold(self) -> None:
        """From now on a flush waits for `release`."""
        self._held = True

    def let_go(self) -> None:
        """Flush what waits, and from now on at once."""
        self._held = False
        if self.is_waiting:
            self.release()

    def release(self, error: BaseException | None = None) -> None:
        """End the flush under way, by default well. `done` is called at the loop's next turn."""
        assert self._waiting is not None, "no group is in flight"
        done, self._waiting = self._waiting, None
        if error is None:
            self._backend.sync()
        asyncio.get_running_loop().call_soon(done, error)

    def flush(self, done: Done, *, is_small: bool = False) -> None:
        assert self._waiting is None, "at most one group is in flight"
        self.flushes += 1
        self.small.append(is_small)
        self._waiting = done
        if not self._held:
            self.release()

    def stop(self) -> None: ...
