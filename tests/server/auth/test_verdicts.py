"""Counts that follow each key, against looking at all keys each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lease.lessor import LeaseID
from mvcc.keyrange import KeyRange
from server.auth import verdicts as module
from server.auth.keyset import KeySet
from server.auth.verdicts import USERS_PER_LEASE_MAX, LeaseVerdicts

L1, L2 = LeaseID(1), LeaseID(2)
KEYS: Final = [b"a", b"b", b"c", b"d"]
RIGHTS: Final = {
    "all": KeySet([KeyRange(b"\0", None)]),
    "some": KeySet([KeyRange(b"a", b"c")]),
    "none": KeySet([]),
}


def _ask(verdicts: LeaseVerdicts, user: str, lease: LeaseID, keys: Iterable[bytes]) -> bool:
    return verdicts.may_write_all(user, RIGHTS[user], 1, lease, lambda: keys)


def _never() -> Iterable[bytes]:
    raise AssertionError("the keys are looked at once")


def test_keys_are_looked_at_once_and_then_followed() -> None:
    """etcd looks at all of them with each put: 740 puts a second at 20,000 keys of a lease."""
    verdicts = LeaseVerdicts()
    assert _ask(verdicts, "some", L1, [b"a", b"b"])

    def again() -> bool:
        return verdicts.may_write_all("some", RIGHTS["some"], 1, L1, _never)

    verdicts.moved(b"d", 0, L1)
    assert not again()
    verdicts.moved(b"c", 0, L1)
    verdicts.moved(b"d", L1, L2)
    assert not again()
    verdicts.moved(b"c", L1, 0)
    assert again()
    verdicts.moved(b"a", L1, 0)
    assert again()


def test_a_change_of_users_or_roles_forgets_all() -> None:
    verdicts = LeaseVerdicts()
    assert not _ask(verdicts, "none", L1, [b"a"])
    assert verdicts.may_write_all("none", RIGHTS["all"], 2, L1, lambda: [b"a"])


def test_a_lease_that_has_ended_leaves_nothing_to_its_namesake() -> None:
    verdicts = LeaseVerdicts()
    assert not _ask(verdicts, "none", L1, [b"a"])
    verdicts.ended(L1)
    assert len(verdicts) == 0
    assert _ask(verdicts, "none", L1, [])


def test_a_lease_is_counted_for_so_many_users_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "USERS_PER_LEASE_MAX", 2)
    assert USERS_PER_LEASE_MAX > 2
    verdicts = LeaseVerdicts()
    looks = []

    def keys_for(user: str) -> Callable[[], Iterable[bytes]]:
        def keys() -> Iterable[bytes]:
            looks.append(user)
            return [b"a"]

        return keys

    for user in ("all", "some", "all", "none", "some", "all"):
        verdicts.may_write_all(user, RIGHTS[user], 1, L1, keys_for(user))
    assert looks == ["all", "some", "none", "all"]


class VerdictMachine(RuleBasedStateMachine):
    """Model: which keys each lease has; a verdict is looked up by looking at all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts = LeaseVerdicts()
        self.lease_of: dict[bytes, LeaseID] = {}
        self.asked: set[tuple[str, LeaseID]] = set()

    @rule(key=st.sampled_from(KEYS), lease=st.sampled_from([0, L1, L2]))
    def a_key_moves(self, key: bytes, lease: LeaseID) -> None:
        old = self.lease_of.pop(key, LeaseID(0))
        if lease:
            self.lease_of[key] = lease
        if old != lease:
            self.verdicts.moved(key, old, lease)

    @rule(user=st.sampled_from(sorted(RIGHTS)), lease=st.sampled_from([L1, L2]))
    def a_user_asks(self, user: str, lease: LeaseID) -> None:
        self.asked.add((user, lease))

    @rule(lease=st.sampled_from([L1, L2]))
    def a_lease_ends(self, lease: LeaseID) -> None:
        self.lease_of = {key: owner for key, owner in self.lease_of.items() if owner != lease}
        self.verdicts.ended(lease)

    @invariant()
    def verdicts_are_those_of_all_keys(self) -> None:
        for user, lease in self.asked:
            keys = [key for key, owner in self.lease_of.items() if owner == lease]
            expected = all(RIGHTS[user].holds(key) for key in keys)
            assert _ask(self.verdicts, user, lease, keys) == expected


TestVerdicts = VerdictMachine.TestCase
