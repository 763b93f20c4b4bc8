"""Requests whose head and what follows it come in one read: the same as if they came one by one."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from server.transport.frames import (
    DATA,
    END_STREAM,
    FRAME_BYTES_MAX,
    RST_STREAM,
    ErrorCode,
    frame,
)
from tests.server.transport.native import Client
from tests.server.transport.support import data, headers, prefixed
from tests.server.transport.test_awaited import NO_MESSAGE, PIECES, WRONG
from tests.support.loop import in_loop

E = ErrorCode


def known(name: str = "Echo") -> Client:
    """A client whose head is known, so that the next request may be served in one step."""
    client = Client()
    client.know(name)
    return client


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
