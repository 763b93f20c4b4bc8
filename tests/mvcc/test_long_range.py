"""A Range in slices answers as a Range in one piece, and each slice is as small as it is said."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpb.rpc_pb2 import RangeRequest
from mvcc import long_range
from mvcc.errors import CompactedError, FutureRevisionError
from mvcc.long_range import is_long, range_in_slices
from mvcc.slicing import SLICE_CHANGES, SLICE_COSTLY, SLICE_KEYS, chunks, merged
from tests.mvcc import strategies
from tests.mvcc.model import Delete, Operation, Put
from tests.mvcc.support import ALL_KEYS, EVERYTHING, Database, keys_of

T = TypeVar("T")


def result_of(steps: Generator[None, None, T]) -> T:
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: T = end.value
        return result


def everything(**options: int | bool) -> RangeRequest:
    return RangeRequest(key=b"\0", range_end=b"\0", **options)  # type: ignore[arg-type]  # each fits its field


def filled(keys: int) -> Database:
    database = Database()
    with database.group():
        database.apply([Put(b"%06d" % each, b"v") for each in range(keys)])
    return database


@given(
    st.lists(strategies.transactions, max_size=8), strategies.range_requests, st.integers(-1, 12)
)
def test_slices_make_the_answer_that_one_piece_is(
    transactions: list[list[Operation]], request_: RangeRequest, revision: int
) -> None:
    database = Database()
    for operations in transactions:
        database.transact(*operations)
    request_.revision = min(revision, database.store.current)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_range, "SLICE_KEYS", 2)
        patch.setattr(long_range, "SLICE_COSTLY", 1)
        found = result_of(range_in_slices(database.store, request_))
    assert found == database.range(request_)


def test_a_revision_that_is_not_there_is_refused() -> None:
    database = filled(3)
    database.put(b"k")
    database.compact(3)
    with pytest.raises(FutureRevisionError):
        result_of(range_in_slices(database.store, everything(revision=4)))
    with pytest.raises(CompactedError):
        result_of(range_in_slices(database.store, everything(revision=2)))


@pytest.mark.parametrize(
    ("request_", "most"),
    [
        (everything(), SLICE_KEYS),
        (everything(limit=SLICE_KEYS), SLICE_KEYS),
        (everything(sort_target=RangeRequest.MOD), SLICE_KEYS),
        (everything(min_mod_revision=1, limit=1), SLICE_KEYS),
        (everything(keys_only=True), SLICE_COSTLY),
        (everything(sort_target=RangeRequest.VALUE, limit=1), SLICE_COSTLY),
        (everything(revision=2), SLICE_COSTLY),
        (everything(revision=2, limit=1), SLICE_COSTLY),
        (everything(revision=2, count_only=True), SLICE_COSTLY),
    ],
)
def test_what_is_more_than_a_slice_is_long(request_: RangeRequest, most: int) -> None:
    assert not is_long(filled(most).store, request_)
    longer = filled(most + 1).store
    assert is_long(longer, request_)
    steps = range_in_slices(longer, request_)
    next(steps)  # It does not end with the first.


@pytest.mark.parametrize(
    "request_",
    [
        RangeRequest(key=b"000001"),
        RangeRequest(key=b"000001", range_end=b"000001"),
        everything(count_only=True),
        everything(limit=SLICE_KEYS - 1),
    ],
)
def test_what_looks_at_few_keys_is_not_long(request_: RangeRequest) -> None:
    assert not is_long(filled(SLICE_KEYS + 1).store, request_)


def test_dead_keys_count_for_the_past() -> None:
    database = filled(SLICE_COSTLY + 1)
    database.transact(Delete(ALL_KEYS))
    assert is_long(database.store, everything(revision=2))
    assert not is_long(database.store, EVERYTHING)
    assert result_of(range_in_slices(database.store, everything(revision=2, limit=1))).more


# --- what they are made of ---


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers()))), st.booleans())
def test_runs_are_merged_as_one_sort_would(
    lists: list[list[tuple[int, int]]], reverse: bool
) -> None:
    def key(item: tuple[int, int]) -> int:
        return item[0]

    runs = [sorted(each, key=key, reverse=reverse) for each in lists]
    together = [item for each in lists for item in each]
    expected = sorted(together, key=key, reverse=reverse)
    assert result_of(merged(runs, key, reverse=reverse)) == expected


def test_chunks_are_whole_but_for_the_last() -> None:
    assert list(chunks([], 2)) == []
    assert list(chunks(iter(range(4)), 2)) == [[0, 1], [2, 3]]
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_deleting_in_slices_deletes_at_one_revision() -> None:
    """And leaves the rows that deleting at once leaves."""
    databases = [filled(2 * SLICE_CHANGES + 1) for _ in range(2)]
    with databases[0].group():
        txn = databases[0].store.write_txn()
        steps = txn.delete_in_slices(ALL_KEYS)
        slices = sum(1 for _ in steps)
        txn.end()
    assert slices == 3
    databases[1].transact(Delete(ALL_KEYS))
    assert databases[0].rows() == databases[1].rows()
    assert databases[0].store.current == databases[1].store.current == 3
    assert databases[0].keys() == []
    databases[0].check()


def test_what_passes_a_filter_comes_in_reverse_if_that_is_asked() -> None:
    database = filled(3)
    request = everything(min_mod_revision=1, sort_order=RangeRequest.DESCEND, keys_only=True)
    found = result_of(range_in_slices(database.store, request))
    assert found == database.range(request)
    assert keys_of(found) == [b"000002", b"000001", b"000000"]


def test_with_a_limit_the_keys_beyond_it_are_counted() -> None:
    database = filled(5)
    result = result_of(range_in_slices(database.store, everything(limit=2)))
    assert (keys_of(result), result.total, result.more) == ([b"000000", b"000001"], 5, True)
