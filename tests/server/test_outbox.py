"""Connections are flushed together, at the end of a group or else at the loop's next turn."""

from __future__ import annotations

import asyncio
from typing import Any

from server.outbox import Outbox
from tests.support.loop import in_loop


@in_loop
async def test_by_itself_it_flushes_at_the_loop_s_next_turn() -> None:
    outbox, flushed = Outbox(), []
    outbox.later(lambda: flushed.append(1))
    outbox.later(lambda: flushed.append(2))
    assert not flushed
    await asyncio.sleep(0)
    assert flushed == [1, 2]
    await asyncio.sleep(0)
    assert flushed == [1, 2]


@in_loop
async def test_held_it_waits_for_its_flush_and_schedules_nothing() -> None:
    outbox, flushed = Outbox(), []
    outbox.hold()
    outbox.later(lambda: flushed.append(1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not flushed
    outbox.flush()
    assert flushed == [1]
    outbox.later(lambda: flushed.append(2))  # It is held no longer.
    await asyncio.sleep(0)
    assert flushed == [1, 2]


@in_loop
async def test_what_is_asked_for_while_flushing_comes_at_the_next_turn() -> None:
    outbox, flushed = Outbox(), []
    outbox.later(lambda: outbox.later(lambda: flushed.append(1)))
    outbox.flush()
    assert not flushed
    await asyncio.sleep(0)
    assert flushed == [1]


@in_loop
async def test_a_connection_that_fails_is_told_of_and_the_others_are_flushed() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    outbox, flushed = Outbox(), []

    def fail() -> None:
        raise ValueError("a bug")

    outbox.later(fail)
    outbox.later(lambda: flushed.append(1))
    outbox.flush()
    assert flushed == [1]
    assert [str(each["exception"]) for each in told] == ["a bug"]
