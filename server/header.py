"""The ResponseHeader, encoded once per revision and put before every reply.

In every reply of every service the header is field 1, so a reply is `header + body`.
"""

from __future__ import annotations

from typing import Final

from etcdpb.rpc_pb2 import ResponseHeader
from mvcc.record import delimited, varint

_HEADER_TAG: Final = b"\x0a"  # Field 1, length-delimited.
_REVISION_TAG: Final = b"\x18"  # ResponseHeader.revision, field 3, a varint.


class Headers:
    """Headers of this member. Ids are uint64, `term` counts the starts of this data dir."""

    def __init__(self, cluster_id: int, member_id: int, term: int) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.term = term
        self._revision = -1
        self._encoded = b""
        self.number = b""  # The varint of the revision that was asked for last.
        # What stands around the revision, as long as its varint has the same length.
        self._before = self._after = b""
        self._size = -1

    def at(self, revision: int) -> bytes:
        """The header field for `revision`; the last one asked for is kept."""
        if revision != self._revision:
            self.number = number = varint(revision) if revision else b""  # 0 is left out, as ever.
            if len(number) != self._size:
                self._surround(revision, number)
            self._encoded = self._before + number + self._after
            self._revision = revision
        return self._encoded

    def _surround(self, revision: int, number: bytes) -> None:
        message = ResponseHeader(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            revision=revision,
            raft_term=self.term,
        )
        encoded = delimited(_HEADER_TAG, message.SerializeToString())
        # Fields stand in the order of their numbers: behind the revision there is only the term.
        self._after = ResponseHeader(raft_term=self.term).SerializeToString()
        self._before = encoded[: len(encoded) - len(self._after) - len(number)]
        self._size = len(number)


def revision_only(revision: int) -> bytes:
    """The header of an answer inside a transaction's: etcd fills in nothing but the revision."""
    return delimited(_HEADER_TAG, _REVISION_TAG + varint(revision))
