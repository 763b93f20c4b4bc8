"""The fsync off the loop: one at a time, reported on the loop, good or bad."""

from __future__ import annotations

import asyncio
import math
import threading

from mvcc.backend.memory import MemoryBackend
from server.flusher import INLINE_S, Flusher, InlineFlusher, ThreadFlusher
from tests.support.loop import in_loop


class _Disk(MemoryBackend):
    """Remembers who synced it; may refuse; may take until told."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []
        self.failure: BaseException | None = None
        self.may_end = threading.Event()
        self.may_end.set()
        self.settled = 0
        self.settling: BaseException | None = None  # What it raises.

    def sync(self) -> None:
        self.threads.append(threading.get_ident())
        self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        super().sync()

    def settle(self) -> None:
        self.settled += 1
        if self.settling is not None:
            raise self.settling


async def _flush(flusher: Flusher, *, is_small: bool = False) -> tuple[int, BaseException | None]:
    """Flush once: the thread in which `done` was called, and the error it was given."""
    outcome: asyncio.Future[tuple[int, BaseException | None]] = (
        asyncio.get_running_loop().create_future()
    )
    flusher.flush(
        lambda error: outcome.set_result((threading.get_ident(), error)), is_small=is_small
    )
    assert is_small or not outcome.done(), "`done` is called from within for few only"
    return await outcome


@in_loop
async def test_the_disk_is_synced_in_a_thread_and_the_loop_is_told() -> None:
    disk = _Disk()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop())
    for _ in range(3):
        assert await _flush(flusher) == (threading.get_ident(), None)
    flusher.stop()
    assert len(disk.threads) == 3
    assert len(set(disk.threads)) == 1
    assert threading.get_ident() not in disk.threads


@in_loop
async def test_the_loop_runs_while_the_disk_is_busy() -> None:
    disk = _Disk()
    disk.may_end.clear()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop())
    flushing = asyncio.ensure_future(_flush(flusher))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not flushing.done()
    disk.may_end.set()
    assert (await flushing)[1] is None
    flusher.stop()


@in_loop
async def test_what_goes_wrong_is_handed_over_whatever_it_is() -> None:
    disk = _Disk()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop())
    for failure in (OSError("the disk is gone"), KeyboardInterrupt()):
        disk.failure = failure
        assert await _flush(flusher) == (threading.get_ident(), failure)
    flusher.stop()


@in_loop
async def test_stopping_waits_for_the_flush_under_way_and_it_is_still_reported() -> None:
    disk = _Disk()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop())
    flushing = asyncio.ensure_future(_flush(flusher))
    await asyncio.sleep(0)
    flusher.stop()
    assert len(disk.threads) == 1
    assert (await flushing)[1] is None
    assert "flusher" not in [thread.name for thread in threading.enumerate()]


@in_loop
async def test_where_there_is_no_disk_the_answer_comes_at_the_next_turn() -> None:
    disk = _Disk()
    flusher = InlineFlusher(disk)
    assert await _flush(flusher) == (threading.get_ident(), None)
    assert disk.threads == [threading.get_ident()], "what is written leaves the process"
    disk.failure = OSError("the disk is gone")
    assert await _flush(flusher) == (threading.get_ident(), disk.failure)
    flusher.stop()


# --- on the loop ---


class _Watch:
    """A timer: each fsync takes what it is told to, in seconds."""

    def __init__(self) -> None:
        self.takes_s: float = 0
        self._now = 0.0
        self._is_over = False

    def __call__(self) -> float:
        if self._is_over:
            self._now += self.takes_s
        self._is_over = not self._is_over
        return self._now


async def _where(
    flusher: Flusher, disk: _Disk, watch: _Watch, takes_s: float, *, is_small: bool = True
) -> str:
    """Where an fsync of that length was done."""
    watch.takes_s = takes_s
    assert await _flush(flusher, is_small=is_small) == (threading.get_ident(), None)
    return "loop" if disk.threads[-1] == threading.get_ident() else "thread"


@in_loop
async def test_a_small_group_is_synced_on_the_loop_as_long_as_the_last_ones_were_quick() -> None:
    disk, watch = _Disk(), _Watch()
    told: list[float] = []
    flusher = ThreadFlusher(disk, asyncio.get_running_loop(), on_synced=told.append, timer=watch)
    quick, most, slow = 0.0, INLINE_S, 17 * INLINE_S
    takes = [most, quick, most, slow, *[quick] * 20]
    where = [await _where(flusher, disk, watch, each) for each in takes]
    # Behind the slow one the average is some 2.9 limits, and each quick one takes off an eighth.
    assert where == ["thread", "loop", "loop", "loop", *["thread"] * 8, *["loop"] * 12]
    assert [round(each, 9) for each in told] == [round(each, 9) for each in takes]
    flusher.stop()


@in_loop
async def test_the_first_and_those_in_company_are_synced_in_the_thread_and_are_counted() -> None:
    disk, watch = _Disk(), _Watch()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop(), timer=watch)
    assert await _where(flusher, disk, watch, INLINE_S) == "thread", "nothing is known yet"
    assert await _where(flusher, disk, watch, 0.0, is_small=False) == "thread"
    assert await _where(flusher, disk, watch, 1.0, is_small=True) == "loop"
    assert await _where(flusher, disk, watch, 0.0, is_small=True) == "thread"
    flusher.stop()


@in_loop
async def test_an_fsync_that_is_longer_than_the_limit_by_the_least_is_the_threads() -> None:
    disk, watch = _Disk(), _Watch()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop(), timer=watch)
    longer = math.nextafter(INLINE_S, 1)
    assert [await _where(flusher, disk, watch, longer) for _ in range(3)] == ["thread"] * 3
    flusher.stop()


@in_loop
async def test_what_goes_wrong_on_the_loop_is_handed_over_alike() -> None:
    disk = _Disk()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop(), timer=_Watch())
    assert await _flush(flusher) == (threading.get_ident(), None)
    for failure in (OSError("the disk is gone"), KeyboardInterrupt()):
        disk.failure = failure
        assert await _flush(flusher, is_small=True) == (threading.get_ident(), failure)
        assert disk.threads[-1] == threading.get_ident()
    flusher.stop()


@in_loop
async def test_once_a_small_group_is_answered_the_disk_is_settled_and_its_failure_told() -> None:
    disk, told = _Disk(), list[BaseException | None]()
    flusher = ThreadFlusher(disk, asyncio.get_running_loop(), timer=_Watch())
    assert await _flush(flusher) == (threading.get_ident(), None)
    assert disk.settled == 0, "there is no time where many wait"
    disk.settling = OSError("the disk is gone")
    flusher.flush(told.append, is_small=True)
    assert (told, disk.settled) == ([None], 0), "the answers come first"
    await asyncio.sleep(0)
    assert (told, disk.settled) == ([None, disk.settling], 1)
    flusher.stop()
