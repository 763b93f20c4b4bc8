"""What connections have to send, written when the work that made it is done.

A group of the engine answers calls of many connections. Each of them asks once to be flushed; all
are flushed together, at the end of the group, or else at the loop's next turn. So answers of one
group to one client are one write, and no turn of the loop passes before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Outbox:
    """One server's. Bound: an entry for each connection that has something to send."""

    __slots__ = ("_flushes", "_is_held")

    def __init__(self) -> None:
        self._flushes: list[Callable[[], None]] = []
        self._is_held = False

    def hold(self) -> None:
        """`flush` will be called before the loop's next turn: nothing need be scheduled."""
        self._is_held = True

    def later(self, flush: Callable[[], None]) -> None:
        """Call `flush` soon, once. Who asks again before that is called twice."""
        if not self._flushes and not self._is_held:
            asyncio.get_running_loop().call_soon(self.flush)
        self._flushes.append(flush)

    def flush(self) -> None:
        """Do now what was to be done soon. A failure is that connection's, and no other's."""
        self._is_held = False
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            try:
                flush()
            except Exception as error:  # noqa: BLE001  # told as the loop tells of its callbacks'
                context = {"message": "a connection could not be flushed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
