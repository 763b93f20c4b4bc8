"""Drives a compaction's sweep, step by step, in between other work."""

from __future__ import annotations

import asyncio

from mvcc.compaction import Compactor
from server.auth.caller import ServerToken
from server.call import PeerCall
from server.clock import Clock
from server.commands.kv import CompactionStep
from server.engine import Engine


class Sweeper:
    def __init__(
        self, engine: Engine, compactor: Compactor, clock: Clock, *, rows_max: int, pause_s: float
    ) -> None:
        """`rows_max` are walked in a step, and `pause_s` passes before the next one."""
        self._engine = engine
        self._compactor = compactor
        self._clock = clock
        self._rows_max = rows_max
        self._pause_s = pause_s
        self._woken = asyncio.Event()
        self._waiting: list[_Physical] = []

    async def run(self) -> None:
        """Sweep whenever a compaction is scheduled, the one a crash interrupted first."""
        while True:
            while self._compactor.is_sweeping:
                await self._engine.run(CompactionStep(self._rows_max))
                if self._compactor.is_sweeping:
                    await self._clock.sleep_until(self._clock.now() + self._pause_s)
            self._answer()
            await self._woken.wait()
            self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def after_sweep(self, call: PeerCall) -> PeerCall:
        """`call`, but answered only once all that is compacted is gone from the disk.

        A refusal waits as well: etcd's physical Compact of a revision that is compacted already
        returns when the compaction under way has ended.
        """
        return _Physical(self, call)

    def hold(self, answered: _Physical) -> None:
        self._waiting.append(answered)
        self.wake()

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for answered in waiting:
            answered.release()


class _Physical:
    """A call whose answer is known and kept back."""

    def __init__(self, sweeper: Sweeper, call: PeerCall) -> None:
        self._sweeper = sweeper
        self._call = call
        self._answer: bytes | Exception = b""

    @property
    def token(self) -> str | ServerToken | None:
        return self._call.token

    @property
    def peer_cn(self) -> str | None:
        return self._call.peer_cn

    def reply(self, message: bytes) -> None:
        self._answer = message
        self._sweeper.hold(self)

    def fail(self, error: Exception) -> None:
        self._answer = error
        self._sweeper.hold(self)

    def release(self) -> None:
        if isinstance(self._answer, bytes):
            self._call.reply(self._answer)
        else:
            self._call.fail(self._answer)
