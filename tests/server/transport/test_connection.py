"""The rules of RFC 9113 that a server checks, one by one: bytes in, bytes out."""

from __future__ import annotations

import pytest
from hyperframe.frame import GoAwayFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from server.transport.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_MAX,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from server.transport.hpack import encode
from tests.server.transport.support import (
    Peer,
    block,
    call,
    data,
    end_of_connection,
    headers,
    parsed,
    prefixed,
    resets,
)

E = ErrorCode


def test_the_first_frame_is_settings_and_theirs_is_acknowledged() -> None:
    """RFC 9113 section 3.4."""
    peer = Peer(opening=b"")
    assert peer.send(PREFACE[:10]) == []
    acknowledged, *rest = peer.send(PREFACE[10:], frame(SETTINGS, 0, 0))
    assert isinstance(acknowledged, SettingsFrame)
    assert (set(acknowledged.flags), rest) == ({"ACK"}, [])


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PRI * HTTP/2.1"])
def test_what_is_no_preface_ends_the_connection(opening: bytes) -> None:
    """RFC 9113 section 3.4."""
    assert end_of_connection(Peer(opening=b"").send(opening)) == E.PROTOCOL_ERROR


def test_frames_are_read_however_the_bytes_are_cut() -> None:
    whole, cut = Peer(), Peer()
    request = call(1) + call(3, b"other")
    for at in range(len(request)):
        cut.connection.receive(request[at : at + 1])
    assert [each.serialize() for each in cut.read()] == [
        each.serialize() for each in whole.send(request)
    ]


VIOLATIONS: dict[str, tuple[ErrorCode, bytes]] = {
    "4.2 a frame too large": (E.FRAME_SIZE_ERROR, frame(DATA, 0, 1, bytes(16_385))),
    "4.3 a block that cannot be decoded": (
        E.COMPRESSION_ERROR,
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x80"),
    ),
    "5.1 DATA on an idle stream": (E.PROTOCOL_ERROR, data(1, b"")),
    "5.1 RST_STREAM on an idle stream": (E.PROTOCOL_ERROR, rst_stream(1, E.CANCEL)),
    "5.1 WINDOW_UPDATE on an idle stream": (E.PROTOCOL_ERROR, window_update(1, 1)),
    "5.1 CONTINUATION on an idle stream": (E.PROTOCOL_ERROR, frame(CONTINUATION, 4, 1)),
    "5.1 HEADERS on a stream that is over": (E.STREAM_CLOSED, call(1) + headers(1)),
    "5.1.1 an even stream id": (E.PROTOCOL_ERROR, headers(2)),
    "5.1.1 a smaller stream id": (E.PROTOCOL_ERROR, call(5) + headers(3)),
    "6.1 DATA of no stream": (E.PROTOCOL_ERROR, data(0, b"")),
    "6.1 more padding than DATA": (
        E.PROTOCOL_ERROR,
        headers(1) + data(1, b"\x02x", flags=PADDED),
    ),
    "6.1 padding without its length": (E.FRAME_SIZE_ERROR, headers(1) + data(1, b"", flags=PADDED)),
    "6.2 HEADERS of no stream": (E.PROTOCOL_ERROR, headers(0)),
    "6.2 more padding than HEADERS": (
        E.PROTOCOL_ERROR,
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\x40" + block()[:20]),
    ),
    "6.2 HEADERS shorter than their priority": (
        E.FRAME_SIZE_ERROR,
        frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"1234"),
    ),
    "6.2 another frame within a block": (
        E.PROTOCOL_ERROR,
        headers(1, flags=0) + frame(PING, 0, 0, bytes(8)),
    ),
    "6.2 another stream's block within a block": (
        E.PROTOCOL_ERROR,
        headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 3),
    ),
    "6.3 PRIORITY of no stream": (E.PROTOCOL_ERROR, frame(PRIORITY, 0, 0, bytes(5))),
    "6.3 PRIORITY of a wrong size on an idle stream": (
        E.FRAME_SIZE_ERROR,
        frame(PRIORITY, 0, 7, bytes(4)),
    ),
    "6.4 RST_STREAM of no stream": (E.PROTOCOL_ERROR, rst_stream(0, E.CANCEL)),
    "6.4 RST_STREAM of a wrong size": (
        E.FRAME_SIZE_ERROR,
        headers(1) + frame(RST_STREAM, 0, 1, bytes(3)),
    ),
    "6.5 SETTINGS of a stream": (E.PROTOCOL_ERROR, frame(SETTINGS, 0, 1)),
    "6.5 SETTINGS of a wrong size": (E.FRAME_SIZE_ERROR, frame(SETTINGS, 0, 0, bytes(5))),
    "6.5 an acknowledgement that says more": (
        E.FRAME_SIZE_ERROR,
        frame(SETTINGS, ACK, 0, bytes(6)),
    ),
    "6.5.2 push is neither on nor off": (E.PROTOCOL_ERROR, settings((2, 2))),
    "6.5.2 a window too large": (E.FLOW_CONTROL_ERROR, settings((4, WINDOW_MAX + 1))),
    "6.5.2 a frame size too small": (E.PROTOCOL_ERROR, settings((5, 16_383))),
    "6.5.2 a frame size too large": (E.PROTOCOL_ERROR, settings((5, 1 << 24))),
    "6.6 a client that pushes": (E.PROTOCOL_ERROR, frame(PUSH_PROMISE, 4, 1, bytes(4))),
    "6.7 PING of a stream": (E.PROTOCOL_ERROR, frame(PING, 0, 1, bytes(8))),
    "6.7 PING of a wrong size": (E.FRAME_SIZE_ERROR, frame(PING, 0, 0, bytes(7))),
    "6.8 GOAWAY of a stream": (E.PROTOCOL_ERROR, frame(GOAWAY, 0, 1, bytes(8))),
    "6.9 WINDOW_UPDATE of a wrong size": (E.FRAME_SIZE_ERROR, frame(WINDOW_UPDATE, 0, 0, bytes(3))),
    "6.9 the connection's window grows by nothing": (E.PROTOCOL_ERROR, window_update(0, 0)),
    "6.9.1 the connection's window too large": (
        E.FLOW_CONTROL_ERROR,
        window_update(0, WINDOW_MAX - 65_534),
    ),
    "6.9.2 a setting makes a stream's window too large": (
        E.FLOW_CONTROL_ERROR,
        headers(1) + window_update(1, 1) + settings((4, WINDOW_MAX)),
    ),
}


@pytest.mark.parametrize("rule", VIOLATIONS)
def test_a_violation_of_the_connection_ends_it(rule: str) -> None:
    """The sections of RFC 9113 stand in the names; section 5.4.1 for the ending."""
    code, violation = VIOLATIONS[rule]
    peer = Peer()
    assert end_of_connection(peer.send(violation)) == code
    assert peer.connection.is_dead
    assert len(peer.connection) == 0
    assert peer.send(call(101)) == []


STREAM_VIOLATIONS: dict[str, tuple[ErrorCode, bytes]] = {
    "5.1 DATA behind the end": (E.STREAM_CLOSED, call(1, method=b"Late") + data(1, b"")),
    "5.1 HEADERS behind the end": (
        E.STREAM_CLOSED,
        call(1, method=b"Late") + headers(1, flags=END_HEADERS | END_STREAM),
    ),
    "5.1 DATA behind RST_STREAM": (
        E.STREAM_CLOSED,
        headers(1) + rst_stream(1, E.CANCEL) + data(1, b""),
    ),
    "5.3.1 HEADERS that depend on themselves": (
        E.PROTOCOL_ERROR,
        frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"\0\0\0\1\0" + block()),
    ),
    "5.3.1 PRIORITY that depends on itself": (
        E.PROTOCOL_ERROR,
        headers(1) + frame(PRIORITY, 0, 1, b"\0\0\0\1\0"),
    ),
    "6.3 PRIORITY of a wrong size": (
        E.FRAME_SIZE_ERROR,
        headers(1) + frame(PRIORITY, 0, 1, bytes(6)),
    ),
    "6.9 a window that grows by nothing": (E.PROTOCOL_ERROR, headers(1) + window_update(1, 0)),
    "6.9.1 a window too large": (
        E.FLOW_CONTROL_ERROR,
        headers(1) + window_update(1, WINDOW_MAX - 65_534),
    ),
    "8.1 trailers that do not end the stream": (E.PROTOCOL_ERROR, headers(1) + headers(1)),
    "8.1 a pseudo-header among trailers": (
        E.PROTOCOL_ERROR,
        headers(1) + headers(1, flags=END_HEADERS | END_STREAM),
    ),
    "8.1.1 less DATA than was told": (
        E.PROTOCOL_ERROR,
        headers(1, content_length=b"2") + data(1, b"x"),
    ),
    "8.1.1 more DATA than was told": (
        E.PROTOCOL_ERROR,
        headers(1, content_length=b"2") + data(1, b"xyz", flags=0),
    ),
    "8.1.1 no DATA where some was told": (
        E.PROTOCOL_ERROR,
        headers(1, flags=END_HEADERS | END_STREAM, content_length=b"2"),
    ),
    "8.1.1 trailers before all of the DATA that was told": (
        E.PROTOCOL_ERROR,
        headers(1, content_length=b"2")
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, encode(((b"a", b"b"),))),
    ),
    "8.2.1 a name in upper case": (
        E.PROTOCOL_ERROR,
        frame(HEADERS, END_HEADERS, 1, block() + encode(((b"A", b""),))),
    ),
    "8.2.2 a header of the connection": (E.PROTOCOL_ERROR, headers(1, connection=b"close")),
    "8.3.1 no path": (E.PROTOCOL_ERROR, headers(1, _path=None)),
}


@pytest.mark.parametrize("rule", STREAM_VIOLATIONS)
def test_a_violation_of_a_stream_ends_that_stream_alone(rule: str) -> None:
    """The sections of RFC 9113 stand in the names; section 5.4.2 for the ending."""
    code, violation = STREAM_VIOLATIONS[rule]
    peer = Peer()
    assert resets(peer.send(violation)) == [(1, code)]
    assert len(peer.connection) == 0
    assert peer.works(3)


HARMLESS: dict[str, bytes] = {
    "4.1 an unknown frame": frame(0xBE, 0xFF, 0, b"?"),
    "4.1 an undefined flag": frame(PING, 0xFE, 0, bytes(8)),
    "4.1 the reserved bit": frame(PING, 0, 1 << 31, bytes(8)),
    "5.1 PRIORITY on an idle stream": frame(PRIORITY, 0, 9, bytes(5)),
    "5.1 WINDOW_UPDATE and RST_STREAM on a stream that is over": call(1)
    + window_update(1, 1)
    + rst_stream(1, E.CANCEL),
    "6.5.2 an unknown setting": settings((0xBEEF, 1)),
    "6.5.2 the smallest and the largest values": settings(
        (5, 16_384), (5, (1 << 24) - 1), (4, WINDOW_MAX), (4, 65_535), (2, 0)
    ),
    "6.8 GOAWAY": frame(GOAWAY, 0, 0, bytes(8) + b"bye"),
    "6.9.1 the largest window": window_update(0, WINDOW_MAX - 65_535),
    "8.1 trailers": headers(1)
    + data(1, prefixed(b"x"), flags=0)
    + frame(HEADERS, END_HEADERS | END_STREAM, 1, encode(((b"a", b"b"),))),
    "8.1.1 as much DATA as was told": headers(1, content_length=b"6") + data(1, prefixed(b"x")),
}


@pytest.mark.parametrize("rule", HARMLESS)
def test_what_is_allowed_harms_nobody(rule: str) -> None:
    peer = Peer()
    received = peer.send(HARMLESS[rule])
    assert not resets(received)
    assert end_of_connection(received) is None
    assert peer.works(11)


def test_a_ping_is_answered_with_its_payload_and_an_answer_is_not() -> None:
    """RFC 9113 section 6.7."""
    peer = Peer()
    (answer,) = peer.send(frame(PING, 0, 0, b"12345678"), frame(PING, ACK, 0, b"87654321"))
    assert isinstance(answer, PingFrame)
    assert (set(answer.flags), answer.opaque_data) == ({"ACK"}, b"12345678")


def test_a_block_may_be_spread_over_continuations_and_padded() -> None:
    """RFC 9113 sections 6.2 and 6.10."""
    peer = Peer()
    whole = block()
    start = frame(HEADERS, PADDED, 1, b"\3" + whole[:10] + bytes(3))
    pieces = frame(CONTINUATION, 0, 1, whole[10:20]) + frame(
        CONTINUATION, END_HEADERS, 1, whole[20:]
    )
    received = peer.send(start, pieces, data(1, prefixed(b"x")))
    assert peer.answer(received, 1)[1] == prefixed(b"x")


def test_one_stream_more_than_allowed_is_refused_and_may_be_tried_again() -> None:
    """RFC 9113 section 5.1.2."""
    peer = Peer(streams_max=2)
    received = peer.send(call(1, method=b"Late"), call(3, method=b"Late"), call(5))
    assert resets(received) == [(5, E.REFUSED_STREAM)]
    peer.late[0].reply(b"")
    assert peer.works(7)


def test_a_smaller_table_is_obeyed_in_the_next_block() -> None:
    """RFC 7541 section 4.2: the client's decoder insists on it."""
    peer = Peer()
    first, *_ = [each for each in peer.send(settings((1, 0)), call(1)) if each.type == HEADERS]
    assert first.data[:1] == b"\x20"
    assert all(each.data[:1] != b"\x20" for each in peer.send(call(3)) if each.type == HEADERS)


def test_frames_of_a_stream_that_we_reset_are_ignored_for_they_were_on_their_way() -> None:
    """RFC 9113 section 5.1, "closed"."""
    peer = Peer()
    assert resets(peer.send(headers(1, te=b"gzip"))) == [(1, E.PROTOCOL_ERROR)]
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, encode(((b"a", b"b"),)))
    assert peer.send(data(1, b"x", flags=0), trailers) == []
    assert peer.works(3)


def test_the_connections_window_is_given_back_whatever_becomes_of_the_stream() -> None:
    """RFC 9113 section 6.9: DATA of closed streams counts."""
    peer = Peer()
    peer.send(headers(1, te=b"gzip"))
    received = [peer.send(data(1, bytes(16_384), flags=0)) for _ in range(512)]
    (update,) = [each for some in received for each in some]
    assert isinstance(update, WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (0, 512 * 16_384)


def test_draining_finishes_what_was_begun_and_ignores_what_comes_after() -> None:
    """RFC 9113 section 6.8: requests on their way are neither served nor an error."""
    peer = Peer()
    peer.send(call(1, method=b"Late"))
    peer.connection.drain()
    (told,) = peer.read()
    assert isinstance(told, GoAwayFrame)
    assert (told.last_stream_id, told.error_code) == (1, E.NO_ERROR)
    assert peer.send(call(3), call(5), rst_stream(5, E.CANCEL), window_update(3, 1)) == []
    assert not peer.connection.is_dead
    peer.late[0].reply(b"done")
    assert peer.answer(peer.read(), 1)[1] == prefixed(b"done")
    assert peer.connection.is_dead
    assert len(peer.seen) == 1


def test_a_violation_while_draining_still_names_the_last_stream_that_was_served() -> None:
    """RFC 9113 section 6.8: what is above it the client may send elsewhere."""
    peer = Peer()
    peer.send(call(1, method=b"Late"))
    peer.connection.drain()
    (_, told) = [*peer.read(), *peer.send(call(3), frame(PING, 0, 0, b"short"))]
    assert isinstance(told, GoAwayFrame)
    assert (told.last_stream_id, told.error_code) == (1, E.FRAME_SIZE_ERROR)


def test_a_second_head_is_an_error_even_behind_a_complete_answer() -> None:
    """RFC 9113 section 8.1: it could not have been right before the client knew, either."""
    peer = Peer()
    assert resets(peer.send(headers(1, _path=b"/f.S/None"))) == [(1, E.NO_ERROR)]
    assert resets(peer.send(headers(1))) == [(1, E.PROTOCOL_ERROR)]


def test_a_block_seen_before_means_the_same_until_the_table_changes() -> None:
    """The cache of heads: an indexed block changes its meaning with every insertion."""
    peer = Peer()
    first = encode(((b":path", b"/f.S/Echo"),)).replace(b"\0", b"\x40", 1)
    rest = block(_path=None)
    again = b"\xbe" + rest
    peer.send(frame(HEADERS, END_HEADERS, 1, first + rest), data(1, prefixed(b"1")))
    for stream_id in (3, 5):
        peer.send(frame(HEADERS, END_HEADERS, stream_id, again), data(stream_id, prefixed(b"2")))
    assert peer.seen == [b"1", b"2", b"2"]
    other = encode(((b":path", b"/f.S/Nope"),)).replace(b"\0", b"\x40", 1)
    peer.send(frame(HEADERS, END_HEADERS, 7, other + rest), data(7, prefixed(b"3")))
    received = peer.send(frame(HEADERS, END_HEADERS, 9, again), data(9, prefixed(b"4")))
    assert peer.seen == [b"1", b"2", b"2"]
    assert parsed(b"".join(each.serialize() for each in received))
