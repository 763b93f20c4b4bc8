"""The conditions of a transaction: every target, every operator, every way to miss."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import Compare
from mvcc.compare import all_hold
from tests.mvcc.support import Database

EQUAL, GREATER, LESS, NOT_EQUAL = Compare.EQUAL, Compare.GREATER, Compare.LESS, Compare.NOT_EQUAL
OPERATORS = (EQUAL, GREATER, LESS, NOT_EQUAL)


@pytest.fixture
def database() -> Database:
    """`a` has version 3, created at 2, modified at 5, lease 7, value `m`. `b` is plain."""
    database = Database()
    database.put(b"a", b"1")
    database.put(b"b", b"1")
    database.put(b"a", b"1")
    database.put(b"a", b"m", 7)
    return database


def holds(database: Database, compare: Compare) -> bool:
    return all_hold(database.store, [compare])


@pytest.mark.parametrize(
    ("target", "field", "stands"),
    [
        (Compare.VERSION, "version", 3),
        (Compare.CREATE, "create_revision", 2),
        (Compare.MOD, "mod_revision", 5),
        (Compare.LEASE, "lease", 7),
    ],
)
def test_numbers_compare_by_all_four_operators(
    database: Database, target: int, field: str, stands: int
) -> None:
    """compareKV in server/etcdserver/txn/txn.go: below, at and above what stands."""
    outcomes = [
        [
            holds(database, Compare(key=b"a", target=target, result=result, **{field: asked}))  # type: ignore[arg-type]  # all but key are numbers
            for result in OPERATORS
        ]
        for asked in (stands - 1, stands, stands + 1)
    ]
    assert outcomes == [
        [False, True, False, True],
        [True, False, False, False],
        [False, False, True, True],
    ]


@pytest.mark.parametrize(
    ("asked", "outcomes"),
    [
        (b"l\xff", [False, True, False, True]),
        (b"m", [True, False, False, False]),
        (b"m\0", [False, False, True, True]),
        (b"", [False, True, False, True]),
    ],
)
def test_values_compare_as_bytes(database: Database, asked: bytes, outcomes: list[bool]) -> None:
    compares = [
        Compare(key=b"a", target=Compare.VALUE, result=result, value=asked) for result in OPERATORS
    ]
    assert [holds(database, compare) for compare in compares] == outcomes


@pytest.mark.parametrize("target", [Compare.VERSION, Compare.CREATE, Compare.MOD, Compare.LEASE])
def test_a_key_that_is_not_there_compares_as_zero(database: Database, target: int) -> None:
    """`version(key) < 0` is false (tests/common/txn_test.go). Clients create by `create = 0`."""
    for key in (b"nothing", b"b"):
        if key == b"b":
            database.delete(b"b")
        compares = [Compare(key=key, target=target, result=result) for result in OPERATORS]  # type: ignore[arg-type]  # an int is an enum here
        assert [holds(database, compare) for compare in compares] == [True, False, False, False]


def test_no_comparison_of_a_value_holds_where_there_is_no_key(database: Database) -> None:
    """applyCompare in server/etcdserver/txn/txn.go: not even NOT_EQUAL."""
    for range_end in (b"", b"nothinh", b"noth"):
        for result in OPERATORS:
            compare = Compare(
                key=b"nothing", range_end=range_end, target=Compare.VALUE, result=result, value=b"x"
            )
            assert not holds(database, compare)


def test_a_member_of_another_kind_counts_as_zero_or_empty(database: Database) -> None:
    database.put(b"empty")
    assert holds(database, Compare(key=b"nothing", target=Compare.MOD, version=9))
    assert holds(database, Compare(key=b"a", target=Compare.MOD, result=GREATER, version=9))
    assert holds(database, Compare(key=b"empty", target=Compare.VALUE, version=9))


def test_an_unknown_operator_holds_and_an_unknown_target_is_equal(database: Database) -> None:
    for key in (b"a", b"nothing"):
        unknown = [Compare(key=key, target=9, result=result) for result in OPERATORS]  # type: ignore[arg-type]  # open enum
        assert [holds(database, compare) for compare in unknown] == [True, False, False, False]
        assert holds(database, Compare(key=key, target=Compare.MOD, result=9, mod_revision=77))  # type: ignore[arg-type]  # open enum
    assert holds(database, Compare(key=b"a", target=Compare.VALUE, result=9))  # type: ignore[arg-type]  # open enum


@pytest.mark.parametrize(
    ("key", "range_end", "result", "version", "outcome"),
    [
        (b"a", b"c", GREATER, 0, True),
        (b"a", b"c", GREATER, 1, False),
        (b"a", b"c", EQUAL, 3, False),
        (b"a", b"\0", GREATER, 0, True),
        (b"b", b"\0", EQUAL, 1, True),
        (b"\0", b"\0", LESS, 4, True),
        (b"\0", b"\0", LESS, 3, False),
        (b"c", b"d", EQUAL, 0, True),
        (b"c", b"a", EQUAL, 0, True),
        (b"c", b"\0", GREATER, 0, False),
    ],
)
def test_a_range_holds_for_each_of_its_keys_or_as_an_absent_key(
    database: Database, key: bytes, range_end: bytes, result: int, version: int, outcome: bool
) -> None:
    """Range compares of tests/integration/v3_grpc_test.go."""
    compare = Compare(
        key=key,
        range_end=range_end,
        target=Compare.VERSION,
        result=result,  # type: ignore[arg-type]  # an int is an enum here
        version=version,
    )
    assert holds(database, compare) == outcome


def test_the_values_and_leases_of_a_range_must_all_hold(database: Database) -> None:
    """tests/integration/v3_grpc_test.go; leases over a prefix."""
    values = Compare(key=b"a", range_end=b"c", target=Compare.VALUE, result=NOT_EQUAL, value=b"m")
    assert not holds(database, values)
    values.value = b"x"
    assert holds(database, values)
    leased = Compare(key=b"a", range_end=b"c", target=Compare.LEASE, result=GREATER)
    assert not holds(database, leased)
    leased.range_end = b"b"
    assert holds(database, leased)


def test_all_conditions_must_hold_and_none_at_all_do(database: Database) -> None:
    there = Compare(key=b"a", target=Compare.VERSION, version=3)
    gone = Compare(key=b"a", target=Compare.VERSION, version=0)
    outcomes = [all_hold(database.store, c) for c in ([], [there], [there, there], [there, gone])]
    assert outcomes == [True, True, True, False]
