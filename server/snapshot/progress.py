"""Long work says how far it is: on a terminal as it goes, in the log every ten seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from server.clock import Clock
from server.log import fields

logger = logging.getLogger(__name__)

SHOWN_S: Final = 0.2  # How often a terminal is written to.
LOGGED_S: Final = 10.0


def silent(*_: object) -> None:
    """For work that nobody watches."""


class Progress:
    """Told how far work is, as often as the work likes."""

    def __init__(self, clock: Clock, show: Callable[[str], object] | None) -> None:
        """`show` writes to a terminal; None where nobody looks."""
        self._clock = clock
        self._show = show
        self._shown_at = self._logged_at = clock.now()
        self._what = ""  # Is being done.
        self._is_open = False  # The terminal's line is not ended.

    def __call__(self, what: str, done: int, total: int) -> None:
        """`what` is done up to `done` of `total`."""
        now = self._clock.now()
        percent = f"{100 * done // total if total else 100}%"
        is_time = what != self._what or now - self._shown_at >= SHOWN_S or done == total
        if self._show is not None and is_time:
            self._what, self._shown_at = what, now
            self._show(f"\r{what}: {percent:<5}")
            self._is_open = True
            if done == total:
                self.close()
        if now - self._logged_at >= LOGGED_S:
            self._logged_at = now
            logger.info("still at work", extra=fields(on=what, done=done, total=total))

    def close(self) -> None:
        """End the terminal's line; what follows stands on its own."""
        if self._show is not None and self._is_open:
            self._show("\n")
            self._is_open = False
