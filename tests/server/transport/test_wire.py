"""Messages as they stand in DATA: the quick ways say what the plain ones say."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from server.transport.hpack import Decoder
from server.transport.wire import PREFIX_BYTES, alike, answer, answer_one, joined, prefixed
from tests.server.transport.support import parsed
from tests.server.transport.support import prefixed as compressed_or_not

messages = st.lists(st.binary(max_size=4), max_size=8)
of_one_size = st.integers(0, 300).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=8)
)


@given(of_one_size, st.binary(max_size=10))
@example([b""], b"")
@example([b"\0" * 5], b"\0" * 4)
def test_messages_of_one_size_are_taken_apart_whatever_piece_of_one_is_behind_them(
    whole: list[bytes], tail: bytes
) -> None:
    size = len(whole[0])
    tail = prefixed(bytes(size))[: min(len(tail), size + PREFIX_BYTES - 1)]
    assert alike(b"".join(map(prefixed, whole)) + tail) == whole


@given(st.lists(st.tuples(st.binary(max_size=3), st.booleans()), max_size=6), st.integers(0, 8))
@example([(b"a", False), (b"bb", False)], 0)
@example([(b"a", False), (b"b", True)], 0)
@example([(b"a", False), (b"b" * 256, False)], 0)
@example([(b"", False), (b"b" * 256, False)], 0)
def test_of_a_body_of_any_kind_nothing_is_taken_that_is_not_its_first_messages(
    parts: list[tuple[bytes, bool]], cut: int
) -> None:
    body = b"".join(compressed_or_not(each, is_compressed=flag) for each, flag in parts)
    body = body[: len(body) - cut] if cut else body
    found = alike(body)
    assert body.startswith(b"".join(map(prefixed, found)))
    assert len(set(map(len, found))) <= 1
    whole = [each for each, _ in parts]
    if not cut and whole and len(set(map(len, whole))) == 1 and not any(f for _, f in parts):
        assert found == whole


@given(st.binary(max_size=40))
def test_random_octets_are_never_more_than_they_say(body: bytes) -> None:
    found = alike(body)
    assert body.startswith(b"".join(map(prefixed, found)))
    if found:
        rest = body[len(b"".join(map(prefixed, found))) :]
        assert len(rest) < PREFIX_BYTES + len(found[0]), "a whole message was left"


@given(messages.filter(bool) | of_one_size)
def test_joined_messages_are_each_behind_its_prefix(several: list[bytes]) -> None:
    assert joined(several) == b"".join(
        b"\0" + len(each).to_bytes(4, "big") + each for each in several
    )


@given(st.integers(0, 2**30 - 1).map(lambda n: 2 * n + 1), st.integers(0, 70_000))
@example(2**31 - 1, 2**24 - 1)
def test_an_answer_is_a_head_a_body_and_an_end(stream_id: int, size: int) -> None:
    frames: list[Any] = parsed(answer(stream_id, bytes(size)))
    assert [each.stream_id for each in frames] == [stream_id] * 3
    head, body, end = frames
    assert (set(head.flags), set(body.flags)) == ({"END_HEADERS"}, set())
    assert set(end.flags) == {"END_HEADERS", "END_STREAM"}
    assert body.data == bytes(size)
    decoder = Decoder()
    assert [tuple(each)[:2] for each in decoder.decode(head.data)] == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
    ]
    assert [tuple(each)[:2] for each in decoder.decode(end.data)] == [(b"grpc-status", b"0")]


@given(st.integers(0, 2**30 - 1).map(lambda n: 2 * n + 1), st.integers(0, 70_000))
@example(2**31 - 1, 0)
@example(1, 1024)
@example(1, 1025)
def test_an_answer_of_one_message_is_that_of_its_body(stream_id: int, size: int) -> None:
    message = b"m" * size
    for _ in range(2):  # The second time its form is known.
        assert answer_one(stream_id, message) == answer(stream_id, prefixed(message))
