"""The real clock against real time, in milliseconds; the fake one against its promises."""

from __future__ import annotations

import asyncio
import math

import pytest

from server.clock import Clock, SystemClock, next_tick
from tests.support.clock import FakeClock, settle


async def _note_when(
    clock: Clock, deadline: float, name: str, notes: list[tuple[str, float]]
) -> None:
    await clock.sleep_until(deadline)
    notes.append((name, clock.now()))


def test_the_system_clock_never_wakes_a_sleeper_early() -> None:
    async def scenario() -> None:
        clock = SystemClock()
        for _ in range(20):
            deadline = clock.now() + 0.001
            await clock.sleep_until(deadline)
            assert clock.now() >= deadline

    asyncio.run(scenario())


def test_a_deadline_in_the_past_still_gives_other_tasks_a_turn() -> None:
    async def scenario(clock: Clock) -> None:
        other = asyncio.create_task(asyncio.sleep(0))
        await clock.sleep_until(clock.now() - 1)
        await clock.sleep_until(clock.now() - 1)
        assert other.done()

    asyncio.run(scenario(SystemClock()))
    asyncio.run(scenario(FakeClock()))


def test_sleepers_wake_in_the_order_of_their_deadlines_and_read_them_on_the_clock() -> None:
    async def scenario() -> None:
        clock = FakeClock(now=0)
        notes: list[tuple[str, float]] = []
        async with asyncio.TaskGroup() as tasks:
            for name, deadline in (("late", 3), ("early", 1), ("also late", 3), ("after", 5)):
                tasks.create_task(_note_when(clock, deadline, name, notes))
            await clock.advance(4)
            assert notes == [("early", 1), ("late", 3), ("also late", 3)]
            assert clock.now() == 4
            assert clock.sleepers == 1
            await clock.advance(1)
        assert notes[-1] == ("after", 5)

    asyncio.run(scenario())


def test_a_task_that_sleeps_in_steps_takes_every_step_of_a_long_advance() -> None:
    async def scenario() -> None:
        clock = FakeClock(now=0)
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                await clock.sleep_until(clock.now() + 2)
                ticks.append(clock.now())

        ticking = asyncio.create_task(tick())
        await clock.advance(7)
        ticking.cancel()
        assert ticks == [2, 4, 6]

    asyncio.run(scenario())


def test_after_a_stall_sleepers_wake_together_and_read_the_late_time() -> None:
    async def scenario() -> None:
        clock = FakeClock(now=0)
        notes: list[tuple[str, float]] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_note_when(clock, 1, "first", notes))
            tasks.create_task(_note_when(clock, 2, "second", notes))
            await settle()
            clock.jump(10)
            assert notes == []
            await clock.advance(0)
        assert notes == [("first", 10), ("second", 10)]

    asyncio.run(scenario())


def test_a_cancelled_sleeper_is_forgotten() -> None:
    async def scenario() -> None:
        clock = FakeClock(now=0)
        sleeping = asyncio.create_task(clock.sleep_until(1))
        await settle()
        assert clock.sleepers == 1
        sleeping.cancel()
        await settle()
        assert clock.sleepers == 0
        await clock.advance(2)

    asyncio.run(scenario())


@pytest.mark.parametrize("per_s", [10, 20])
@pytest.mark.parametrize("start", [0.0, 1 / 3, 70_384.454202])
def test_ticks_are_even_and_none_is_missed_or_taken_twice(per_s: int, start: float) -> None:
    """An instant computed as a multiple of 0.05 may come out as the very one it follows."""
    ticks = [next_tick(start, per_s)]
    for _ in range(300 * per_s):
        ticks.append(next_tick(ticks[-1], per_s))
    first = math.floor(start * per_s) + 1
    assert ticks == [number / per_s for number in range(first, first + len(ticks))]
    assert 0 < ticks[0] - start <= 1 / per_s


def test_the_fake_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        asyncio.run(FakeClock().advance(-1))


def test_settle_notices_tasks_that_never_wait() -> None:
    async def scenario() -> None:
        async def spin() -> None:
            while not stopped.is_set():  # noqa: ASYNC110  # It spins on purpose.
                await asyncio.sleep(0)

        stopped = asyncio.Event()
        spinning = asyncio.create_task(spin())
        try:
            with pytest.raises(AssertionError, match="still ran"):
                await settle()
        finally:
            stopped.set()
            await spinning

    asyncio.run(scenario())
