"""Revisions of one key in a row: offered as one, and heard as if each had come by itself."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from mvcc.keyrange import KeyRange
from mvcc.watch import RUN_REVISIONS_MAX
from mvcc.watcher import Run, Sink, Watcher
from tests.mvcc.model import Delete, Operation, Put
from tests.mvcc.strategies import key_ranges, puts, transactions
from tests.mvcc.support import ALL_KEYS, Database, Recorder, watch

FOO = KeyRange.from_wire(b"foo", b"")
PREFIX = KeyRange(b"foo", b"fop")
lone_puts = st.lists(puts, min_size=1, max_size=1)


class _Runs(Sink):
    """A sink that takes everything and remembers in which form it came."""

    def __init__(self) -> None:
        self.came: list[Run | int] = []  # A run, or the revision of what came alone.

    def offer(self, watcher: Watcher, revision: int, events: list[bytes]) -> bool:  # noqa: ARG002  # one watcher each
        self.came.append(revision)
        return True

    def offer_run(self, watcher: Watcher, run: Run) -> int:  # noqa: ARG002  # as above
        self.came.append(run)
        return len(run)

    def revisions(self) -> list[list[int] | int]:
        return [
            each if isinstance(each, int) else [revision for revision, _ in each]
            for each in self.came
        ]


def _watch(database: Database, keys: KeyRange, start: int = 0, **wants: bool) -> _Runs:
    sink = _Runs()
    database.hub.add(Watcher(0, keys, sink, start_revision=start, **wants))
    return sink


def _change(database: Database, *changes: Iterable[Operation]) -> None:
    with database.group():
        for operations in changes:
            database.apply(operations)


def test_all_who_want_the_same_are_offered_the_same_object() -> None:
    database = Database()
    exact, prefix, everything = (_watch(database, keys) for keys in (FOO, PREFIX, ALL_KEYS))
    with_prev = _watch(database, FOO, prev_kv=True)
    puts, deletes = _watch(database, FOO, no_delete=True), _watch(database, FOO, no_put=True)
    _change(database, [Put(b"foo")], [Put(b"foo", b"2")], [Delete(FOO)])
    assert exact.revisions() == with_prev.revisions() == [[2, 3, 4]]
    assert exact.came[0] is prefix.came[0] is everything.came[0]
    assert exact.came[0] != with_prev.came[0]
    assert (puts.revisions(), deletes.revisions()) == ([[2, 3]], [[4]])


def test_a_run_ends_with_another_key_and_with_a_revision_of_several_changes() -> None:
    database = Database()
    sink = _watch(database, ALL_KEYS)
    foo: list[Operation] = [Put(b"foo")]
    several: list[Operation] = [Put(b"foo"), Put(b"bar")]
    _change(database, foo, foo, [Put(b"bar")], foo, foo, several, foo)
    assert sink.revisions() == [[2, 3], 4, [5, 6], 7, 8]


def test_a_run_is_no_longer_than_its_bound() -> None:
    database = Database()
    sink = _watch(database, FOO)
    _change(database, *([Put(b"foo")] for _ in range(2 * RUN_REVISIONS_MAX + 1)))
    first = 2 + RUN_REVISIONS_MAX
    last = first + RUN_REVISIONS_MAX
    assert sink.revisions() == [list(range(2, first)), list(range(first, last)), last]


def test_a_watcher_of_the_future_is_offered_what_is_left_of_a_run() -> None:
    database = Database()
    sink = _watch(database, FOO, start=4)
    _change(database, *([Put(b"foo")] for _ in range(4)))
    assert sink.revisions() == [[4, 5]]
    late = _watch(database, FOO, start=9)
    _change(database, *([Put(b"foo")] for _ in range(3)))
    assert late.revisions() == []


def test_a_watcher_that_is_refused_within_a_run_goes_on_where_that_was() -> None:
    database = Database()
    slow, sink = watch(database, FOO, room=2, no_delete=True)
    put: list[Operation] = [Put(b"foo")]
    _change(database, put, [Delete(FOO)], put, put)
    assert sink.brief() == [(2, ["put foo"]), (4, ["put foo"])]
    assert (slow.is_synced, slow.next_revision) == (False, 5)


@given(
    st.lists(
        st.lists(st.lists(puts, min_size=1, max_size=1) | transactions, max_size=6), max_size=4
    ),
    key_ranges.filter(lambda keys: not keys.is_empty),
    st.integers(0, 8),
    st.integers(0, 8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_is_heard_does_not_depend_on_the_groups(
    groups: list[list[list[Operation]]],
    keys: KeyRange,
    start: int,
    room: int,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
) -> None:
    heard: list[tuple[Recorder, Watcher]] = []
    for in_groups in (True, False):
        database = Database()
        watcher, sink = watch(
            database, keys, start=start, room=room, no_put=no_put, no_delete=no_delete,
            prev_kv=prev_kv,
        )  # fmt: skip
        for group in groups:
            for some in [group] if in_groups else [[each] for each in group]:
                _change(database, *some)
        heard.append((sink, watcher))
    (sink, watcher), (alone_sink, alone) = heard
    assert sink.responses == alone_sink.responses
    assert (watcher.is_synced, watcher.next_revision) == (alone.is_synced, alone.next_revision)
