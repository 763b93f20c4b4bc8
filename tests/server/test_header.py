"""Headers are what protobuf would have written, whichever was asked for before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpb.rpc_pb2 import RangeResponse, ResponseHeader
from mvcc.record import varint
from server.header import Headers

EDGES = [0, 1, 127, 128, 129, 255, 256, 16_383, 16_384, 2**21 - 1, 2**21, 2**63 - 1]

revisions = st.lists(st.sampled_from(EDGES) | st.integers(0, 2**63 - 1) | st.integers(0, 600))


def _header(revision: int, term: int) -> bytes:
    header = ResponseHeader(cluster_id=2**64 - 1, member_id=7, revision=revision, raft_term=term)
    return RangeResponse(header=header).SerializeToString()


@given(revisions, st.sampled_from((0, 1, 300)))
def test_a_header_is_protobufs_whatever_was_asked_for_before(asked: list[int], term: int) -> None:
    headers = Headers(2**64 - 1, 7, term)
    for revision in asked:
        assert headers.at(revision) == _header(revision, term)
        assert headers.at(revision) == _header(revision, term)


@pytest.mark.parametrize("revision", EDGES[1:])
def test_the_number_of_a_revision_is_what_stands_in_its_header(revision: int) -> None:
    headers = Headers(1, 2, 3)
    headers.at(5)
    assert headers.number_at(revision) == varint(revision)
    assert headers.number_at(revision) in headers.at(revision)
