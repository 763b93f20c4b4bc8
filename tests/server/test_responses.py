"""Responses that watchers share: what each would have had alone, and no more kept than bounded."""

from __future__ import annotations

import pytest

from etcdpb.kv_pb2 import Event, KeyValue
from etcdpb.rpc_pb2 import ResponseHeader, WatchResponse
from mvcc.record import event_field, frame
from mvcc.watcher import Run
from server.header import Headers
from server.services.responses import SHARED_BYTES_MAX, SHARED_IDS_MAX, Responses

IDS = (0, 1, 127, 128, -1, 2**63 - 1)


def _event(value: bytes) -> tuple[Event, bytes]:
    kv = KeyValue(key=b"a", value=value)
    return Event(kv=kv), event_field(frame(kv.SerializeToString()), None)


def _responses() -> Responses:
    return Responses(Headers(1, 2, 3))


@pytest.mark.parametrize("size", [0, SHARED_BYTES_MAX])
def test_a_response_has_its_own_id_revision_and_events(size: int) -> None:
    responses = _responses()
    for revision in (2, 3):
        event, field = _event(b"%d" % revision + bytes(size))
        for _ in range(2):
            for watch_id in IDS:
                expected = WatchResponse(
                    header=ResponseHeader(
                        cluster_id=1, member_id=2, revision=revision, raft_term=3
                    ),
                    watch_id=watch_id,
                    events=[event],
                )
                made = responses.live(watch_id, revision, [field])
                assert WatchResponse.FromString(made) == expected


def test_watchers_of_one_id_share_the_bytes_and_those_of_another_event_do_not() -> None:
    """From the second on. A watcher with prev_kv and one without come in turn."""
    responses = _responses()
    plain, with_prev = _event(b"v")[1], _event(b"w")[1]
    first, second, third = (responses.live(0, 2, [plain]) for _ in range(3))
    assert first == second
    assert second is third
    assert responses.live(0, 2, [with_prev]) != first
    assert responses.live(0, 2, [plain]) == first
    assert responses.live(0, 2, [plain, with_prev]) == first + with_prev
    assert responses.live(0, 2, [plain]) == first


def test_what_is_kept_is_bounded_in_number_and_in_bytes() -> None:
    responses = _responses()
    _, field = _event(b"v")
    for watch_id in range(1, 10 * SHARED_IDS_MAX):
        responses.live(watch_id, 2, [field])
        assert len(responses._made) <= SHARED_IDS_MAX
    _, large = _event(bytes(SHARED_BYTES_MAX))
    responses.live(1, 3, [large])
    assert all(len(made) <= SHARED_BYTES_MAX for made in responses._made.values())


def _run(*sizes: int) -> Run:
    return [(2 + at, [_event(bytes(size))[1]]) for at, size in enumerate(sizes)]


def test_a_burst_has_the_responses_that_each_revision_had_alone() -> None:
    responses = _responses()
    run = _run(1, 2, 3)
    for watch_id in IDS:
        burst = responses.burst(watch_id, run)
        assert burst is not None
        assert burst.messages == [responses.live(watch_id, *each) for each in run]
        assert responses.burst(watch_id, run) is burst
    other = [*run]
    assert responses.burst(0, other) is not burst
    again = responses.burst(0, run)
    assert again is not None
    assert again.messages == [responses.live(0, *each) for each in run]


def test_bursts_that_are_kept_are_bounded_in_number_and_in_bytes() -> None:
    responses = _responses()
    run = _run(1, 2)
    for watch_id in range(10 * SHARED_IDS_MAX):
        assert responses.burst(watch_id, run) is not None
        assert len(responses._bursts) <= SHARED_IDS_MAX
    small = responses._run
    assert responses.burst(1, _run(SHARED_BYTES_MAX // 2, SHARED_BYTES_MAX // 2)) is None
    assert responses._run is small, "nor are its events"
