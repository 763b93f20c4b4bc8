"""Peers that keep a server busy: each loses its connection, and the memory it took is bounded."""

from __future__ import annotations

import tracemalloc
from typing import Final

import pytest

from server.transport.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from server.transport.hpack import encode
from server.transport.peer import BLOCK_BYTES_MAX, NUISANCES_MAX, RESETS_MAX, STREAMS_A_NUISANCE
from server.transport.requests import (
    BLOCK_FRAMES_MAX,
    BLOCK_KEPT_BYTES_MAX,
    BLOCK_KEPT_FIELDS_MAX,
    BLOCKS_MAX,
)
from tests.server.transport.support import (
    REQUEST,
    Peer,
    block,
    call,
    data,
    end_of_connection,
    headers,
    prefixed,
    resets,
)

CALM: Final = ErrorCode.ENHANCE_YOUR_CALM
FLOODS: Final = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "answers to no PING": frame(PING, ACK, 0, bytes(8)),
    "SETTINGS": frame(SETTINGS, 0, 0),
    "acknowledgements of no SETTINGS": frame(SETTINGS, ACK, 0),
    "GOAWAY": frame(GOAWAY, 0, 0, bytes(8)),
    "a window that goes up and down": settings((4, 1)) + settings((4, 2)),
    "empty DATA": frame(DATA, 0, 1),
    "DATA of padding alone": frame(DATA, 0x8, 1, b"\0"),
    "PRIORITY": frame(PRIORITY, 0, 9, bytes(5)),
    "WINDOW_UPDATE of the connection": window_update(0, 1),
    "WINDOW_UPDATE of a stream": window_update(1, 1),
    "unknown frames": frame(0xBE, 0, 0),
    "RST_STREAM of a stream that is over": rst_stream(3, ErrorCode.CANCEL),
    "DATA of a stream that was reset": frame(DATA, 0, 3, b"x"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_frames_that_move_nothing_forward_end_the_connection(kind: str) -> None:
    peer, other = Peer(), Peer()
    peer.send(headers(1), headers(3, te=b"gzip"))
    received = peer.send(FLOODS[kind] * (NUISANCES_MAX + 1))
    assert end_of_connection(received) == CALM
    assert other.works(1)


def test_as_many_as_are_forgiven_are_forgiven_each_second() -> None:
    peer = Peer()
    peer.connection.refill()
    for _ in range(3):
        assert end_of_connection(peer.send(FLOODS["PING"] * NUISANCES_MAX)) is None
        peer.connection.refill()
    assert peer.works(1)


def test_what_honest_clients_say_to_each_answer_is_no_flood_at_any_pace() -> None:
    """grpc's stacks send a WINDOW_UPDATE and a PING for each, of 20,000 calls a second."""
    peer = Peer()
    ping = frame(PING, 0, 0, bytes(8))
    answer_bytes = len(prefixed(b"a" * 30))
    for number in range(NUISANCES_MAX + 1):
        stream_id = 1 + 2 * number
        head = headers(stream_id) + window_update(stream_id, answer_bytes)
        peer.send(head + data(stream_id, prefixed(b"a" * 30)), window_update(0, answer_bytes), ping)
    assert len(peer.seen) == NUISANCES_MAX + 1
    assert peer.works(1_000_001)
    # The credit ends with the second that earned it.
    peer.connection.refill()
    assert end_of_connection(peer.send(ping * (NUISANCES_MAX + 1))) == CALM


def test_rapid_reset_ends_the_connection_and_leaves_nothing_behind() -> None:
    """CVE-2023-44487."""
    peer = Peer()
    flood = b"".join(
        headers(stream_id) + rst_stream(stream_id, ErrorCode.CANCEL)
        for stream_id in range(1, 2 * NUISANCES_MAX + 4, 2)
    )
    assert end_of_connection(peer.send(flood)) == CALM
    assert len(peer.connection) == 0
    assert len(peer.connection._resets) <= RESETS_MAX


def test_requests_behind_our_goaway_are_counted_too() -> None:
    peer = Peer()
    peer.send(call(1, method=b"Late"))
    peer.connection.drain()
    flood = b"".join(headers(3 + 2 * number) for number in range(NUISANCES_MAX + 1))
    assert end_of_connection(peer.send(flood)) == CALM


def test_resets_that_the_server_is_made_to_send_are_counted_alike() -> None:
    """CVE-2025-8671: the client breaks a rule of each stream instead of resetting it."""
    peer = Peer()
    flood = b"".join(
        headers(stream_id) + window_update(stream_id, 0)
        for stream_id in range(1, 2 * NUISANCES_MAX + 4, 2)
    )
    assert end_of_connection(peer.send(flood)) == CALM


def test_a_change_of_window_costs_by_the_streams_that_it_touches() -> None:
    """One SETTINGS frame may say it 2,730 times; and thousands of streams may be open."""
    peer = Peer(streams_max=10_000)
    peer.send(*[headers(1 + 2 * number) for number in range(6_400)])
    many = settings(*[(4, 1 + number % 2) for number in range(2_730)])
    assert end_of_connection(peer.send(many)) is None
    assert peer.connection._nuisances == 2 + 6_400 // STREAMS_A_NUISANCE  # Two SETTINGS frames.


def test_a_window_update_visits_only_those_that_wait_for_it() -> None:
    peer = Peer(streams_max=10_000)
    peer.large = bytes(70_000)
    peer.send(settings((4, 1 << 20)), *[headers(1 + 2 * n) for n in range(1000)])
    peer.send(call(3001, method=b"Large"), call(3003, method=b"Large"))
    assert list(peer.connection._blocked) == [3001, 3003]
    (some,) = peer.send(window_update(0, 10))
    assert (some.stream_id, len(some.data)) == (3001, 10)
    (some,) = peer.send(window_update(0, 10))
    assert (some.stream_id, len(some.data)) == (3003, 10)  # Turn by turn.


@pytest.mark.parametrize("size", [0, 1, 8000])
def test_a_header_block_without_end_ends_the_connection(size: int) -> None:
    """CVE-2024-27316: CONTINUATION for ever."""
    peer = Peer()
    received = peer.send(headers(1, flags=0))
    sent = 0
    while end_of_connection(received) is None:
        sent += 1
        received = peer.send(frame(CONTINUATION, 0, 1, bytes(size)))
    assert end_of_connection(received) == CALM
    assert sent <= BLOCK_FRAMES_MAX + 1
    assert sent * size <= BLOCK_BYTES_MAX + size


def test_a_table_entry_referred_to_many_times_ends_the_connection() -> None:
    """The HPACK bomb: 4 KB in the table, 16,000 references to it in a frame."""
    peer = Peer()
    bomb = encode(((b"a", b"x" * 4000),)).replace(b"\0", b"\x40", 1)
    received = peer.send(frame(HEADERS, END_HEADERS, 1, bomb + b"\xbe" * 12_000))
    assert end_of_connection(received) == ErrorCode.COMPRESSION_ERROR


def test_a_client_that_never_repeats_itself_fills_no_cache() -> None:
    peer = Peer()
    tracemalloc.start()
    for number in range(3000):
        stream_id = 1 + 2 * number
        secret = b"%d" % number * (number % 1000)
        peer.send(
            frame(HEADERS, END_HEADERS, stream_id, block(token=secret)),
            rst_stream(stream_id, ErrorCode.CANCEL),
        )
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(peer.connection._heads) <= BLOCKS_MAX
    assert max(map(len, peer.connection._heads)) <= BLOCK_KEPT_BYTES_MAX
    assert kept < 2_000_000


def test_a_head_of_very_many_fields_is_not_remembered() -> None:
    """A block of 256 octets may stand for 1 MiB."""
    peer = Peer()
    own = len(REQUEST)
    for stream_id, more in ((1, BLOCK_KEPT_FIELDS_MAX - own), (3, BLOCK_KEPT_FIELDS_MAX - own + 1)):
        fields = encode(tuple((b"x", b"") for _ in range(more)))
        peer.send(frame(HEADERS, END_HEADERS, stream_id, block() + fields))
        assert len(peer.connection._heads) == 1, "the first of the two"


def test_unfinished_requests_hold_no_more_than_their_streams_window_allows() -> None:
    """A client that minds no window is stopped, whoever reads or does not."""
    peer = Peer()
    peer.send(headers(1, _path=b"/f.S/Late"))
    stream = peer.connection._streams[1]
    stream.allowance = 100
    assert resets(peer.send(data(1, bytes(101), flags=0))) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    assert peer.connection.held_bytes == 0


def test_answers_that_nobody_takes_stop_new_requests_and_not_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("connection", "requests"):
        monkeypatch.setattr(f"server.transport.{module}.BACKLOG_BYTES_MAX", 100_000)
    peer, other = Peer(), Peer()
    peer.large = bytes(60_000)
    received = peer.send(settings((4, 0)), *[call(n, method=b"Large") for n in (1, 3, 5)])
    assert resets(received) == [(5, ErrorCode.REFUSED_STREAM)]
    assert other.works(1)
    peer.send(rst_stream(1, ErrorCode.CANCEL), settings((4, 65_535)))
    assert peer.connection.backlog_bytes < 60_000
    assert peer.send(call(7, method=b"Late")) == []
