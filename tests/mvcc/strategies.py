"""What the state machines draw: few keys and small numbers, so that boundaries are hit."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from etcdpb.rpc_pb2 import RangeRequest
from mvcc.keyrange import KeyRange
from tests.mvcc.model import Delete, Put

# A prefix of another, a byte that sorts last, and one that ends a prefix.
KEYS: Final = (b"a", b"a\0", b"ab", b"b", b"\xff")

keys = st.sampled_from(KEYS)
# As the wire spells them: one key, from a key on, [key, end), and ends that leave nothing.
ends = st.sampled_from((b"", b"\0", b"ab", b"b", b"c", b"\xff"))
key_ranges = st.builds(KeyRange.from_wire, keys, ends)
puts = st.builds(Put, keys, st.sampled_from((b"", b"1", b"22")), st.sampled_from((0, 7, -1)))
deletes = st.builds(Delete, key_ranges)
transactions = st.lists(puts | puts | deletes, min_size=1, max_size=4)
groups = st.lists(transactions, min_size=1, max_size=3)
bounds = st.sampled_from((0, 0, 0, -1, 1, 2, 3, 5, 9))
range_requests = st.builds(
    RangeRequest,
    key=st.sampled_from((b"\0", *KEYS)),
    range_end=ends | st.just(b"\0"),
    limit=st.integers(-1, 5),
    sort_order=st.integers(0, 2),
    sort_target=st.integers(0, 4),
    keys_only=st.booleans(),
    count_only=st.sampled_from((False, False, False, True)),
    min_mod_revision=bounds,
    max_mod_revision=bounds,
    min_create_revision=bounds,
    max_create_revision=bounds,
)
