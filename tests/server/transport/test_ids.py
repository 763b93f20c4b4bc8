"""Ids of streams only go up: what is below the newest was used, passed over, or reset."""

from __future__ import annotations

import pytest

from server.transport.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ErrorCode,
    frame,
    window_update,
)
from server.transport.hpack import encode
from server.transport.peer import GAPS_MAX, RESETS_MAX
from tests.server.transport.native import Client
from tests.server.transport.support import data, headers, prefixed
from tests.support.loop import in_loop

E = ErrorCode
TRAILERS = encode(((b"x-checksum", b"1"),))


def opened(client: Client, stream_id: int) -> None:
    client.send(headers(stream_id), data(stream_id, prefixed(b"hey")))
    assert client.heard(stream_id).status == b"0"


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("passed_over", [3, 5, 9])
@in_loop
async def test_an_id_that_was_passed_over_is_used_up(passed_over: int, is_known: bool) -> None:
    """RFC 9113 section 5.1.1, whichever way the request before it was taken."""
    client = Client()
    for stream_id in (1, 7, 11):
        opened(client, stream_id)
        if not is_known:
            client.connection._heads.clear()
    client.send(headers(passed_over))
    client.heard(0)
    assert client.goaway is E.PROTOCOL_ERROR


@pytest.mark.parametrize("closed", [1, 7, 11])
@in_loop
async def test_an_id_that_is_over_is_closed(closed: int) -> None:
    client = Client()
    for stream_id in (1, 7, 11):
        opened(client, stream_id)
    client.send(headers(closed))
    client.heard(0)
    assert client.goaway is E.STREAM_CLOSED


@in_loop
async def test_the_first_id_may_be_any_and_those_below_it_are_used_up() -> None:
    client = Client()
    opened(client, 3)
    client.send(headers(1))
    client.heard(0)
    assert client.goaway is E.PROTOCOL_ERROR


@pytest.mark.parametrize(("gap", "code"), [(0, E.STREAM_CLOSED), (1, E.PROTOCOL_ERROR)])
@in_loop
async def test_so_many_stretches_are_remembered_and_the_end_comes_all_the_same(
    gap: int, code: ErrorCode
) -> None:
    client = Client()
    for number in range(GAPS_MAX + 1):
        opened(client, 3 + 4 * number)
    assert len(client.connection._gaps) == GAPS_MAX
    client.send(headers(1 + 4 * gap))
    client.heard(0)
    assert client.goaway is code


@pytest.mark.parametrize(("which", "code"), [(0, E.STREAM_CLOSED), (1, None)])
@in_loop
async def test_so_many_resets_are_remembered_and_what_was_on_its_way_is_ignored(
    which: int, code: ErrorCode | None
) -> None:
    client = Client()
    client.know("Echo")
    reset = []
    for _ in range(RESETS_MAX + 1):
        client.send(client.open(), window_update(client.last_id, 0))
        assert client.heard(client.last_id).reset is E.PROTOCOL_ERROR
        reset.append(client.last_id)
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, reset[which], TRAILERS))
    client.heard(0)
    assert client.goaway is code


@in_loop
async def test_an_even_id_is_no_request_known_or_not() -> None:
    client = Client()
    client.know("Echo")
    client.send(headers(4))
    client.heard(0)
    assert client.goaway is E.PROTOCOL_ERROR
