"""Keys in byte order, the living apart from the dead."""

from __future__ import annotations

import pytest

from mvcc.index import GONE_MAX, Index
from mvcc.keyrange import KeyRange

ALL = KeyRange(b"\0", None)


@pytest.fixture
def index() -> Index:
    """a, c and \xff live; b is deleted at 5; d was deleted and lives again."""
    index = Index()
    for main, key in enumerate((b"c", b"a", b"b", b"d", b"\xff"), 2):
        index.put(key, b"frame", main, main, 0, 1, 0)
    index.delete(b"b", 7, 0)
    index.delete(b"d", 7, 1)
    index.put(b"d", b"again", 8, 8, 0, 1, 9)
    index.check_invariants()
    return index


def test_the_present_shows_the_living_and_the_past_also_the_dead(index: Index) -> None:
    assert len(index) == 4
    assert index.keys(ALL) == [b"a", b"c", b"d", b"\xff"]
    assert index.keys_ever(ALL) == [b"a", b"b", b"c", b"d", b"\xff"]
    assert index.live(b"b") is None
    assert index.live(b"nothing") is None
    entry = index.live(b"d")
    assert entry is not None
    assert (entry.frame, entry.create_revision, entry.version, entry.lease) == (b"again", 8, 1, 9)


def test_a_deleted_key_keeps_its_revision_and_nothing_else(index: Index) -> None:
    entry = index.entries[b"b"]
    assert (entry.frame, entry.mod_revision, entry.sub) == (None, 7, 0)
    assert (entry.create_revision, entry.version, entry.lease) == (0, 0, 0)


@pytest.mark.parametrize(
    ("keys", "living", "ever"),
    [
        (KeyRange(b"a", b"d"), [b"a", b"c"], [b"a", b"b", b"c"]),
        (KeyRange(b"b", b"c"), [], [b"b"]),
        (KeyRange(b"b", None), [b"c", b"d", b"\xff"], [b"b", b"c", b"d", b"\xff"]),
        (KeyRange(b"c", b"c"), [], []),
        (KeyRange(b"d", b"a"), [], []),
    ],
)
def test_a_range_holds_its_start_and_not_its_end(
    index: Index, keys: KeyRange, living: list[bytes], ever: list[bytes]
) -> None:
    assert index.keys(keys) == living
    assert index.keys(keys, reverse=True) == living[::-1]
    assert index.count(keys) == len(living)
    assert index.keys_ever(keys) == ever


def test_a_limit_cuts_from_the_side_it_begins_at(index: Index) -> None:
    assert [len(index.keys(ALL, limit)) for limit in range(6)] == [4, 1, 2, 3, 4, 4]
    assert index.keys(ALL, 2) == [b"a", b"c"]
    assert index.keys(ALL, 2, reverse=True) == [b"\xff", b"d"]


def test_a_key_of_which_only_the_tombstone_is_left_can_be_dropped(index: Index) -> None:
    index.entries[b"b"].drop_older_than(7, 0)
    index.drop(b"b")
    index.check_invariants()
    assert index.keys_ever(ALL) == [b"a", b"c", b"d", b"\xff"]


def test_loading_sorts_the_living_from_the_dead(index: Index) -> None:
    other = Index()
    other.load(dict(reversed(index.entries.items())))
    other.check_invariants()
    assert (other.keys(ALL), other.keys_ever(ALL)) == (index.keys(ALL), index.keys_ever(ALL))


def test_deleted_keys_move_when_somebody_looks_or_when_very_many_have_gathered() -> None:
    """Be they put anew before or after that, each is where it belongs."""
    index = Index()
    keys = [b"%05d" % number for number in range(GONE_MAX + 2)]
    for main, key in enumerate(keys, 2):
        index.put(key, b"frame", main, main, 0, 1, 0)
    for main, key in enumerate(keys[:GONE_MAX], 20_000):
        index.delete(key, main, 0)
        if main % 1_000 == 0 or main >= 20_000 + GONE_MAX - 2:
            index.check_invariants()
            assert len(index) == len(keys) - (main - 20_000) - 1
    index.delete(keys[-1], 40_000, 0)
    index.put(keys[0], b"again", 40_001, 40_001, 0, 1, 0)  # Moved, and comes back.
    index.put(keys[-1], b"again", 40_002, 40_002, 0, 1, 0)  # Never moved.
    index.check_invariants()
    assert index.keys(ALL) == [keys[0], *keys[-2:]]
    assert index.keys_ever(ALL) == keys
