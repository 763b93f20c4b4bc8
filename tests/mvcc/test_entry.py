"""etcd's worked example of a key's generations (server/storage/mvcc/key_index.go), step by step.

There the key "foo" is put at 1.0, 2.0, deleted at 3.0, put at 4.0, deleted at 5.0.
"""

from __future__ import annotations

import pytest

from mvcc.entry import Entry, Version

PUT_1 = Version(1, 0, is_tombstone=False)
PUT_2 = Version(2, 0, is_tombstone=False)
DELETED_3 = Version(3, 0, is_tombstone=True)
PUT_4 = Version(4, 0, is_tombstone=False)
DELETED_5 = Version(5, 0, is_tombstone=True)
HISTORY = [PUT_1, PUT_2, DELETED_3, PUT_4, DELETED_5]


def entry_of(*versions: Version) -> Entry:
    entry = Entry()
    for number, version in enumerate(versions):
        if number:
            entry.supersede()
        entry.mod_revision, entry.sub = version.main, version.sub
        entry.frame = None if version.is_tombstone else b"frame"
    return entry


def versions_of(entry: Entry) -> list[Version]:
    return list(entry.since(0, entry.mod_revision))


def test_the_newest_version_at_or_below_a_revision_is_found() -> None:
    """TestKeyIndexGet, server/storage/mvcc/key_index_test.go."""
    entry = entry_of(*HISTORY)
    as_of = [entry.as_of(revision) for revision in range(7)]
    assert as_of == [None, PUT_1, PUT_2, DELETED_3, PUT_4, DELETED_5, DELETED_5]


def test_a_key_of_one_version_was_not_there_before_it() -> None:
    entry = entry_of(PUT_2)
    assert [entry.as_of(revision) for revision in (1, 2, 3)] == [None, PUT_2, PUT_2]


def test_within_one_revision_the_last_change_counts() -> None:
    first, second, third = Version(2, 0, False), Version(2, 3, True), Version(2, 4, False)
    entry = entry_of(PUT_1, first, second, third)
    assert (entry.as_of(1), entry.as_of(2)) == (PUT_1, third)
    entry = entry_of(PUT_1, first, second, PUT_4)
    assert (entry.as_of(1), entry.as_of(2), entry.as_of(3)) == (PUT_1, second, second)


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("last", range(7))
def test_the_versions_between_two_revisions_include_both_ends(first: int, last: int) -> None:
    """TestKeyIndexSince, server/storage/mvcc/key_index_test.go."""
    expected = [version for version in HISTORY if first <= version.main <= last]
    assert list(entry_of(*HISTORY).since(first, last)) == expected


def test_a_key_of_one_version_has_it_since_then_only() -> None:
    entry = entry_of(PUT_2)
    assert [list(entry.since(at, 9)) for at in (1, 2, 3)] == [[PUT_2], [PUT_2], []]


@pytest.mark.parametrize("kept_from", range(len(HISTORY)))
def test_what_is_older_than_a_version_is_dropped_and_told(kept_from: int) -> None:
    entry, version = entry_of(*HISTORY), HISTORY[kept_from]
    assert entry.drop_older_than(version.main, version.sub) == HISTORY[:kept_from]
    assert versions_of(entry) == HISTORY[kept_from:]
    assert (entry.older is None) == (kept_from == 4)
    assert entry.drop_older_than(version.main, version.sub) == []


def test_dropping_what_is_older_goes_by_sub_within_one_revision() -> None:
    versions = [Version(2, sub, is_tombstone=False) for sub in range(4)]
    entry = entry_of(*versions)
    assert entry.drop_older_than(2, 0) == []
    assert entry.drop_older_than(2, 2) == versions[:2]
    assert versions_of(entry) == versions[2:]


def test_the_oldest_version_can_be_dropped_by_itself() -> None:
    entry = entry_of(PUT_2, DELETED_3, PUT_4)
    entry.drop_oldest()
    assert versions_of(entry) == [DELETED_3, PUT_4]
    entry.drop_oldest()
    assert versions_of(entry) == [PUT_4]
    assert entry.older is None


def test_the_largest_revision_fits() -> None:
    largest = Version(2**63 - 2, 2**32, is_tombstone=False)
    newer = Version(2**63 - 1, 0, is_tombstone=True)
    assert versions_of(entry_of(largest, newer)) == [largest, newer]
