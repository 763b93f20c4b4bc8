"""Requests of which only the head has come: whatever comes next, they are requests like others."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from server.status import SERVER_STOPPED
from server.transport.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PRIORITY,
    SETTINGS,
    WINDOW_MAX,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from server.transport.hpack import encode
from tests.server.transport.native import Client
from tests.server.transport.support import data, headers, prefixed
from tests.support.loop import in_loop

E = ErrorCode
TRAILERS: Final = encode(((b"x-checksum", b"1"),))


def awaiting(name: str = "Echo", **options: Any) -> tuple[Client, int]:
    """A client, one of whose requests is awaited; and which."""
    client = Client(**options)
    client.know(name)
    client.send(client.open(name))
    assert client.is_awaited(client.last_id)
    return client, client.last_id


@in_loop
async def test_heads_come_first_and_bodies_in_any_order() -> None:
    client = Client()
    client.know("Echo")
    client.know("Talk")
    heads = [client.open(name) for name in ("Echo", "Talk") * 20]
    ids = list(range(client.last_id - 2 * len(heads) + 2, client.last_id + 1, 2))
    client.send(*heads)
    assert len(client.connection) == 40
    random.Random(7).shuffle(ids)
    for number, stream_id in enumerate(ids):
        client.send(data(stream_id, prefixed(b"%d" % number)))
        heard = client.heard(stream_id)
        assert (heard.status, heard.is_ended) == (b"0", True)
        assert heard.messages in ([b"%d" % number], [b"%d" % number * 2])
    assert client.is_over


@in_loop
async def test_a_call_that_is_answered_while_it_is_served_is_over_then() -> None:
    client, _ = awaiting("Now")
    client.send(data(client.last_id, prefixed(b"hey")))
    assert client.heard(client.last_id).messages == [b"hey"]
    assert client.is_over


# What a client may send for such a request, and what becomes of it.
PIECES: dict[str, Callable[[int], list[bytes]]] = {
    "in pieces": lambda i: [data(i, prefixed(b"hey")[:4], flags=0), data(i, b"\3hey")],
    "an empty end": lambda i: [data(i, prefixed(b"hey"), flags=0), data(i, b"")],
    "nothing first": lambda i: [data(i, b"", flags=0), data(i, prefixed(b"hey"))],
    "padded": lambda i: [data(i, b"\2" + prefixed(b"hey") + b"..", flags=PADDED | END_STREAM)],
    "a priority": lambda i: [frame(PRIORITY, 0, i, bytes(5)), data(i, prefixed(b"hey"))],
    "an unknown frame": lambda i: [frame(0xBE, 0, i, b"?"), data(i, prefixed(b"hey"))],
    "a window": lambda i: [window_update(i, 1000), data(i, prefixed(b"hey"))],
    "another window for all": lambda _: [settings((4, 10)), settings((4, 1 << 20))],
    "trailers": lambda i: [
        data(i, prefixed(b"hey"), flags=0),
        frame(HEADERS, END_HEADERS | END_STREAM, i, TRAILERS),
    ],
}


@pytest.mark.parametrize("name", ["Echo", "Talk"])
@pytest.mark.parametrize("kind", PIECES)
@in_loop
async def test_a_body_may_come_in_any_way_that_is_allowed(name: str, kind: str) -> None:
    client, stream_id = awaiting(name)
    for piece in PIECES[kind](stream_id):
        client.send(piece)
    if "all" in kind:
        assert client.is_awaited(stream_id)
        client.send(data(stream_id, prefixed(b"hey")))
    await asyncio.sleep(0)
    heard = client.heard(stream_id)
    assert (heard.status, heard.is_ended, heard.reset) == (b"0", True, None)
    assert heard.messages == [b"hey" * (2 if name == "Talk" else 1)]
    assert client.is_over


NO_MESSAGE: dict[str, Callable[[int], bytes]] = {
    "an empty body": lambda i: data(i, b""),
    "a piece of a prefix": lambda i: data(i, b"\0\0"),
    "less than it says": lambda i: data(i, b"\0\0\0\0\2a"),
    "more than it says": lambda i: data(i, b"\0\0\0\0\2abc"),
    "trailers alone": lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, TRAILERS),
}


@pytest.mark.parametrize("kind", NO_MESSAGE)
@in_loop
async def test_a_unary_request_that_is_not_one_message_is_refused(kind: str) -> None:
    client, stream_id = awaiting()
    client.send(NO_MESSAGE[kind](stream_id))
    heard = client.heard(stream_id)
    assert (heard.status, heard.is_ended, heard.body) == (b"13", True, b"")
    assert client.is_over


@pytest.mark.parametrize(("name", "code"), [("Echo", b"13"), ("Talk", b"0")])
@in_loop
async def test_a_request_that_ends_with_its_head_waits_for_nothing(name: str, code: bytes) -> None:
    client = Client()
    client.know(name)
    client.last_id += 2
    end = END_HEADERS | END_STREAM
    client.send(headers(client.last_id, flags=end, _path=f"/f.S/{name}".encode()))
    heard = client.heard(client.last_id)
    assert (heard.status, heard.is_ended, heard.body) == (code, True, b"")
    assert client.is_over


WRONG: dict[str, tuple[ErrorCode, Callable[[int], bytes]]] = {
    "no window at all": (E.PROTOCOL_ERROR, lambda i: window_update(i, 0)),
    "a window too large": (E.FLOW_CONTROL_ERROR, lambda i: window_update(i, WINDOW_MAX)),
    "a priority of a wrong size": (E.FRAME_SIZE_ERROR, lambda i: frame(PRIORITY, 0, i, bytes(4))),
    "a priority over itself": (
        E.PROTOCOL_ERROR,
        lambda i: frame(PRIORITY, 0, i, i.to_bytes(4, "big") + b"\0"),
    ),
    "a second head": (E.PROTOCOL_ERROR, lambda i: headers(i)),
    "trailers that are none": (
        E.PROTOCOL_ERROR,
        lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, encode(((b":path", b"/"),))),
    ),
}


@pytest.mark.parametrize("name", ["Echo", "Talk"])
@pytest.mark.parametrize("kind", WRONG)
@in_loop
async def test_what_is_wrong_with_it_ends_it_alone(name: str, kind: str) -> None:
    client, stream_id = awaiting(name)
    code, wrong = WRONG[kind]
    client.send(wrong(stream_id))
    assert client.heard(stream_id).reset is code
    assert client.is_over
    client.send(data(stream_id, prefixed(b"late")))  # It was on its way.
    client.know("Echo")
    assert client.goaway is None
    assert client.counts.active == 0


@in_loop
async def test_a_client_that_leaves_it_leaves_nothing() -> None:
    client, stream_id = awaiting("Talk")
    client.send(rst_stream(stream_id, E.CANCEL))
    assert client.is_over
    counts = client.counts
    assert (counts.started, counts.ok, sum(counts.failed)) == (2, 1, 1)


@pytest.mark.parametrize(("length", "fits"), [(7, False), (8, True), (9, False)])
@in_loop
async def test_a_body_is_as_long_as_it_was_said_to_be(length: int, fits: bool) -> None:
    client = Client()
    said: dict[str, Any] = {"content_length": b"%d" % length}
    client.send(client.open(**said), data(client.last_id, prefixed(bytes(length - 5))))
    client.send(client.open(**said))
    assert client.is_awaited(client.last_id)
    client.send(data(client.last_id, prefixed(b"hey")))
    heard = client.heard(client.last_id)
    assert (heard.status, heard.reset) == ((b"0", None) if fits else (None, E.PROTOCOL_ERROR))
    assert client.is_over
    assert not client.connection._bodies


@in_loop
async def test_a_length_counts_over_the_pieces_too() -> None:
    client = Client()
    said: dict[str, Any] = {"content_length": b"8"}
    client.send(client.open(**said), data(client.last_id, prefixed(b"hey")))
    client.send(client.open(**said), data(client.last_id, prefixed(b"hey"), flags=0))
    client.send(data(client.last_id, b"!"))
    assert client.heard(client.last_id).reset is E.PROTOCOL_ERROR


@in_loop
async def test_they_count_among_the_streams_that_a_client_may_have_and_keep_nothing_else() -> None:
    client = Client(streams_max=3)
    client.know("Echo")
    first = client.last_id + 2
    client.send(*[client.open() for _ in range(50)])
    assert len(client.connection) == 3
    for each in range(first + 6, client.last_id + 1, 2):
        assert client.heard(each).reset is E.REFUSED_STREAM
    assert client.connection.held_bytes == client.connection.backlog_bytes == 0
    client.send(data(first + 2, prefixed(b"hey")))
    assert client.heard(first + 2).messages == [b"hey"]
    client.send(client.open())
    assert client.is_awaited(client.last_id)


@in_loop
async def test_the_window_that_counts_is_that_of_the_moment_it_answers() -> None:
    client, stream_id = awaiting()
    client.send(settings((4, 3)), data(stream_id, prefixed(b"hey")))
    assert client.heard(stream_id).body == prefixed(b"hey")[:3]
    assert len(client.connection) == 1
    client.send(settings((4, 100)))
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([b"hey"], b"0")
    assert client.is_over


@in_loop
async def test_a_large_answer_waits_for_the_windows_and_the_rest_goes_on() -> None:
    client, stream_id = awaiting("Large")
    client.send(data(stream_id, prefixed(b"100000")))
    taken = 65_535 - 6  # The first answer's bytes are gone from the window.
    assert len(client.heard(stream_id).body) == taken
    assert client.connection.backlog_bytes == 100_005 - taken
    client.send(window_update(stream_id, 100_000), window_update(0, 100_000))
    heard = client.heard(stream_id)
    assert (heard.messages, heard.status) == ([bytes(100_000)], b"0")
    assert client.is_over
    assert client.connection.backlog_bytes == 0


@in_loop
async def test_a_table_that_must_shrink_is_shrunk_before_the_first_answer() -> None:
    client, first = awaiting("Talk")
    client.know("Echo")
    client.send(client.open())
    second = client.last_id
    for stream_id in (first, second):
        client.send(settings((1, 0)), data(stream_id, prefixed(b"hey")))
        assert client.heard(stream_id).status == b"0"
        assert not client.connection.must_shrink
    assert client.is_over


@in_loop
async def test_an_answer_that_comes_later_finds_its_stream() -> None:
    client = Client()
    for _ in range(2):
        client.send(client.open("Late"), data(client.last_id, prefixed(b"1")))
    assert len(client.connection) == 2
    while client.methods.late:
        client.methods.late.pop().reply(b"done")
        await asyncio.sleep(0)
    for stream_id in (1, 3):
        heard = client.heard(stream_id)
        assert (heard.messages, heard.is_ended, heard.reset) == ([b"done"], True, None)
    assert client.is_over


# --- the end of the connection, and of the server ---


@pytest.mark.parametrize("last", ["Echo", "Late", "Talk"])
@in_loop
async def test_a_connection_that_drains_dies_with_the_last_that_was_awaited(last: str) -> None:
    client = Client()
    client.send(client.open("Late"), data(client.last_id, prefixed(b"1")))
    client.methods.late.pop().reply(b"known")
    await asyncio.sleep(0)
    for name in ("Echo", "Talk"):
        client.know(name)
    client.send(client.open("Talk"), client.open(last))
    talk, other = client.last_id - 2, client.last_id
    client.connection.drain()
    client.send(client.open())  # Behind the GOAWAY: not served.
    assert not client.connection.is_dead
    client.send(data(client.last_id, prefixed(b"unheard")))
    client.send(data(talk, prefixed(b"hey")))
    assert client.heard(talk).messages == [b"heyhey"]
    assert not client.connection.is_dead
    client.send(data(other, prefixed(b"hey")))
    if last == "Late":
        assert not client.connection.is_dead
        client.methods.late.pop().reply(b"hey")
        await asyncio.sleep(0)
    heard = client.heard(other)
    assert (heard.messages, heard.status) == ([b"hey" * (1 + (last == "Talk"))], b"0")
    assert client.connection.is_dead
    assert client.socket.is_left
    assert client.goaway is E.NO_ERROR
    assert client.goaway_last_id == other, "the last that was begun"
    assert client.heard(client.last_id).status is None


@pytest.mark.parametrize("name", ["Echo", "Talk"])
@pytest.mark.parametrize("is_drained", [False, True])
@in_loop
async def test_a_server_that_stops_refuses_them_however_their_body_comes(
    name: str, is_drained: bool
) -> None:
    client, first = awaiting(name)
    client.send(client.open(name))
    second = client.last_id
    client.server.host.is_stopping = True
    if is_drained:
        client.connection.drain()
    client.send(data(first, prefixed(b"hey")))
    client.send(data(second, prefixed(b"hey")[:4], flags=0), data(second, b"\3hey"))
    for stream_id in (first, second):
        heard = client.heard(stream_id)
        assert heard.status == b"%d" % SERVER_STOPPED.code
        assert heard.fields[b"grpc-message"] == SERVER_STOPPED.message.encode()
        assert heard.body == b""
    assert client.heard(first).reset is None, "it was whole"
    assert client.heard(second).reset is E.NO_ERROR
    assert client.is_over
    assert client.connection.is_dead == is_drained
    assert client.counts.started == client.counts.ok


@in_loop
async def test_a_connection_that_is_lost_forgets_them() -> None:
    client, _ = awaiting("Talk")
    client.protocol.connection_lost(None)
    assert client.is_over
    assert client.counts.active == 0


@in_loop
async def test_a_violation_of_the_connection_ends_them_with_it() -> None:
    client, stream_id = awaiting()
    client.send(frame(SETTINGS, ACK, stream_id), data(stream_id, prefixed(b"hey")))
    assert client.heard(stream_id).status is None
    assert client.goaway is E.PROTOCOL_ERROR
    assert client.is_over


# --- every order ---


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
@in_loop
async def test_a_head_by_itself_and_one_in_pieces_and_a_whole_one_disturb_nobody(
    order: tuple[int, ...],
) -> None:
    client = Client()
    client.know("Echo")
    client.send(client.open(), client.open(), client.open())
    third, second, first = client.last_id, client.last_id - 2, client.last_id - 4
    acts = [
        [data(first, prefixed(b"one"))],
        [data(second, prefixed(b"two")[:6], flags=0), data(second, b"wo")],
        [window_update(third, 5), data(third, prefixed(b"three"))],
    ]
    for number in order:
        client.send(*acts[number])
    said = [client.heard(each).messages for each in (first, second, third)]
    assert said == [[b"one"], [b"two"], [b"three"]]
    assert client.is_over
