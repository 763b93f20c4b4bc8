"""A read that is one frame, the same as the two before it: answered without being taken apart.

Whatever stands in the way, it is received as any other. That all this is the same for the client
is in `test_at_once`, with messages drawn at random.
"""

from __future__ import annotations

import pytest

from server.status import RpcError
from server.transport.connection import Connection
from server.transport.frames import (
    DATA,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    HEADERS,
    ErrorCode,
    frame,
    settings,
    window_update,
)
from server.transport.peer import AGAIN_BYTES_MAX, CONNECTION_WINDOW_BYTES
from server.transport.rpc import GRANT_BYTES
from server.transport.streaming import StreamingCall
from tests.server.transport.native import LATER, Client, count_of, opened
from tests.server.transport.support import REFUSAL, block, data, parsed, prefixed
from tests.support.clock import settle
from tests.support.loop import in_loop

MESSAGE = prefixed(b"a")


class Taken:
    """How many reads were taken apart."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        receive = Connection._receive

        def counted(connection: Connection, data: bytes) -> int:
            self.count += 1
            return receive(connection, data)

        monkeypatch.setattr(Connection, "_receive", counted)


def expecting(message: bytes = MESSAGE) -> tuple[Client, int, StreamingCall]:
    """A client whose stream has been sent the same message twice."""
    client, stream_id = opened()
    for _ in range(2):
        client.send(data(stream_id, message, flags=0))
    (call,) = client.server.host.streams
    return client, stream_id, call


def _said(client: Client, stream_id: int) -> list[bytes]:
    return client.heard(stream_id).messages


@in_loop
async def test_the_third_of_three_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    client, stream_id, call = expecting()
    taken = Taken(monkeypatch)
    windows = call.window, client.connection.window
    client.send(data(stream_id, MESSAGE, flags=0))
    assert taken.count == 0
    answer = len(prefixed(b"aa"))
    assert (call.window, client.connection.window) == (windows[0] - answer, windows[1] - answer)
    client.send(data(stream_id, prefixed(b"b"), flags=0))
    client.send(data(stream_id, MESSAGE, flags=0))
    client.send(data(stream_id, MESSAGE, flags=0))
    assert taken.count == 3
    client.send(data(stream_id, MESSAGE, flags=0))
    assert taken.count == 3
    assert call.task is None
    client.send(data(stream_id, b""))
    assert _said(client, stream_id) == [b"aa", b"aa", b"aa", b"bb", b"aa", b"aa", b"aa"]
    assert count_of(client) == (2, 2, {}, (8, 8), 8, 16)


@in_loop
async def test_only_small_frames_are_expected() -> None:
    most = AGAIN_BYTES_MAX - HEADER_BYTES - len(prefixed(b""))
    assert most == 18  # Of a message: a keepalive's is 11 at most.
    for message, is_expected in ((bytes(most), True), (bytes(most + 1), False)):
        client, stream_id, call = expecting(prefixed(message))
        assert bool(call.again) == is_expected
    client.send(data(stream_id, MESSAGE, flags=0))
    assert call._lately == MESSAGE
    client.send(data(stream_id, prefixed(bytes(1000)), flags=0))
    assert call._lately == b"", "no frame of any size is kept"


@pytest.mark.parametrize("body", [MESSAGE * 2, b"\1" + MESSAGE[1:], MESSAGE[:3]])
@in_loop
async def test_only_one_message_is_expected_and_no_more_of_it(body: bytes) -> None:
    _, _, call = expecting(body)
    assert call.again == b""


@in_loop
async def test_a_frame_that_comes_in_two_reads_or_beside_another_is_taken_apart() -> None:
    client, stream_id, _ = expecting()
    again = data(stream_id, MESSAGE, flags=0)
    for at in range(1, len(again)):
        client.send(again[:at])
        client.send(again[at:])
        client.send(again)
    client.send(again + again)
    client.send(again[:10])
    client.send(again[10:] + again[:10])
    client.send(again[10:])
    assert _said(client, stream_id) == [b"aa"] * (2 + 2 * (len(again) - 1) + 4)


@in_loop
async def test_what_has_to_wait_for_a_window_waits_and_so_do_those_behind_it() -> None:
    client, stream_id, call = expecting()
    client.send(settings((4, 0)))
    for _ in range(3):
        client.send(data(stream_id, MESSAGE, flags=0))
    assert _said(client, stream_id) == [b"aa"] * 2
    client.send(window_update(stream_id, 1000))
    await settle()
    client.send(data(stream_id, MESSAGE, flags=0))
    assert _said(client, stream_id) == [b"aa"] * 6
    assert call.unsent_bytes == 0


@in_loop
async def test_the_window_of_the_connection_counts_too() -> None:
    client, stream_id, call = expecting()
    client.connection.window = 6
    client.send(data(stream_id, MESSAGE, flags=0))
    assert call.unsent_bytes == 1
    client.send(window_update(0, 1000))
    assert _said(client, stream_id) == [b"aa"] * 3


@in_loop
async def test_an_answer_larger_than_a_frame_is_cut() -> None:
    client, stream_id, _ = expecting()
    client.connection.frame_bytes = 6
    client.send(data(stream_id, MESSAGE, flags=0))
    sizes = [len(each.data) for each in parsed(client.socket.written) if each.type == DATA]
    assert sizes[-2:] == [6, 1]
    assert _said(client, stream_id) == [b"aa"] * 3


@in_loop
async def test_an_answer_goes_behind_what_waits_to_be_written() -> None:
    client, stream_id, call = expecting()
    assert call.send_now(b"first")
    client.send(data(stream_id, MESSAGE, flags=0))
    assert _said(client, stream_id) == [b"aa", b"aa", b"first", b"aa"]


@in_loop
async def test_an_answer_goes_behind_those_of_other_streams_that_wait() -> None:
    client, stream_id, _ = expecting()
    client.send(client.open("Late"), data(client.last_id, prefixed(b"")))
    client.methods.late.pop().reply(b"done")
    client.send(data(stream_id, MESSAGE, flags=0))
    written = [each.stream_id for each in parsed(client.socket.written) if each.type == DATA]
    assert written[-2:] == [client.last_id, stream_id]
    assert _said(client, stream_id) == [b"aa"] * 3


@in_loop
async def test_an_answer_waits_while_the_socket_takes_no_more() -> None:
    client, stream_id, _ = expecting()
    client.protocol.pause_writing()
    client.send(data(stream_id, MESSAGE, flags=0))
    assert _said(client, stream_id) == [b"aa"] * 2
    client.protocol.resume_writing()
    assert _said(client, stream_id) == [b"aa"] * 3


@in_loop
async def test_what_only_looks_like_it_is_the_rest_of_another_frame() -> None:
    client, stream_id, _ = expecting()
    again = data(stream_id, MESSAGE, flags=0)
    another = frame(0xBE, 0, 0, again)
    client.send(another[:HEADER_BYTES])
    client.send(another[HEADER_BYTES:])
    assert _said(client, stream_id) == [b"aa"] * 2
    client.send(again)
    assert _said(client, stream_id) == [b"aa"] * 3


@in_loop
async def test_both_windows_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    client, stream_id, call = expecting()
    client.send(window_update(stream_id, 1 << 30), window_update(0, 1 << 30))
    client.socket.written = b""
    size, room = len(MESSAGE), call.allowance + call.taken
    call.allowance, call.taken = size, room - size
    call.taken = GRANT_BYTES - size
    client.connection._unread = CONNECTION_WINDOW_BYTES // 2 - size
    taken = Taken(monkeypatch)
    client.send(data(stream_id, MESSAGE, flags=0))
    assert taken.count == 0
    assert window_update(stream_id, GRANT_BYTES) in client.socket.written
    assert window_update(0, CONNECTION_WINDOW_BYTES // 2) in client.socket.written
    assert (call.allowance, call.taken, client.connection._unread) == (GRANT_BYTES, 0, 0)
    assert _said(client, stream_id) == [b"aa"]


@in_loop
async def test_more_than_the_window_allows_ends_the_stream() -> None:
    client, stream_id, call = expecting()
    call.allowance = len(MESSAGE) - 1
    client.send(data(stream_id, MESSAGE, flags=0))
    assert client.heard(stream_id).reset == ErrorCode.FLOW_CONTROL_ERROR


@in_loop
async def test_within_a_header_block_it_ends_the_connection() -> None:
    client, stream_id, _ = expecting()
    client.send(frame(HEADERS, END_STREAM, stream_id + 2, block()[:1]))
    client.send(data(stream_id, MESSAGE, flags=0))
    client.heard(stream_id)
    assert client.goaway == ErrorCode.PROTOCOL_ERROR


@in_loop
async def test_one_that_is_no_longer_to_be_answered_at_once_is_the_coroutine_s() -> None:
    client, stream_id, call = expecting()
    client.methods.refuses = True
    client.send(data(stream_id, MESSAGE, flags=0))
    assert call.again == b""
    await settle()
    assert client.methods.begun == 1
    assert _said(client, stream_id) == [b"aa"] * 3
    client.methods.refuses = False
    for _ in range(3):
        client.send(data(stream_id, MESSAGE, flags=0))
    assert call.again
    client.methods.gate.clear()
    client.send(data(stream_id, prefixed(LATER), flags=0))
    client.send(data(stream_id, MESSAGE, flags=0))
    assert call.again == b"", "the coroutine has yet to answer what came before"
    client.methods.gate.set()
    await settle()
    assert _said(client, stream_id) == [b"aa"] * 6 + [LATER * 2, b"aa"]
    assert len(vars(call)) <= 30, "with more, CPython makes each stream a dict of 1.5 KB"


@in_loop
async def test_behind_the_end_of_the_stream_nothing_is_answered() -> None:
    client, stream_id, call = expecting()
    call.stop(RpcError(REFUSAL))
    assert call.again
    asked = len(client.methods.batches)
    client.send(data(stream_id, MESSAGE, flags=0))
    assert len(client.methods.batches) == asked
    assert _said(client, stream_id) == [b"aa"] * 2


@in_loop
async def test_a_stream_whose_end_waits_to_be_taken_answers_no_more() -> None:
    client, stream_id, call = expecting()
    client.send(settings((4, 0)))
    client.send(data(stream_id, MESSAGE, flags=0))
    call.stop(RpcError(REFUSAL))
    asked = len(client.methods.batches)
    client.send(data(stream_id, MESSAGE, flags=0))
    assert len(client.methods.batches) == asked
    client.send(window_update(stream_id, 1000))
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([b"aa"] * 3, b"%d" % REFUSAL.code)


@in_loop
async def test_the_last_frame_of_a_stream_is_another() -> None:
    client, stream_id, _ = expecting()
    client.send(data(stream_id, MESSAGE))
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([b"aa"] * 3, b"0")


@in_loop
async def test_a_stream_of_a_promised_length_keeps_to_it() -> None:
    client, stream_id, _ = expecting()
    client.send(client.open("Talk", content_length=b"%d" % (3 * len(MESSAGE))))
    promised = client.last_id
    for _ in range(3):
        client.send(data(promised, MESSAGE, flags=0))
        client.send(data(stream_id, MESSAGE, flags=0))
    client.send(data(promised, MESSAGE, flags=0))
    assert client.heard(promised).reset == ErrorCode.PROTOCOL_ERROR
    assert _said(client, stream_id) == [b"aa"] * 5


def test_a_frame_that_is_compared_is_no_larger_than_any() -> None:
    assert AGAIN_BYTES_MAX < FRAME_BYTES_MAX
    assert data(1, MESSAGE, flags=0)[3] == DATA
