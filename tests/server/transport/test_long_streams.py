"""What a client may send on a stream that stays: the windows, and nothing behind its end."""

from __future__ import annotations

from server.transport.frames import RST_STREAM, WINDOW_UPDATE, ErrorCode, settings, window_update
from server.transport.peer import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from tests.server.transport.native import LATER, Client, opened
from tests.server.transport.support import data, parsed, prefixed
from tests.support.loop import in_loop


@in_loop
async def test_the_connections_window_is_given_back_for_what_came_on_a_long_stream() -> None:
    client, stream_id = opened()
    client.send(settings((4, 1 << 30)), window_update(0, 1 << 30))
    client.heard(stream_id)
    piece = prefixed(b"x" * 16_000)
    taken = granted = 0
    for _ in range(CONNECTION_WINDOW_BYTES // len(piece)):
        client.send(data(stream_id, piece, flags=0))
        taken += len(piece)
        for each in parsed(client.socket.written):
            assert each.type != RST_STREAM
            if each.type == WINDOW_UPDATE and not each.stream_id:
                granted += each.window_increment
        client.socket.written = b""
        assert granted > taken - CONNECTION_WINDOW_BYTES // 2


@in_loop
async def test_the_window_of_a_stream_that_nobody_reads_is_exactly_as_large_as_told() -> None:
    client, stream_id = opened()
    client.methods.gate.clear()
    client.send(data(stream_id, prefixed(LATER), flags=0))
    left = STREAM_WINDOW_BYTES - len(prefixed(LATER))
    while left:
        size = min(left, 16_000)
        client.send(data(stream_id, bytes(size), flags=0))
        left -= size
    assert client.heard(stream_id).reset is None
    client.send(data(stream_id, bytes(1), flags=0))
    assert client.heard(stream_id).reset is ErrorCode.FLOW_CONTROL_ERROR


@in_loop
async def test_nothing_comes_behind_the_end_of_what_a_client_sends() -> None:
    """RFC 9113 section 5.1: half-closed (remote)."""
    client = Client()
    client.send(client.open("Late"), data(client.last_id, prefixed(b"1")))
    stream_id = client.last_id
    assert client.heard(stream_id).reset is None
    client.send(data(stream_id, b"more", flags=0))
    assert client.heard(stream_id).reset is ErrorCode.STREAM_CLOSED
