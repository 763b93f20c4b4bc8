"""Streams whose messages are answered at once: what a client hears and what is counted is the same
as with the coroutine alone, in every state that the two can be in together.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server import status
from server.transport.frames import (
    DATA,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADERS,
    ErrorCode,
    rst_stream,
    settings,
    window_update,
)
from server.transport.peer import STREAM_WINDOW_BYTES
from server.transport.sending import SEND_AHEAD_BYTES
from tests.server.transport.native import LATER, REFUSED, Client, count_of, opened
from tests.server.transport.support import LIMIT_BYTES, data, parsed, prefixed
from tests.support.clock import settle
from tests.support.loop import in_loop

E = ErrorCode
GIVES_NO_WINDOW: Final = settings((4, 0))
TOO_LARGE: Final = b"\0" + (LIMIT_BYTES + 1).to_bytes(4, "big")


async def talk(
    pieces: list[bytes], *, is_at_once: bool, gzipped: bool, window: int | None
) -> tuple[Any, ...]:
    """What the second stream of a client says to `pieces` of its body, and how it was counted."""
    client = Client(is_at_once=is_at_once)
    encoding = {"grpc_encoding": b"gzip" if gzipped else None}
    client.send(client.open("Talk", **encoding), data(client.last_id, prefixed(b"1")))
    await settle()
    if window is not None:
        client.send(settings((4, window)))
    client.send(client.open("Talk", **encoding))
    *first, last = pieces
    for piece in first:
        client.send(data(client.last_id, piece, flags=0))
        if piece.endswith(b"\0"):
            await settle()
    client.send(data(client.last_id, last, flags=END_STREAM))
    await settle()
    if window is not None:
        client.send(window_update(client.last_id, 1 << 20))
        await settle()
    heard = client.heard(client.last_id)
    assert heard.is_ended
    return heard.messages, heard.status, heard.fields.get(b"grpc-message"), count_of(client)


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    """Messages of all kinds, cut anywhere."""
    message = st.sampled_from((b"", b"a", b"b\0", b"cc", LATER, LATER + b"1", b"d" * 90))
    if draw(st.integers(0, 3)) == 0:
        message |= st.just(REFUSED)
    runs = st.lists(st.tuples(message, st.integers(1, 4), st.booleans()), max_size=6)
    body = b""
    for text, many, is_compressed in draw(runs):
        squeezed = is_compressed and draw(st.booleans())
        body += (
            prefixed(gzip.compress(text, mtime=0) if squeezed else text, is_compressed=squeezed)
            * many
        )
    if draw(st.booleans()):  # Each message in a frame of its own, the same ones in a row.
        return [prefixed(text) for text, many, _ in draw(runs) for _ in range(many)] + [body]
    body += draw(st.sampled_from((b"", b"", b"", b"\0", b"\0\0\0\0\5abc", TOO_LARGE)))
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@given(bodies(), st.booleans(), st.sampled_from((None, 0, 3, 40)))
@example([prefixed(b"a") + TOO_LARGE], False, None)
@example([TOO_LARGE], False, 0)
@example([prefixed(b"a") * 9], True, 0)
@example([prefixed(b"a") + prefixed(LATER) + prefixed(b"b")], False, None)
@example([prefixed(b"a") + prefixed(LATER) + prefixed(b"b"), b""], False, None)
@example([prefixed(b"a") + prefixed(REFUSED)], True, None)
def test_the_client_hears_and_the_server_counts_the_same_without_it(
    pieces: list[bytes], gzipped: bool, window: int | None
) -> None:
    @in_loop
    async def compare() -> None:
        said = [
            await talk(pieces, is_at_once=each, gzipped=gzipped, window=window)
            for each in (True, False)
        ]
        assert said[0] == said[1]

    compare()


@pytest.mark.parametrize("is_whole", [True, False])
@in_loop
async def test_what_can_be_answered_at_once_begins_no_coroutine(is_whole: bool) -> None:
    client, stream_id = opened()
    if is_whole:
        client.send(data(stream_id, b""), client.open("Talk"))
        stream_id = client.last_id
    body = b"".join(prefixed(b"%03d" % number) for number in range(1000))
    client.send(data(stream_id, body))
    heard = client.heard(stream_id)
    assert heard.messages == [b"%03d" % number * 2 for number in range(1000)]
    assert (heard.status, client.methods.begun) == (b"0", 0)
    assert [len(each) for each in client.methods.batches] == [1, 1000]
    assert count_of(client)[:4] == (2 + is_whole, 2 + is_whole, {}, (1001, 1001))


@pytest.mark.parametrize("narrow", ["stream", "connection"])
@in_loop
async def test_answers_on_a_long_stream_keep_to_both_windows(narrow: str) -> None:
    client, stream_id = opened()
    connection, size = client.connection, len(prefixed(b"00"))
    client.send(data(stream_id, prefixed(b"0"), flags=0))
    kinds = [each.type for each in parsed(client.socket.written) if each.stream_id == stream_id]
    assert kinds == [HEADERS, DATA]
    (stream,) = client.server.host.streams
    if narrow == "stream":
        stream.window = size
    else:
        connection.window = size
    for number in (1, 2, 3):
        client.send(data(stream_id, prefixed(b"%d" % number), flags=0))
        assert len(client.heard(stream_id).body) == 2 * size
        assert min(stream.window, connection.window) == 0
    windows = stream.window, connection.window
    grown = 0 if narrow == "connection" else stream_id
    client.send(window_update(grown, 1 << 20))
    client.send(data(stream_id, prefixed(b"4"), flags=0))
    assert client.heard(stream_id).messages == [b"00", b"11", b"22", b"33", b"44"]
    more = (1 << 20, 0) if grown else (0, 1 << 20)
    taken = 3 * size
    assert stream.window == windows[0] + more[0] - taken
    assert connection.window == windows[1] + more[1] - taken
    client.send(data(stream_id, b""))
    assert count_of(client)[:3] == (2, 2, {})


@in_loop
async def test_an_answer_at_once_waits_behind_one_that_is_not_yet_written() -> None:
    client, stream_id = opened()
    client.send(data(stream_id, prefixed(b"1"), flags=0))
    client.send(data(stream_id, prefixed(LATER), flags=0))
    await asyncio.sleep(0)  # The coroutine has sent its answer, and the loop has not written it.
    assert client.methods.begun == 1
    assert client.heard(stream_id).messages == [b"11"]
    client.send(data(stream_id, prefixed(b"2"), flags=0))
    assert client.methods.batches[-1] == [b"2"], "the coroutine waits, so this one is spared it"
    assert client.heard(stream_id).messages == [b"11", LATER * 2, b"22"]
    client.send(data(stream_id, b""))
    await settle()
    assert count_of(client)[:3] == (2, 2, {})


@in_loop
async def test_answers_larger_than_a_frame_are_cut() -> None:
    """A long stream's answers may be larger than the frame that brought the messages."""
    client, stream_id = opened()
    client.send(data(stream_id, prefixed(b"1"), flags=0))
    count = FRAME_BYTES_MAX // len(prefixed(b"123"))
    client.send(data(stream_id, prefixed(b"123") * count, flags=0))
    heard = client.heard(stream_id)
    assert heard.messages == [b"11"] + [b"123123"] * count
    assert len(heard.body) > FRAME_BYTES_MAX
    assert client.longest <= FRAME_BYTES_MAX


@in_loop
async def test_what_comes_in_pieces_is_put_together_at_once_if_the_piece_is_small() -> None:
    client, stream_id = opened()
    message = prefixed(b"x" * 200)
    for cut, begun in ((64, 0), (65, 1)):
        client.send(
            data(stream_id, message[:cut], flags=0), data(stream_id, message[cut:], flags=0)
        )
        assert client.connection.held_bytes == (0 if not begun else len(message) + 100)
        await settle()
        assert client.methods.begun == begun
    client.send(data(stream_id, b""))
    await settle()
    assert client.heard(stream_id).messages == [b"x" * 400] * 2
    assert count_of(client)[:3] == (2, 2, {})


@in_loop
async def test_of_a_piece_that_was_answered_nothing_is_held_any_more() -> None:
    client, stream_id = opened()
    later = prefixed(LATER)
    client.send(data(stream_id, prefixed(b"a")[:5], flags=0))
    assert client.connection.held_bytes == 5
    client.methods.gate.clear()
    client.send(data(stream_id, b"a" + later, flags=0))
    assert client.connection.held_bytes == len(later) + 100
    client.send(rst_stream(stream_id, E.CANCEL))
    await settle()
    assert count_of(client)[:3] == (2, 1, {status.Code.CANCELLED: 1})


@in_loop
async def test_a_coroutine_that_has_begun_is_passed_by_while_it_waits_and_only_then() -> None:
    client, stream_id = opened()
    client.send(data(stream_id, prefixed(LATER), flags=0))
    client.methods.gate.clear()
    await settle()
    asked = len(client.methods.batches)
    client.send(data(stream_id, prefixed(b"a"), flags=0))
    assert len(client.methods.batches) == asked, "the coroutine has not answered what came before"
    client.methods.gate.set()
    await settle()
    client.send(data(stream_id, prefixed(b"b"), flags=0))
    assert client.methods.batches[asked:] == [[b"b"]]
    client.send(data(stream_id, prefixed(b"c") + prefixed(LATER + b"1") + prefixed(b"d")))
    await settle()
    assert client.heard(stream_id).messages == [
        each * 2 for each in (LATER, b"a", b"b", b"c", LATER + b"1", b"d")
    ]
    assert client.methods.begun == 1
    assert count_of(client)[:3] == (2, 2, {})


def numbered(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%08d" % number + bytes(size)


@in_loop
async def test_what_the_client_does_not_take_is_bounded_and_nothing_is_lost() -> None:
    client, stream_id = opened()
    client.send(GIVES_NO_WINDOW)
    (call,) = client.server.host.streams
    sent = list(numbered(1000, 992))
    frame_of = 16
    most = SEND_AHEAD_BYTES + 2 * frame_of * 1000 + frame_of * 5
    for at in range(0, len(sent), frame_of):
        body = b"".join(map(prefixed, sent[at : at + frame_of]))
        client.send(data(stream_id, body, flags=0))
        await settle()
        assert call.unsent_bytes < most
    assert call.unsent_bytes >= SEND_AHEAD_BYTES
    assert client.methods.begun == 1, "the rest is the coroutine's, which waits"
    assert 0 < client.connection.held_bytes <= STREAM_WINDOW_BYTES + 100 * len(sent)
    for _ in range(60):
        client.send(window_update(stream_id, 50_000), window_update(0, 50_000))
        await settle()
    asked = len(client.methods.batches)
    client.send(data(stream_id, prefixed(b"end")))
    await settle()
    assert len(client.methods.batches) == asked + 1, "at once again, once all is taken"
    heard = client.heard(stream_id)
    assert heard.messages == [each * 2 for each in sent] + [b"endend"]
    assert heard.status == b"0"
    assert count_of(client)[:4] == (2, 2, {}, (1002, 1002))


@in_loop
async def test_the_window_of_what_was_answered_is_given_back() -> None:
    client, stream_id = opened()
    client.send(settings((4, 1 << 30)), window_update(0, 1 << 30))
    room = STREAM_WINDOW_BYTES
    (call,) = client.server.host.streams
    for _ in range(200):
        client.send(data(stream_id, prefixed(bytes(16_000)), flags=0))
        assert call.allowance + call.taken == room
        await settle()
    assert client.methods.begun == 0
    assert client.connection.held_bytes == 0
