"""Progress: a promise that every event up to a revision has been sent."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from tests.support.client import Watching
from tests.support.clock import FakeClock
from tests.support.serving import Running, served

ALL: Final = b"\0"


def _is_progress(response: pb.WatchResponse) -> bool:
    return not (
        response.events or response.created or response.canceled or response.compact_revision
    )


async def _progress(watching: Watching) -> tuple[int, int]:
    """Id and revision of the next message, which must be a progress notification."""
    response = await watching.receive()
    assert _is_progress(response), response
    return response.watch_id, response.header.revision


# --- asked for ---


@pytest.mark.parametrize("watchers", [1, 2, 5])
@served()
async def test_a_progress_request_is_answered_once_for_the_whole_stream(
    server: Running, watchers: int
) -> None:
    """TestWatchRequestProgress: id -1, and the revision of a put that nobody watches."""
    watching = server.client.watching()
    for _ in range(watchers):
        await watching.create(b"a")
    await server.client.put(b"a")
    await watching.receive_events(watchers)
    await server.client.put(b"unwatched")
    await watching.ask_progress()
    assert await _progress(watching) == (-1, 3)
    await watching.expect_silence()


@served()
async def test_a_stream_without_watchers_is_not_answered(server: Running) -> None:
    """etcd 3.5.8."""
    watching = server.client.watching()
    await watching.ask_progress()
    await watching.expect_silence()
    await watching.create(b"a")
    await watching.cancel(0)
    await watching.ask_progress()
    await watching.expect_silence()
    await watching.expect_silence()  # A late answer would be behind the first.


@served()
async def test_there_is_no_progress_while_a_watcher_waits_for_the_future(
    server: Running,
) -> None:
    """etcd 3.5.22: not until the current revision has reached its start."""
    watching = server.client.watching()
    await watching.create(b"a")
    await watching.create(b"a", start_revision=3)
    await watching.ask_progress()
    await watching.expect_silence()
    await server.client.put(b"b")
    await watching.ask_progress()
    await watching.expect_silence()
    await server.client.put(b"b")
    await watching.ask_progress()
    assert await _progress(watching) == (-1, 3)


@served()
async def test_progress_comes_behind_every_event_it_speaks_of(server: Running) -> None:
    """Bookmarkable, in the words of etcd's robustness tests: no later event is at or below it."""
    await _progress_among_puts(server)


@served(on_disk=True)
async def test_progress_speaks_of_nothing_that_is_not_on_disk_and_told(server: Running) -> None:
    await _progress_among_puts(server)


async def _progress_among_puts(server: Running) -> None:
    watching = server.client.watching()
    await watching.create(b"a")
    puts: list[asyncio.Future[Any]] = []
    heard = promised = 1
    for _ in range(50):
        puts += [asyncio.ensure_future(server.client.put(b"a")) for _ in range(10)]
        await watching.ask_progress()
        while True:
            response = await watching.receive()
            if _is_progress(response):
                break
            for event in response.events:
                assert event.kv.mod_revision == heard + 1
                heard += 1
        assert promised <= response.header.revision == heard
        promised = response.header.revision
    await asyncio.gather(*puts)
    await watching.receive_events(501 - heard)


@served(on_disk=True)
async def test_a_read_is_never_ahead_of_progress_asked_for_after_it(server: Running) -> None:
    """kube-apiserver serves consistent lists from its cache on the strength of this."""
    watching = server.client.watching()
    await watching.create(b"registry", b"registrz")
    for number in range(20):
        written = (await server.client.put(b"elsewhere%d" % number)).header.revision
        read = await server.client.revision()
        await watching.ask_progress()
        watch_id, revision = await _progress(watching)
        assert (watch_id, revision) == (-1, read)
        assert revision >= written


@served()
async def test_progress_waits_for_a_watcher_that_has_not_heard_all(server: Running) -> None:
    """TestV3WatchProgressWaitsForSync; where etcd drops the request, ours is answered behind
    the last event.
    """
    watching = server.client.watching()
    await watching.create(b"a")
    await server.put_many(3000, b"v" * 1000)
    await watching.ask_progress()
    heard = 1
    while not _is_progress(response := await watching.receive()):
        for event in response.events:
            assert event.kv.mod_revision == heard + 1
            heard += 1
    assert (response.header.revision, heard) == (3001, 3001)
    await watching.expect_silence()


@served()
async def test_a_watcher_without_events_in_its_history_does_not_stand_in_the_way(
    server: Running,
) -> None:
    """TestV3WatchProgressWaitsForSyncNoEvents (etcd 3.5.13): it is caught up at once."""
    for _ in range(100):
        await server.client.put(b"a")
    watching = server.client.watching()
    await watching.create(b"nothing", start_revision=1)
    answered = 0
    while not answered:  # Until it is caught up a request may be dropped.
        await watching.ask_progress()
        await watching.ask(b"b", b"a")
        response = await watching.receive()
        if not response.created:
            assert (response.watch_id, response.header.revision) == (-1, 101)
            answered += 1


# --- by the clock ---


@served(clock=FakeClock, watch_progress_notify_interval_s=1.0)
async def test_an_idle_watcher_that_asked_is_told_the_revision_at_each_interval(
    server: Running,
) -> None:
    """TestWatchWithProgressNotify: with its own id; revision 1 on an idle store."""
    watching = server.client.watching()
    await watching.create(b"a", progress_notify=True, watch_id=5)
    await watching.create(b"a")
    await server.time.advance(0.9)
    await watching.expect_silence()
    await server.time.advance(0.1)
    assert await _progress(watching) == (5, 1)
    await watching.expect_silence()
    await server.client.put(b"elsewhere")
    await server.time.advance(1)
    assert await _progress(watching) == (5, 2)
    await watching.expect_silence()


@served(clock=FakeClock, watch_progress_notify_interval_s=1.0)
async def test_after_events_one_interval_is_skipped(server: Running) -> None:
    """They said as much already."""
    watching = server.client.watching()
    await watching.create(b"a", progress_notify=True)
    await server.time.advance(0.5)
    await server.client.put(b"a")
    await watching.receive_events(1)
    await server.time.advance(1)
    await watching.expect_silence()
    await server.time.advance(1)
    assert await _progress(watching) == (0, 2)


@served(clock=FakeClock, watch_progress_notify_interval_s=1.0)
async def test_a_watcher_of_the_future_or_of_compacted_history_is_told_nothing(
    server: Running,
) -> None:
    await server.client.put(b"a")
    await server.client.put(b"a")
    await server.client.compact(3)
    watching = server.client.watching()
    await watching.create(b"a", start_revision=9, progress_notify=True)
    await watching.create(b"a", start_revision=1, progress_notify=True)
    assert (await watching.receive()).compact_revision == 3
    await server.time.advance(3)
    await watching.expect_silence()


@served(clock=FakeClock, watch_progress_notify_interval_s=1.0)
async def test_a_canceled_watcher_is_told_nothing_more(server: Running) -> None:
    watching = server.client.watching()
    await watching.create(b"a", progress_notify=True)
    await watching.cancel(0)
    await server.time.advance(3)
    await watching.expect_silence()


@served(clock=FakeClock)
async def test_the_interval_is_ten_minutes_unless_it_is_set(server: Running) -> None:
    watching = server.client.watching()
    await watching.create(b"a", progress_notify=True)
    server.time.jump(599)
    await server.time.advance(0)
    await watching.expect_silence()
    await server.time.advance(1)
    assert await _progress(watching) == (0, 1)


@served(clock=FakeClock, watch_progress_notify_interval_s=0.01)
async def test_the_interval_is_at_least_a_tenth_of_a_second(server: Running) -> None:
    """etcd's minWatchProgressInterval."""
    watching = server.client.watching()
    await watching.create(b"a", progress_notify=True)
    await server.time.advance(0.1)
    assert await _progress(watching) == (0, 1)
    await watching.expect_silence()


@served(clock=FakeClock, watch_progress_notify_interval_s=1.0)
async def test_progress_to_a_client_that_does_not_read_is_dropped_and_events_are_not(
    server: Running,
) -> None:
    watching = server.client.watching()
    await watching.create(b"a", progress_notify=True)
    await server.put_many(3000, b"v" * 1000)
    await server.time.advance(5)
    heard = 1
    while heard < 3001:
        for event in (await watching.receive()).events:
            assert event.kv.mod_revision == heard + 1
            heard += 1
