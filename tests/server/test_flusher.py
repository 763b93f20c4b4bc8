"""The fsync off the loop: one at a time, reported on the loop, good or bad."""

from __future__ import annotations

import asyncio
import threading

from mvcc.backend.memory import MemoryBackend
from server.flusher import Flusher, InlineFlusher, ThreadFlusher
from tests.support.loop import in_loop


class _Disk(MemoryBackend):
    """Remembers who synced it; may refuse; may take until told."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []
        self.failure: BaseException | None = None
        self.may_end = threading.Event()
        self.may_end.set()

    def sync(self) -> None:
        self.threads.append(threading.get_ident())
        self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        super().sync()


async def _flush(flusher: Flusher) -> tuple[int, BaseException | None]:
    """Flush once: the thread in which `done` was called, and the error it was given."""
    outcome: asyncio.Future[tuple[int, BaseException | None]] = (
        asyncio.get_running_loop().create_future()
    )
    flusher.flush(lambda error: outcome.set_result((threading.get_ident(), error)))
    assert not outcome.done(), "`done` is never called from within `flush`"
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
    flusher = InlineFlusher()
    assert await _flush(flusher) == (threading.get_ident(), None)
    flusher.stop()
