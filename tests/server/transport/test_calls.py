"""gRPC calls on the core: messages however cut, windows, deadlines, and every early end."""

from __future__ import annotations

import gzip

import pytest

from server import status
from server.status import Code, RpcError
from server.transport.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    PADDED,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from server.transport.host import UNTAKEN_S
from tests.server.transport.support import (
    LIMIT_BYTES,
    REFUSAL,
    Peer,
    call,
    data,
    headers,
    prefixed,
    resets,
)

OK = b"0"


def test_a_message_may_be_cut_anywhere_and_padded() -> None:
    message = prefixed(b"hello")
    for at in range(len(message) + 1):
        peer = Peer()
        first = frame(DATA, PADDED, 1, b"\4" + message[:at] + bytes(4))
        fields, body = peer.answer(peer.send(headers(1), first, data(1, message[at:])), 1)
        assert (fields[b"grpc-status"], body) == (OK, message)
        assert peer.connection.held_bytes == 0


@pytest.mark.parametrize("body", [b"", b"\0\0\0", prefixed(b"ab")[:-1], prefixed(b"a") * 2])
def test_a_unary_request_is_exactly_one_message(body: bytes) -> None:
    peer = Peer()
    fields, _ = peer.answer(peer.send(headers(1), data(1, body)), 1)
    assert fields[b"grpc-status"] == b"%d" % status.NO_MESSAGE.code
    assert peer.seen == []


def test_a_request_that_ends_with_its_headers_has_no_message() -> None:
    peer = Peer()
    received = peer.send(headers(1, flags=END_HEADERS | END_STREAM))
    assert peer.answer(received, 1)[0][b"grpc-status"] == b"%d" % status.NO_MESSAGE.code


def test_a_refusal_is_one_block_and_its_text_is_percent_encoded() -> None:
    peer = Peer()
    (answer,) = peer.send(call(1, b"fail"))
    fields = peer.fields(answer)
    assert "END_STREAM" in answer.flags
    assert fields[b":status"] == b"200"
    assert fields[b"grpc-status"] == b"%d" % REFUSAL.code
    assert fields[b"grpc-message"] == b"no: 100%25 sure %E2%98%83"


def test_a_call_refused_early_tells_the_client_to_send_no_more() -> None:
    """RFC 9113 section 8.1: NO_ERROR behind a complete answer; what is on its way is ignored."""
    peer = Peer()
    received = peer.send(headers(1, _path=b"/f.S/None"))
    assert peer.answer(received, 1)[0][b"grpc-status"] == b"%d" % REFUSAL.code
    assert resets(received) == [(1, ErrorCode.NO_ERROR)]
    assert peer.send(data(1, b"late")) == []
    (answer,) = peer.send(call(3, method=b"None"))[:1]
    assert "END_STREAM" in answer.flags


def test_a_message_of_the_limit_passes_and_one_byte_more_is_refused_by_its_prefix() -> None:
    peer = Peer()
    message = prefixed(bytes(LIMIT_BYTES))
    pieces = [message[at : at + 16_384] for at in range(0, len(message), 16_384)]
    peer.send(headers(1), *[data(1, piece, flags=0) for piece in pieces], data(1, b""))
    assert [len(each) for each in peer.seen] == [LIMIT_BYTES]
    assert peer.connection.held_bytes == 0
    received = peer.send(headers(3), data(3, (LIMIT_BYTES + 1).to_bytes(5, "big"), flags=0))
    expected = status.message_too_large(LIMIT_BYTES + 1, LIMIT_BYTES)
    assert peer.answer(received, 3)[0][b"grpc-message"] == expected.message.encode()


def test_a_compressed_message_is_read() -> None:
    peer = Peer()
    zipped = prefixed(gzip.compress(b"hello"), is_compressed=True)
    peer.send(headers(1, grpc_encoding=b"gzip"), data(1, zipped))
    assert peer.seen == [b"hello"]


@pytest.mark.parametrize(
    ("encoding", "payload", "code"),
    [
        (b"gzip", gzip.compress(bytes(LIMIT_BYTES + 1), mtime=0), Code.RESOURCE_EXHAUSTED),
        (b"gzip", gzip.compress(b"hello", mtime=0)[:-9], Code.INTERNAL),
        (b"gzip", gzip.compress(b"hello", mtime=0) + b"x", Code.INTERNAL),
        (b"gzip", b"no gzip", Code.INTERNAL),
        (b"snappy", b"x", Code.UNIMPLEMENTED),
        (None, b"x", Code.INTERNAL),
    ],
)
def test_what_cannot_be_decompressed_is_refused(
    encoding: bytes | None, payload: bytes, code: Code
) -> None:
    peer = Peer()
    body = data(1, prefixed(payload, is_compressed=True))
    fields, _ = peer.answer(peer.send(headers(1, grpc_encoding=encoding), body), 1)
    assert fields[b"grpc-status"] == b"%d" % code
    assert peer.seen == []


def test_an_answer_goes_out_as_the_windows_open_and_whole() -> None:
    """RFC 9113 sections 6.9.1 and 6.9.2: a window may be negative, and then grow again."""
    peer = Peer()
    peer.large = bytes(range(256)) * 300
    received = peer.send(settings((4, 1000)), call(1, method=b"Large"))
    received += (more := peer.send(settings((4, 0))))
    assert not [each for each in more if each.type == DATA]
    assert not [each for each in peer.send(window_update(1, 1000)) if each.type == DATA]
    received += peer.send(window_update(1, 5), settings((4, 100_000)))
    assert peer.connection.backlog_bytes > 0  # The connection's own window is used up.
    received += peer.send(window_update(0, 100_000))
    fields, body = peer.answer(received, 1)
    assert (fields[b"grpc-status"], body) == (OK, prefixed(peer.large))
    assert max(len(each.data) for each in received if each.type == DATA) <= 16_384
    assert peer.connection.backlog_bytes == 0


def test_an_answer_that_nobody_takes_is_dropped_and_one_that_is_taken_slowly_is_not() -> None:
    peer = Peer()
    peer.large = bytes(1000)
    peer.send(settings((4, 0)), call(1, method=b"Large"), call(3, method=b"Large"))
    peer.clock.jump(UNTAKEN_S - 1)
    peer.host.expire()
    peer.send(window_update(3, 1))
    peer.clock.jump(1)
    peer.host.expire()
    assert resets(peer.read()) == [(1, ErrorCode.CANCEL)]
    assert peer.connection.backlog_bytes == 1004
    assert peer.answer(peer.send(window_update(3, 5000)), 3)[0][b"grpc-status"] == OK


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_deadline_ends_a_call_to_the_tick_wherever_it_stands(is_whole: bool) -> None:
    peer = Peer()
    peer.send(headers(1, _path=b"/f.S/Late", grpc_timeout=b"2S"))
    peer.send(data(1, prefixed(b"x"), flags=END_STREAM if is_whole else 0))
    peer.clock.jump(1.999)
    peer.host.expire()
    assert peer.read() == []
    peer.clock.jump(0.001)
    peer.host.expire()
    fields, _ = peer.answer(peer.read(), 1)
    assert fields[b"grpc-status"] == b"%d" % Code.DEADLINE_EXCEEDED
    for late in peer.late:
        late.reply(b"too late")
    assert peer.read() == []
    assert (peer.counts.active, peer.host._waiting) == (0, {})


def test_a_cancelled_call_is_answered_to_nobody() -> None:
    peer = Peer()
    peer.send(call(1, method=b"Late"), rst_stream(1, ErrorCode.CANCEL))
    peer.late[0].reply(b"x")
    peer.late[0].fail(RpcError(REFUSAL))
    assert peer.read() == []
    assert peer.counts.active == 0


def test_what_is_no_grpc_is_not_found() -> None:
    peer = Peer()
    page = headers(1, flags=END_HEADERS | END_STREAM, _method=b"GET", content_type=None)
    fields, body = peer.answer(peer.send(page), 1)
    assert fields[b":status"] == b"404"
    assert len(body) == int(fields[b"content-length"])
    head = headers(3, flags=END_HEADERS | END_STREAM, _method=b"HEAD", content_type=None)
    assert peer.answer(peer.send(head), 3)[1] == b""
    assert len(peer.connection) == 0
