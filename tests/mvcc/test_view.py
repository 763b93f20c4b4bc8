"""Range, option by option, as etcd's tests/common/kv_test.go and TestV3RangeRequest have it.

The latter is in tests/integration/v3_grpc_test.go.
"""

from __future__ import annotations

import pytest

from etcdpb.kv_pb2 import KeyValue
from etcdpb.rpc_pb2 import RangeRequest
from mvcc.errors import CompactedError, FutureRevisionError
from mvcc.view import check_txn_range, range_in_txn
from tests.mvcc.model import Put
from tests.mvcc.support import EVERYTHING, Database, keys_of, kvs_of

NONE, ASCEND, DESCEND = RangeRequest.NONE, RangeRequest.ASCEND, RangeRequest.DESCEND
KEY, VERSION, CREATE = RangeRequest.KEY, RangeRequest.VERSION, RangeRequest.CREATE
MOD, VALUE = RangeRequest.MOD, RangeRequest.VALUE


def everything(**options: int | bool) -> RangeRequest:
    return RangeRequest(key=b"\0", range_end=b"\0", **options)  # type: ignore[arg-type]  # each fits its field


@pytest.fixture
def database() -> Database:
    """TestKVGet: a, b, c, c, c, foo, foo/abc, fop at revisions 2 to 9."""
    database = Database()
    for key in (b"a", b"b", b"c", b"c", b"c", b"foo", b"foo/abc", b"fop"):
        database.put(key, b"bar")
    return database


ALL = [b"a", b"b", b"c", b"foo", b"foo/abc", b"fop"]


@pytest.mark.parametrize(
    ("request_", "keys", "total", "more"),
    [
        (RangeRequest(key=b"a"), ALL[:1], 1, False),
        (RangeRequest(key=b"a", range_end=b"c"), ALL[:2], 2, False),
        (RangeRequest(key=b"a", range_end=b"x"), ALL, 6, False),
        (everything(), ALL, 6, False),
        (everything(revision=4), ALL[:3], 3, False),
        (RangeRequest(key=b"a", range_end=b"x", count_only=True), [], 6, False),
        (RangeRequest(key=b"foo", range_end=b"fop"), ALL[3:5], 2, False),
        (RangeRequest(key=b"foo", range_end=b"\0"), ALL[3:], 3, False),
        (everything(limit=2), ALL[:2], 6, True),
        (RangeRequest(key=b"z"), [], 0, False),
        (RangeRequest(key=b"c", range_end=b"c"), [], 0, False),
        (RangeRequest(key=b"d", range_end=b"b"), [], 0, False),
    ],
)
def test_a_range_shows_these_keys(
    database: Database, request_: RangeRequest, keys: list[bytes], total: int, more: bool
) -> None:
    """tests/common/kv_test.go; and the same again without values."""
    result = database.range(request_)
    assert (keys_of(result), result.total, result.more) == (keys, total, more)
    request_.keys_only = True
    bare = database.range(request_)
    assert (bare.total, bare.more) == (total, more)
    for kv, whole in zip(kvs_of(bare), kvs_of(result), strict=True):
        assert (kv.value, whole.value) == (b"", b"bar")
        kv.value = whole.value
        assert kv == whole


def test_keys_only_leaves_the_lease() -> None:
    """etcd 3.6: only the value is dropped."""
    database = Database()
    database.put(b"a", b"v", 7)
    expected = KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, lease=7)
    assert kvs_of(database.range(everything(keys_only=True))) == [expected]


def test_a_revision_of_zero_or_below_is_the_present(database: Database) -> None:
    for revision in (0, -1, -(2**63)):
        assert keys_of(database.range(everything(revision=revision))) == ALL


def test_revision_k_shows_the_first_k_minus_1_puts() -> None:
    """TestV3RangeRequest; revision 1 shows nothing, on an empty store too."""
    database = Database()
    assert database.keys(revision=1) == []
    for key in ALL:
        database.put(key)
    shown = [database.keys(revision=revision) for revision in range(1, 8)]
    assert shown == [ALL[:count] for count in range(7)]
    counted = [database.range(everything(revision=r, count_only=True)) for r in range(1, 8)]
    assert [(result.total, result.more) for result in counted] == [(n, False) for n in range(7)]


def test_a_limit_cuts_and_says_so_and_the_count_stays(database: Database) -> None:
    """TestV3RangeRequest; a limit of 0 or below is none."""
    for options in ({}, {"revision": 9}, {"sort_target": MOD}):
        seen = [database.range(everything(limit=limit, **options)) for limit in range(-1, 8)]
        assert [len(result.frames) for result in seen] == [6, 6, 1, 2, 3, 4, 5, 6, 6]
        assert [result.more for result in seen] == [False, False, *[True] * 5, False, False]
        assert {result.total for result in seen} == {6}


@pytest.mark.parametrize(
    "options", [{}, {"revision": 9}, {"sort_target": MOD}, {"max_mod_revision": 9}]
)
def test_the_largest_limit_is_none(database: Database, options: dict[str, int]) -> None:
    for limit in (2**63 - 1, 2**63 - 2):
        result = database.range(everything(limit=limit, **options))
        assert (len(result.frames), result.total, result.more) == (6, 6, False)


def test_counting_only_beats_limit_and_keys_only_and_filters(database: Database) -> None:
    options = everything(count_only=True, limit=1, keys_only=True, min_mod_revision=9)
    assert database.range(options) == ([], 6, False)


@pytest.mark.parametrize(
    ("target", "order", "keys"),
    [
        (KEY, NONE, ALL),
        (KEY, ASCEND, ALL),
        (KEY, DESCEND, ALL[::-1]),
        (VERSION, ASCEND, [b"a", b"b", b"foo", b"foo/abc", b"fop", b"c"]),
        (VERSION, DESCEND, [b"c", b"a", b"b", b"foo", b"foo/abc", b"fop"]),
        (CREATE, ASCEND, ALL),
        (CREATE, NONE, ALL),
        (CREATE, DESCEND, ALL[::-1]),
        (MOD, ASCEND, ALL),
        (MOD, DESCEND, ALL[::-1]),
        (VALUE, ASCEND, ALL),
        (VALUE, DESCEND, ALL),
    ],
)
def test_ties_stay_in_key_order_whichever_way_it_is_sorted(
    database: Database, target: int, order: int, keys: list[bytes]
) -> None:
    """Go's sort is not stable, but for so few keys it acts so, and etcd's tests rely on it."""
    assert keys_of(database.range(everything(sort_target=target, sort_order=order))) == keys


@pytest.fixture
def backwards() -> Database:
    """Keys put in the opposite of their order, with values that fall as they come."""
    database = Database()
    for key, value in ((b"d", b"1"), (b"c", b"2"), (b"b", b"3"), (b"a", b"4")):
        database.put(key, value)
    return database


@pytest.mark.parametrize(
    ("target", "order", "limit", "keys"),
    [
        (MOD, ASCEND, 1, [b"d"]),
        (MOD, DESCEND, 1, [b"a"]),
        (MOD, NONE, 1, [b"b"]),
        (MOD, NONE, 2, [b"c", b"b"]),
        (MOD, NONE, 3, [b"d", b"c", b"b"]),
        (MOD, NONE, 0, [b"d", b"c", b"b", b"a"]),
        (VALUE, ASCEND, 2, [b"d", b"c"]),
        (CREATE, NONE, 1, [b"b"]),
        (KEY, DESCEND, 2, [b"d", b"c"]),
        (KEY, ASCEND, 2, [b"a", b"b"]),
    ],
)
def test_the_limit_cuts_after_sorting_but_without_an_order_before_it_too(
    backwards: Database, target: int, order: int, limit: int, keys: list[bytes]
) -> None:
    """That etcd fetches limit + 1 keys first without an order is its oddity."""
    for revision in (0, 5):
        request = everything(sort_target=target, sort_order=order, limit=limit, revision=revision)
        result = backwards.range(request)
        assert (keys_of(result), result.total, result.more) == (keys, 4, limit > 0)


def test_with_a_filter_everything_is_fetched_before_it_is_sorted_and_cut(
    backwards: Database,
) -> None:
    request = everything(sort_target=MOD, limit=1, min_mod_revision=1)
    assert keys_of(backwards.range(request)) == [b"d"]


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"min_mod_revision": 6}, [b"c", b"foo", b"foo/abc", b"fop"]),
        ({"max_mod_revision": 6}, [b"a", b"b", b"c"]),
        ({"min_mod_revision": 3, "max_mod_revision": 7}, [b"b", b"c", b"foo"]),
        ({"min_create_revision": 4}, [b"c", b"foo", b"foo/abc", b"fop"]),
        ({"max_create_revision": 4}, [b"a", b"b", b"c"]),
        ({"min_create_revision": 4, "max_create_revision": 4}, [b"c"]),
        ({"max_create_revision": 4, "min_mod_revision": 4}, [b"c"]),
        ({"max_mod_revision": -1}, []),
        ({"max_create_revision": -1}, []),
        ({"min_mod_revision": -1}, ALL),
        ({"min_create_revision": -1}, ALL),
    ],
)
def test_filters_leave_the_count_as_it_was(
    database: Database, options: dict[str, int], keys: list[bytes]
) -> None:
    """tests/common/kv_test.go; negative bounds count as well."""
    result = database.range(everything(**options))
    assert (keys_of(result), result.total, result.more) == (keys, 6, False)


def test_a_single_key_that_a_filter_drops_is_still_counted(database: Database) -> None:
    result = database.range(RangeRequest(key=b"a", max_mod_revision=1))
    assert result == ([], 1, False)


def test_a_filter_and_a_limit_say_more_by_what_passed(database: Database) -> None:
    results = [database.range(everything(min_mod_revision=7, limit=n)) for n in (2, 3)]
    assert [(keys_of(result), result.more) for result in results] == [
        ([b"foo", b"foo/abc"], True),
        ([b"foo", b"foo/abc", b"fop"], False),
    ]


def test_history_shows_versions_leases_and_deletions_as_they_were() -> None:
    database = Database()
    database.put(b"a", b"1", 7)
    database.put(b"a", b"2")
    database.delete(b"a")
    database.put(b"a", b"3")
    history = [database.get(b"a", revision) for revision in (2, 3, 4, 5)]
    first = {"key": b"a", "create_revision": 2}
    assert history == [
        KeyValue(**first, mod_revision=2, version=1, value=b"1", lease=7),  # type: ignore[arg-type]  # key and number
        KeyValue(**first, mod_revision=3, version=2, value=b"2"),  # type: ignore[arg-type]  # as above
        None,
        KeyValue(key=b"a", create_revision=5, mod_revision=5, version=1, value=b"3"),
    ]


def test_history_is_cut_and_turned_like_the_present() -> None:
    database = Database()
    for key in (b"a", b"b", b"c", b"d"):
        database.put(key)
    database.delete(b"b")
    request = everything(revision=5, limit=2, sort_order=DESCEND)
    assert keys_of(database.range(request)) == [b"d", b"c"]
    request.revision = 6
    assert keys_of(database.range(everything(revision=6, limit=2))) == [b"a", b"c"]


def test_a_revision_ahead_or_compacted_is_refused(database: Database) -> None:
    """tests/common/compact_test.go; the compacted revision itself stays readable."""
    with pytest.raises(FutureRevisionError):
        database.range(everything(revision=10))
    database.compact(4)
    assert database.keys(revision=4) == ALL[:3]
    with pytest.raises(CompactedError):
        database.range(everything(revision=3))
    database.compact(9)
    assert database.keys() == database.keys(revision=9) == ALL


# --- inside a transaction ---


def test_a_range_inside_a_transaction_sees_what_came_before_in_it() -> None:
    """But a named revision is one from before the transaction."""
    database = Database()
    database.put(b"a", b"old")
    with database.group():
        txn = database.store.write_txn()
        txn.put(b"a", b"new", 0)
        assert [kv.value for kv in kvs_of(range_in_txn(database.store, EVERYTHING))] == [b"new"]
        past = everything(revision=2)
        check_txn_range(database.store, past)
        assert [kv.value for kv in kvs_of(range_in_txn(database.store, past))] == [b"old"]
        with pytest.raises(FutureRevisionError):
            check_txn_range(database.store, everything(revision=3))
        txn.end()


def test_a_negative_revision_inside_a_transaction_is_compared_literally() -> None:
    """server/etcdserver/txn/txn.go: -1 passes until the first compaction (seen on 3.5.1)."""
    database = Database()
    database.transact(Put(b"a"))
    store = database.store
    check_txn_range(store, everything(revision=-1))
    assert keys_of(range_in_txn(store, everything(revision=-1))) == [b"a"]
    with pytest.raises(CompactedError):
        check_txn_range(store, everything(revision=-2))
    database.compact(0)
    with pytest.raises(CompactedError):
        check_txn_range(store, everything(revision=-1))
    check_txn_range(store, everything())
