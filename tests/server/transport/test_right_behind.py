"""Requests whose head and what follows it come in one read: the same as if they came one by one."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from server.transport.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    HEADERS,
    RST_STREAM,
    WINDOW_MAX,
    ErrorCode,
    frame,
)
from server.transport.hpack import encode
from tests.server.transport.native import REFUSED, Client
from tests.server.transport.support import REFUSAL, block, data, headers, prefixed
from tests.server.transport.test_awaited import NO_MESSAGE, PIECES, WRONG
from tests.support.loop import in_loop

E = ErrorCode


def known(name: str = "Echo") -> Client:
    """A client whose head is known, so that the next request may be served in one step."""
    client = Client()
    client.know(name)
    return client


def know_late(client: Client) -> None:
    client.send(client.open("Late"), data(client.last_id, prefixed(b"")))
    client.methods.late.pop().reply(b"")


@pytest.mark.parametrize("name", ["Echo", "Talk"])
@pytest.mark.parametrize("kind", PIECES)
@in_loop
async def test_a_body_may_come_in_any_way_that_is_allowed(name: str, kind: str) -> None:
    client = known(name)
    head = client.open(name)
    pieces = PIECES[kind](client.last_id)
    if "all" in kind:
        pieces.append(data(client.last_id, prefixed(b"hey")))
    client.send(head, *pieces)
    await asyncio.sleep(0)
    heard = client.heard(client.last_id)
    assert (heard.status, heard.is_ended, heard.reset) == (b"0", True, None)
    assert heard.messages == [b"hey" * (2 if name == "Talk" else 1)]
    assert client.is_over


@pytest.mark.parametrize("kind", NO_MESSAGE)
@in_loop
async def test_what_is_no_message_is_refused(kind: str) -> None:
    client = known()
    head = client.open()
    client.send(head, NO_MESSAGE[kind](client.last_id))
    heard = client.heard(client.last_id)
    assert (heard.status, heard.is_ended, heard.body) == (b"13", True, b"")
    assert client.is_over


@pytest.mark.parametrize("name", ["Echo", "Talk"])
@pytest.mark.parametrize("kind", WRONG)
@in_loop
async def test_what_is_wrong_with_it_ends_it_alone(name: str, kind: str) -> None:
    client = known(name)
    code, wrong = WRONG[kind]
    head = client.open(name)
    client.send(head, wrong(client.last_id))
    assert client.heard(client.last_id).reset is code
    client.know("Echo")
    assert client.goaway is None
    assert client.counts.active == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@in_loop
async def test_each_body_goes_to_its_own_head(order: tuple[int, ...]) -> None:
    """The last head's is right behind it, or another's is."""
    client = known()
    heads = [client.open() for _ in order]
    ids = [client.last_id - 2 * (len(order) - 1 - number) for number in range(len(order))]
    client.send(*heads, *(data(ids[number], prefixed(b"%d" % number)) for number in order))
    assert [client.heard(each).messages for each in ids] == [[b"0"], [b"1"], [b"2"]]
    assert client.is_over


@in_loop
async def test_a_body_behind_another_head_goes_to_its_own() -> None:
    client = known()
    client.send(client.open())
    early = client.last_id
    assert client.is_awaited(early)
    head, late = client.open(), client.last_id
    client.send(head, data(early, prefixed(b"0")), data(late, prefixed(b"1")))
    assert [client.heard(each).messages for each in (early, late)] == [[b"0"], [b"1"]]
    assert client.is_over


@in_loop
async def test_another_kind_of_frame_with_the_same_flag_is_no_body() -> None:
    client = known()
    head = client.open()
    reset = frame(RST_STREAM, END_STREAM, client.last_id, bytes((0, 0, 0, E.CANCEL)))
    client.send(head, reset)
    assert client.is_over
    assert client.heard(client.last_id).status is None


@in_loop
async def test_a_frame_that_is_too_large_ends_the_connection() -> None:
    client = known()
    head = client.open()
    body = frame(DATA, END_STREAM, client.last_id, bytes(FRAME_BYTES_MAX + 1))
    client.send(head, body)
    client.heard(0)
    assert client.goaway is E.FRAME_SIZE_ERROR


@pytest.mark.parametrize("kind", [HEADERS, DATA])
@in_loop
async def test_the_highest_octet_of_a_length_counts(kind: int) -> None:
    """The two below it say what would fit."""
    client = known()
    head, stream_id = client.open(), client.last_id
    body = data(stream_id, prefixed(b"hey"))
    frames = {HEADERS: head, DATA: body}
    frames[kind] = b"\1" + frames[kind][1:]
    client.send(*frames.values())
    client.heard(0)
    assert client.goaway is E.FRAME_SIZE_ERROR
    assert client.heard(stream_id).status is None


@in_loop
async def test_a_head_that_is_cut_is_not_taken_for_one_that_is_shorter() -> None:
    client = known()
    longer = block() + encode(((b"grpc-timeout", b"1S"),))
    head = frame(HEADERS, END_HEADERS, 3, longer)
    client.send(head[: HEADER_BYTES + len(block())])
    assert not client.is_awaited(3)
    client.send(head[HEADER_BYTES + len(block()) :], data(3, prefixed(b"hey")))
    assert client.heard(3).messages == [b"hey"]


@pytest.mark.parametrize("cut", range(1, 30))
@in_loop
async def test_it_may_be_cut_anywhere(cut: int) -> None:
    client = known()
    request = client.open() + data(client.last_id, prefixed(b"hey"))
    client.send(request[:-cut])
    assert client.heard(client.last_id).status is None
    client.send(request[-cut:])
    assert client.heard(client.last_id).messages == [b"hey"]
    assert client.is_over


@pytest.mark.parametrize(("length", "fits"), [(7, False), (8, True), (9, False)])
@in_loop
async def test_a_body_is_as_long_as_it_was_said_to_be(length: int, fits: bool) -> None:
    client = Client()
    said = b"%d" % length
    client.send(client.open(content_length=said), data(client.last_id, prefixed(bytes(length - 5))))
    client.send(client.open(content_length=said), data(client.last_id, prefixed(b"hey")))
    heard = client.heard(client.last_id)
    assert (heard.status, heard.reset) == ((b"0", None) if fits else (None, E.PROTOCOL_ERROR))
    assert client.is_over


@pytest.mark.parametrize(
    ("stream_id", "code"),
    [(1, E.STREAM_CLOSED), (2, E.PROTOCOL_ERROR), (4, E.PROTOCOL_ERROR), (0, E.PROTOCOL_ERROR)],
)
@in_loop
async def test_a_stream_id_that_may_not_come_ends_the_connection(
    stream_id: int, code: ErrorCode
) -> None:
    client = known()
    assert client.last_id == 1
    client.send(headers(stream_id), data(stream_id, prefixed(b"hey")))
    client.heard(0)
    assert client.goaway is code


@in_loop
async def test_the_reserved_bit_of_a_stream_id_means_nothing() -> None:
    client = known()
    client.send(headers(1 << 31 | 3), data(1 << 31 | 3, prefixed(b"hey")))
    assert client.heard(3).messages == [b"hey"]
    client.last_id = 3
    client.know("Echo")


@pytest.mark.parametrize("reads", [1, 3])
@in_loop
async def test_behind_the_last_id_there_is_none(reads: int) -> None:
    """Two more, and it looks like the reserved bit and the first one."""
    client = known()
    ids = (WINDOW_MAX - 2, WINDOW_MAX, WINDOW_MAX + 2)
    requests = [headers(each) + data(each, prefixed(b"hey")) for each in ids]
    for each in requests if reads > 1 else (b"".join(requests),):
        client.send(each)
    assert client.heard(WINDOW_MAX).messages == [b"hey"]
    assert client.goaway is E.STREAM_CLOSED


@pytest.mark.parametrize("reads", [1, 2])
@in_loop
async def test_none_comes_within_the_head_of_another(reads: int) -> None:
    client = known()
    first = client.open() + data(client.last_id, prefixed(b"hey"))
    begun = headers(client.last_id + 2, flags=0)
    second = client.open() + data(client.last_id, prefixed(b"hey"))
    if reads == 1:
        client.send(first, begun, second)
    else:
        client.send(first, begun)
        client.send(second)
    assert client.heard(3).messages == [b"hey"]
    assert client.goaway is E.PROTOCOL_ERROR


@in_loop
async def test_a_head_that_changes_the_table_changes_it_each_time() -> None:
    client = known()
    indexed = b"\x40\x01x\x01y"
    for _ in range(2):
        client.last_id += 2
        head = frame(HEADERS, END_HEADERS, client.last_id, block() + indexed)
        client.send(head, data(client.last_id, prefixed(b"hey")))
    client.last_id += 2
    second_of_table = b"\xbf"
    head = frame(HEADERS, END_HEADERS, client.last_id, block() + second_of_table)
    client.send(head, data(client.last_id, prefixed(b"hey")))
    assert client.heard(client.last_id).messages == [b"hey"]


@in_loop
async def test_nothing_is_read_behind_the_last_of_a_connection_that_drains() -> None:
    client = known()
    client.send(client.open())
    client.connection.drain()
    client.send(data(client.last_id, prefixed(b"hey")), data(0, bytes(FRAME_BYTES_MAX + 1)))
    assert client.heard(client.last_id).messages == [b"hey"]
    assert client.goaway is E.NO_ERROR


@in_loop
async def test_a_call_that_fails_leaves_nothing_to_the_next() -> None:
    client = Client()
    know_late(client)
    client.send(client.open("Late"), data(client.last_id, prefixed(REFUSED)))
    assert client.heard(client.last_id).status == b"%d" % REFUSAL.code
    client.send(client.open("Late"), data(client.last_id, prefixed(b"hey")))
    client.methods.late.pop().reply(b"done")
    await asyncio.sleep(0)
    assert client.heard(client.last_id).messages == [b"done"]


@in_loop
async def test_none_comes_once_the_client_was_told_so() -> None:
    client = known()
    client.send(client.open("Late"), data(client.last_id, prefixed(b"hey")))
    late_id = client.last_id
    client.connection.drain()
    client.send(client.open(), data(client.last_id, prefixed(b"hey")))
    assert not client.heard(client.last_id).fields
    assert client.goaway_last_id == late_id


@in_loop
async def test_they_are_refused_if_too_many_wait() -> None:
    client = Client(streams_max=2)
    client.know("Echo")
    client.send(*(client.open("Late") + data(client.last_id, prefixed(b"")) for _ in range(2)))
    client.send(client.open(), data(client.last_id, prefixed(b"hey")))
    assert client.heard(client.last_id).reset is E.REFUSED_STREAM
    client.methods.late[0].reply(b"")
    client.send(client.open(), data(client.last_id, prefixed(b"hey")))
    assert client.heard(client.last_id).messages == [b"hey"]


@in_loop
async def test_those_that_wait_are_counted_within_a_read() -> None:
    client = Client(streams_max=2)
    client.know("Echo")
    know_late(client)
    names = ("Late", "Echo", "Late", "Echo", "Late")
    client.send(*(client.open(name) + data(client.last_id, prefixed(b"")) for name in names * 2))
    resets = [client.heard(each).reset for each in range(5, client.last_id + 1, 2)]
    refused = E.REFUSED_STREAM
    assert resets[:5] == [None, None, None, refused, refused]
    assert resets[5:] == [refused] * 5
    assert len(client.connection) == 2
