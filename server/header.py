"""The ResponseHeader, encoded once per revision and put before every reply.

In every reply of every service the header is field 1, so a reply is `header + body`.
"""

from __future__ import annotations

from typing import Final

from etcdpb.rpc_pb2 import ResponseHeader
from mvcc.record import delimited, varint

_HEADER_TAG: Final = b"\x0a"  # Field 1, length-delimited.
_REVISION_TAG: Final = b"\x18"  # ResponseHeader.revision, field 3, a varint.

_FIRST_OCTET: Final = [bytes((0x80 | number,)) for number in range(0x80)]  # Of a longer varint.


class Headers:
    """Headers of this member. Ids are uint64, `term` counts the starts of this data dir."""

    def __init__(self, cluster_id: int, member_id: int, term: int) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.term = term
        # Fields stand in the order of their numbers: behind the revision there is only the term.
        self._term = ResponseHeader(raft_term=term).SerializeToString()
        self._revision = -1
        self._encoded = b""
        # Of 128 revisions in a row only one octet differs, the first of the varint. What stands
        # around it, while `revision >> 7` is this:
        self._block = 0
        self._before = self._after = b""

    def at(self, revision: int) -> bytes:
        """The header field for `revision`; the last one asked for is kept."""
        if revision != self._revision:
            if revision >> 7 != self._block or not self._block:
                self._encode(revision)
            else:
                self._encoded = self._before + _FIRST_OCTET[revision & 0x7F] + self._after
            self._revision = revision
        return self._encoded

    def number_at(self, revision: int) -> bytes:
        """The varint of a revision that is not 0, as it stands in the header."""
        encoded = self.at(revision)
        return encoded[len(self._before) : len(encoded) - len(self._term)]

    def _encode(self, revision: int) -> None:
        message = ResponseHeader(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            revision=revision,
            raft_term=self.term,
        )
        self._encoded = encoded = delimited(_HEADER_TAG, message.SerializeToString())
        number = varint(revision) if revision else b""  # 0 is left out, as ever.
        begin = len(encoded) - len(self._term) - len(number)
        self._block = revision >> 7
        self._before, self._after = encoded[:begin], encoded[begin + 1 :]


def revision_only(revision: int) -> bytes:
    """The header of an answer inside a transaction's: etcd fills in nothing but the revision."""
    return delimited(_HEADER_TAG, _REVISION_TAG + varint(revision))
