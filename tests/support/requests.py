"""Requests at random: few keys, few leases and small numbers, so that they meet."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from etcdpb.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

LEASES: Final = (1, 2, -1, 2**63 - 1)
REVISION_MAX: Final = 30  # Most stores of a test get about so far.

_keys: Final = st.sampled_from((b"a", b"b", b"c", b"d"))
_maybe_no_key: Final = st.sampled_from((b"a", b"b", b"c", b"d", b"\0", b""))
_ends: Final = st.sampled_from((b"", b"", b"\0", b"a", b"b", b"c", b"d", b"e"))
_values: Final = st.sampled_from((b"", b"v", b"w", b"long value"))
_revisions: Final = st.one_of(st.just(0), st.integers(-1, REVISION_MAX))
_bounds: Final = st.one_of(st.just(0), st.just(0), st.integers(-1, REVISION_MAX))
_seldom: Final = st.sampled_from((False, False, False, True))

lease_ids: Final = st.sampled_from((*LEASES, 99))
puts: Final[SearchStrategy[PutRequest]] = st.builds(
    PutRequest,
    key=st.one_of(_keys, _keys, _maybe_no_key),
    value=_values,
    lease=st.sampled_from((0, *LEASES, 99)),
    prev_kv=st.booleans(),
    ignore_value=_seldom,
    ignore_lease=_seldom,
)
deletes: Final[SearchStrategy[DeleteRangeRequest]] = st.builds(
    DeleteRangeRequest, key=_maybe_no_key, range_end=_ends, prev_kv=st.booleans()
)
ranges: Final[SearchStrategy[RangeRequest]] = st.builds(
    RangeRequest,
    key=_maybe_no_key,
    range_end=_ends,
    limit=st.integers(-1, 4),
    revision=_revisions,
    sort_order=st.integers(0, 3),
    sort_target=st.integers(0, 5),
    serializable=st.booleans(),
    keys_only=st.booleans(),
    count_only=_seldom,
    min_mod_revision=_bounds,
    max_mod_revision=_bounds,
    min_create_revision=_bounds,
    max_create_revision=_bounds,
)


@st.composite
def _compares(draw: st.DrawFn) -> Compare:
    numbers = st.integers(-1, 4)
    targets = st.one_of(
        numbers.map(lambda n: {"target": Compare.VERSION, "version": n}),
        _revisions.map(lambda n: {"target": Compare.CREATE, "create_revision": n}),
        _revisions.map(lambda n: {"target": Compare.MOD, "mod_revision": n}),
        _values.map(lambda value: {"target": Compare.VALUE, "value": value}),
        lease_ids.map(lambda lease: {"target": Compare.LEASE, "lease": lease}),
        numbers.map(lambda n: {"target": Compare.MOD, "version": n}),  # The wrong member.
    )
    return Compare(
        **draw(targets),
        result=draw(st.integers(0, 3)),  # type: ignore[arg-type]  # an int is right
        key=draw(st.one_of(_keys, _maybe_no_key)),
        range_end=draw(_ends),
    )


@st.composite
def _operations(draw: st.DrawFn, depth: int) -> RequestOp:
    member = draw(st.sampled_from(("put", "put", "delete_range", "range", "txn", "")))
    if member == "txn" and depth:
        return RequestOp(request_txn=draw(_txns(depth - 1)))
    if member == "delete_range":
        return RequestOp(request_delete_range=draw(deletes))
    if member == "range":
        return RequestOp(request_range=draw(ranges))
    if member == "" and draw(_seldom):
        return RequestOp()  # None at all; etcd has an answer to that too.
    return RequestOp(request_put=draw(puts))


@st.composite
def _txns(draw: st.DrawFn, depth: int) -> TxnRequest:
    operations = st.lists(_operations(depth), max_size=3)
    return TxnRequest(
        compare=draw(st.lists(_compares(), max_size=2)),
        success=draw(operations),
        failure=draw(operations),
    )


txns: Final[SearchStrategy[TxnRequest]] = _txns(2)
compactions: Final[SearchStrategy[CompactionRequest]] = st.builds(
    CompactionRequest, revision=st.integers(-1, REVISION_MAX)
)
grants: Final[SearchStrategy[LeaseGrantRequest]] = st.builds(
    LeaseGrantRequest,
    ID=st.sampled_from(LEASES),
    TTL=st.one_of(st.integers(-1, 6), st.sampled_from((9_000_000_000, 9_000_000_001))),
)
revokes: Final[SearchStrategy[LeaseRevokeRequest]] = st.builds(LeaseRevokeRequest, ID=lease_ids)
lease_reads: Final = st.one_of(
    st.builds(LeaseTimeToLiveRequest, ID=lease_ids, keys=st.booleans()),
    st.just(LeaseLeasesRequest()),
)

writes: Final = st.one_of(puts, puts, deletes, txns, grants, revokes, compactions)
reads: Final = st.one_of(ranges, lease_reads)


def is_read(request: Any) -> bool:
    """Whether it is answered outside the queue of commands."""
    if isinstance(request, TxnRequest):
        operations = (*request.success, *request.failure)
        return all(operation.HasField("request_range") for operation in operations)
    return isinstance(request, RangeRequest | LeaseTimeToLiveRequest | LeaseLeasesRequest)
