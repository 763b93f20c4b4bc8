"""The ResponseHeader, encoded once per revision and put before every reply.

In every reply of every service the header is field 1, so a reply is `header + body`.
"""

from __future__ import annotations

from typing import Final

from etcdpb.rpc_pb2 import ResponseHeader
from mvcc.record import delimited

_HEADER_TAG: Final = b"\x0a"  # Field 1, length-delimited.
_INNER: Final = ResponseHeader()  # Filled anew for each answer inside a transaction's.


class Headers:
    """Headers of this member. Ids are uint64, `term` counts the starts of this data dir."""

    def __init__(self, cluster_id: int, member_id: int, term: int) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.term = term
        # Filled anew for each revision: a third of the cost of a new one.
        self._message = ResponseHeader(cluster_id=cluster_id, member_id=member_id, raft_term=term)
        self._revision = -1
        self._encoded = b""

    def at(self, revision: int) -> bytes:
        """The header field for `revision`; the last one asked for is kept."""
        if revision != self._revision:
            self._message.revision = revision
            self._encoded = delimited(_HEADER_TAG, self._message.SerializeToString())
            self._revision = revision
        return self._encoded


def revision_only(revision: int) -> bytes:
    """The header of an answer inside a transaction's: etcd fills in nothing but the revision."""
    _INNER.revision = revision
    return delimited(_HEADER_TAG, _INNER.SerializeToString())
