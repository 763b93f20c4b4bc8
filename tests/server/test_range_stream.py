"""RangeStream (etcd 3.7): the pieces, joined, are what Range would have answered."""

from __future__ import annotations

from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from server import status
from tests.support.client import Client
from tests.support.serving import Running, served

ALL: Final = b"\0"
KEYS: Final = 25


async def _fill(client: Client, value: bytes = b"v") -> None:
    for number in range(KEYS):
        await client.put(b"k%02d" % number, value)


async def _pieces(client: Client, **fields: Any) -> list[pb.RangeResponse]:
    request = pb.RangeRequest(key=ALL, range_end=ALL, **fields)
    return [piece.range_response for piece in await client.kv.RangeStream(request).rest()]


def _joined(pieces: list[pb.RangeResponse]) -> pb.RangeResponse:
    whole = pb.RangeResponse()
    for piece in pieces:
        whole.MergeFrom(piece)
    return whole


@pytest.mark.parametrize("limit", [0, 1, 5, 10, 11, 24, 25, 26, 100, -1])
@pytest.mark.parametrize("fields", [{}, {"keys_only": True}, {"count_only": True}, {"revision": 9}])
@served()
async def test_the_pieces_joined_are_the_reply_of_range(
    server: Running, limit: int, fields: dict[str, Any]
) -> None:
    """TestV3RangeStream of etcd's integration tests."""
    await _fill(server.client)
    pieces = await _pieces(server.client, limit=limit, **fields)
    assert _joined(pieces) == await server.client.get(ALL, ALL, limit=limit, **fields)


@served()
async def test_only_the_last_piece_has_header_count_and_more(server: Running) -> None:
    await _fill(server.client)
    pieces = await _pieces(server.client, limit=24)
    assert [len(piece.kvs) for piece in pieces] == [10, 14]
    assert not any(piece.HasField("header") or piece.count or piece.more for piece in pieces[:-1])
    assert (pieces[-1].header.revision, pieces[-1].count, pieces[-1].more) == (26, 25, True)


@served()
async def test_ten_keys_are_one_piece_and_nothing_found_is_one_too(server: Running) -> None:
    (empty,) = await _pieces(server.client)
    assert (empty.header.revision, empty.count) == (1, 0)
    await _fill(server.client)
    assert [len(piece.kvs) for piece in await _pieces(server.client, limit=10)] == [10]
    assert [len(piece.kvs) for piece in await _pieces(server.client)] == [10, 15]
    (counted,) = await _pieces(server.client, count_only=True)
    assert (len(counted.kvs), counted.count) == (0, 25)


@served(max_request_bytes=1000)
async def test_pieces_of_large_values_shrink(server: Running) -> None:
    """Below half of the request limit they double, above twice of it they halve."""
    await _fill(server.client, b"v" * 900)
    sizes = [len(piece.kvs) for piece in await _pieces(server.client)]
    assert sizes == [10, 5, 2, 2, 2, 2, 2]


@served()
async def test_writes_during_the_stream_are_invisible(server: Running) -> None:
    """The revision is that of the first piece, in the header too. The values are so large that
    the last piece is made long after the first has arrived.
    """
    value = b"v" * 1_000_000
    await _fill(server.client, value)
    talk = server.client.kv.RangeStream(pb.RangeRequest(key=ALL, range_end=ALL))
    first = await talk.receive()
    assert len(first.range_response.kvs) == 10
    await server.client.put(b"k24", b"changed")
    await server.client.put(b"k99", b"new")
    whole = _joined([piece.range_response for piece in [first, *await talk.rest()]])
    assert [kv.key for kv in whole.kvs] == [b"k%02d" % number for number in range(KEYS)]
    assert whole.kvs[-1].value == value
    assert (whole.header.revision, whole.count) == (26, 25)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sort_order": pb.RangeRequest.DESCEND}, status.STREAM_CUSTOM_SORT),
        ({"sort_target": pb.RangeRequest.MOD}, status.STREAM_CUSTOM_SORT),
        ({"min_mod_revision": 1}, status.STREAM_FILTERS),
        ({"max_mod_revision": 1}, status.STREAM_FILTERS),
        ({"min_create_revision": 1}, status.STREAM_FILTERS),
        ({"max_create_revision": 1}, status.STREAM_FILTERS),
        ({"revision": 2}, status.FUTURE_REVISION),
        ({"key": b""}, status.KEY_NOT_PROVIDED),
        ({"sort_target": 9}, status.INVALID_SORT_OPTION),
    ],
)
@served()
async def test_what_a_stream_cannot_do_is_refused(
    server: Running, fields: dict[str, Any], expected: status.Status
) -> None:
    request = pb.RangeRequest(**{"key": b"a", **fields})
    assert await server.client.kv.RangeStream(request).refusal() == expected


@served()
async def test_a_compacted_revision_is_refused(server: Running) -> None:
    await _fill(server.client)
    await server.client.compact(9)
    request = pb.RangeRequest(key=ALL, range_end=ALL, revision=8)
    assert await server.client.kv.RangeStream(request).refusal() == status.COMPACTED
    assert len(_joined(await _pieces(server.client, revision=9)).kvs) == 8
