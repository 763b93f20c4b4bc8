"""Reads that cannot be answered at once: they wait for the fsync in flight, or take long.

A long answer is made in slices with a turn of the loop between two of them, one answer at a time.
Until it is there the engine applies nothing, so it shows one revision whatever it looks at and
when; renewals, short reads and sockets have their turns meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from server.auth.caller import THE_SERVER
from server.call import PeerCall
from server.commands.base import State
from server.pending import Read, Slices
from server.status import TooManyRequestsError


class Reads:
    def __init__(self, state: State, on_long_answer: Callable[[], None]) -> None:
        """`on_long_answer` is called behind each; it calls `go_on`, at once or behind a group."""
        self._state = state
        self._on_long_answer = on_long_answer
        self._waiting: list[Read] = []
        self._making: tuple[Slices, PeerCall] | None = None
        self._long: deque[Read] = deque()  # Behind the one that is being made.
        self.done = 0  # Of those that waited.

    def __len__(self) -> int:
        """How many wait for the fsync."""
        return len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether a long answer is being made, and so nothing may be applied."""
        return self._making is not None

    def wait(self, read: Read, most: int) -> None:
        """For the fsync in flight.

        Raises:
            TooManyRequestsError: `most` wait already.
        """
        if len(self._waiting) >= most:
            raise TooManyRequestsError
        self._waiting.append(read)

    def answer_all(self) -> None:
        """Nothing is in flight any more."""
        reads, self._waiting = self._waiting, []
        self.done += len(reads)
        for read in reads:
            self._answer(read, len(reads))
        self._state.caller = THE_SERVER  # A call that is done must not be kept alive.

    def take_old(self, asked: int) -> list[PeerCall]:
        """Who waits for those that were there when so many had been asked; they are forgotten."""
        old = max(0, asked - self.done)
        calls = [call for _, _, call in self._waiting[:old]]
        del self._waiting[:old]
        self.done += old
        return calls

    # --- long answers ---

    def begin(self, slices: Slices, read: Read, most: int) -> None:
        """Make the answer to `read`, or let it wait, to be asked for anew.

        Raises:
            TooManyRequestsError: `most` wait already.
        """
        if self._making is None:
            self._making = slices, read[2]
            asyncio.get_running_loop().call_soon(self._step)
        elif len(self._long) >= most:
            raise TooManyRequestsError
        else:
            self._long.append(read)  # Nothing of `slices` has been made.

    def postpone(self) -> None:
        """Let the long ones wait for the group that comes next, as if it were in flight."""
        self._waiting.extend(self._long)
        self._long.clear()

    def go_on(self) -> None:
        """Make the next long answer, if one waits."""
        if self._long:
            self._answer(self._long.popleft(), len(self._long))

    def _answer(self, read: Read, most: int) -> None:
        answer, request, call = read
        self._state.caller = call
        try:
            reply = answer(request)
            if not isinstance(reply, bytes):
                self.begin(reply, read, most)
                return
        except Exception as error:  # noqa: BLE001  # a refusal or a bug: the transport tells
            call.fail(error)
        else:
            call.reply(reply)

    def _step(self) -> None:
        assert self._making is not None
        slices, call = self._making
        self._state.caller = call
        try:
            next(slices)
        except StopIteration as end:
            call.reply(end.value)
        except Exception as error:  # noqa: BLE001  # as above
            call.fail(error)
        else:
            asyncio.get_running_loop().call_soon(self._step)
            return
        finally:
            self._state.caller = THE_SERVER
        self._making = None
        self._on_long_answer()
