"""One run of operations over two servers that nobody has used.

Calls are made of both at once, and the next when both have answered. What watch streams say comes
when it comes: after a request of a stream's, a fence tells that it was looked at; and wherever an
operation could meet what is still on its way (a compaction, a cancel), it is waited for.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from compat.differential.comparing import Asked, Story, same, story
from compat.differential.known import ENDING, meant
from compat.differential.operations import WATCH, Operation, shown
from compat.differential.sides import FENCE, Answer, Side
from compat.differential.world import World
from etcdpb import rpc_pb2 as rpc

SETTLE_MAX_S: Final = 4.0
CATCH_UP_S: Final = 0.25  # etcd looks every 0.1 s for watchers that start in the past.
SETTLE_EVERY: Final = 40  # Operations.
_LINES_SHOWN_MAX: Final = 3


@dataclass
class Difference:
    """What was found, and behind which operation."""

    operation: Operation
    signature: tuple[str, ...]  # Another run found the same if it is the same.
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.operation}\n  ours:   {self.ours}\n  theirs: {self.theirs}"


class Episode:
    """`perform` one operation after the other; `close` at the end."""

    def __init__(self, ours: str, theirs: str) -> None:
        self.world = World()
        self.meant: Counter[str] = Counter()
        self.is_over = False  # What comes now would be asked of two servers with different data.
        self._sides = (Side(ours), Side(theirs))
        self._asked: dict[int, Asked] = {}
        self._past_until = 0.0  # When etcd has come to every watcher; of time.monotonic.
        self._count = 0

    async def perform(self, operation: Operation) -> Difference | None:
        """Do it on both sides, and say what differs."""
        self._count += 1
        if operation.method == WATCH:
            return await self._watch(operation)
        is_due = operation.method == "KV/Compact" or self._count % SETTLE_EVERY == 0
        if is_due and (found := await self.settle(operation)) is not None:
            return found
        ours, theirs = await asyncio.gather(*(side.call(operation) for side in self._sides))
        if not same(ours, theirs, operation.request()):
            if (name := meant(operation, ours, theirs, self.world)) is None:
                signature = (operation.method, ours.code, ours.text, theirs.code, theirs.text)
                return Difference(operation, signature, _told(ours), _told(theirs))
            if name in ENDING:
                self._end(name)
            else:
                self.meant[name] += 1
        elif ours.code == "OK":
            for message in ours.messages:
                self.world.learn(operation, message)
        return None

    async def settle(self, operation: Operation) -> Difference | None:
        """Wait until all streams have said the same; `operation` is what comes next."""
        await asyncio.sleep(max(0.0, self._past_until - time.monotonic()))
        until = time.monotonic() + SETTLE_MAX_S
        for number in self._asked:
            while (stories := self._stories(number))[0] != stories[1]:
                if time.monotonic() > until:
                    return _told_apart(operation, number, *stories)
                await asyncio.sleep(0.005)
        return None

    async def finish(self, operation: Operation) -> Difference | None:
        """Compare what is left, after there was time to say too much."""
        if self.is_over:
            return None
        if (found := await self.settle(operation)) is not None:
            return found
        await asyncio.sleep(CATCH_UP_S)
        return await self.settle(operation)

    async def close(self) -> None:
        for side in self._sides:
            await side.close()

    def _end(self, name: str) -> None:
        self.meant[name] += 1
        self.is_over = True

    async def _watch(self, operation: Operation) -> Difference | None:
        number = operation.stream
        if not operation.bodies:
            if number not in self._asked:
                return None
            found = await self.settle(operation)
            for side in self._sides:
                await side.streams.pop(number).close()
            del self._asked[number]
            return found
        streams = [side.stream(operation) for side in self._sides]
        asked = self._asked.setdefault(number, Asked())
        request = operation.request()
        is_create = isinstance(request, rpc.WatchRequest) and request.HasField("create_request")
        if not is_create and (found := await self.settle(operation)) is not None:
            return found
        assert request is None or isinstance(request, rpc.WatchRequest)
        if request is None:
            pass
        elif is_create:
            is_past = 0 < request.create_request.start_revision <= self.world.revision
            asked.are_past.append(is_past)
            asked.newest_start = max(asked.newest_start, request.create_request.start_revision)
            if is_past:
                self._past_until = time.monotonic() + CATCH_UP_S
        elif request.HasField("progress_request") and not self._is_sure_of_progress(number):
            asked.has_loose_progress = True
        for stream in streams:
            await stream.send(operation.bodies[0])
        if request is None:
            # It ends the stream, and what is sent behind it would hide how.
            await asyncio.wait([stream.reader for stream in streams], timeout=SETTLE_MAX_S)
            if streams[0].end is not None and streams[1].end is None:
                self._end("unreadable-groups")
                return None
            return await self.settle(operation)
        asked.are_past.append(False)
        for stream in streams:
            await stream.send(FENCE)
        return await self._fenced(operation, len(asked.are_past))

    async def _fenced(self, operation: Operation, created: int) -> Difference | None:
        """Wait until both have looked at all that was sent."""
        until = time.monotonic() + SETTLE_MAX_S
        for side in self._sides:
            stream = side.streams[operation.stream]
            while stream.end is None and sum(each.created for each in stream.heard) < created:
                if time.monotonic() > until:
                    return _told_apart(
                        operation, operation.stream, *self._stories(operation.stream)
                    )
                await stream.wait(0.5)
        return None

    def _stories(self, number: int) -> tuple[Story, Story]:
        streams = [side.streams[number] for side in self._sides]
        ours, theirs = (
            story(each.heard, each.end, self._asked[number], self.world.compactions)
            for each in streams
        )
        return ours, theirs

    def _is_sure_of_progress(self, number: int) -> bool:
        """True if the stream has watchers, and none of them is ahead, behind or dead."""
        if self._asked[number].has_loose_progress or number not in self._sides[0].streams:
            return False
        living: set[int] = set()
        for response in self._sides[0].streams[number].heard:
            if response.canceled:
                living.discard(response.watch_id)
                if response.compact_revision:
                    return False
            elif response.created:
                living.add(response.watch_id)
        return bool(living) and self.world.revision >= self._asked[number].newest_start


def _told(answer: Answer) -> str:
    said = [f"{answer.code} {answer.text}".strip(), *map(shown, answer.messages)]
    return " | ".join(said)


def _told_apart(operation: Operation, number: int, ours: Story, theirs: Story) -> Difference:
    """What of a stream's story is told by one side only."""
    for watch_id in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(watch_id, []), theirs.get(watch_id, [])
        if one == other:
            continue
        at = next(
            (at for at, both in enumerate(zip(one, other, strict=False)) if both[0] != both[1]),
            min(len(one), len(other)),
        )
        name = f"stream {number}, watcher {watch_id}, line {at} of {len(one)} and {len(other)}: "
        shows = [name + str(each[at : at + _LINES_SHOWN_MAX]) for each in (one, other)]
        signature = ("watch", "more" if len(one) > len(other) else "less")
        return Difference(operation, signature, *shows)
    return Difference(operation, ("fence",), "a fence is not answered", "by one or both")
