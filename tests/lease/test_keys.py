"""A key belongs to at most one lease, and both sides always know it."""

from __future__ import annotations

import pytest

from lease.errors import LeaseNotFoundError
from lease.lessor import NO_LEASE, Lessor
from tests.lease.support import L1, L2, L3, build


@pytest.fixture
def lessor() -> Lessor:
    lessor = build().lessor
    lessor.grant(L1, 5, now=0)
    lessor.grant(L2, 5, now=0)
    return lessor


def test_an_attached_key_names_its_lease_and_the_lease_its_keys(lessor: Lessor) -> None:
    assert lessor.get_lease(b"a") == NO_LEASE
    lessor.attach(L1, [b"b", b"a"])
    assert (lessor.get_lease(b"a"), lessor.get_lease(b"b")) == (L1, L1)
    assert lessor.lookup(L1).sorted_keys() == [b"a", b"b"]
    lessor.check_invariants(0)


def test_a_key_moved_to_another_lease_leaves_the_old_one(lessor: Lessor) -> None:
    lessor.attach(L1, [b"a", b"b"])
    lessor.attach(L2, [b"a"])
    assert lessor.lookup(L1).sorted_keys() == [b"b"]
    assert lessor.lookup(L2).sorted_keys() == [b"a"]
    assert lessor.get_lease(b"a") == L2
    lessor.check_invariants(0)


def test_attaching_a_key_to_its_own_lease_again_changes_nothing(lessor: Lessor) -> None:
    lessor.attach(L1, [b"a"])
    lessor.attach(L1, [b"a", b"a"])
    assert lessor.lookup(L1).keys == b"a"
    assert lessor.stats().keys == 1
    lessor.attach(L1, [b"b"])
    held = lessor.lookup(L1).keys
    lessor.attach(L1, [b"a", b"b"])
    assert lessor.lookup(L1).keys is held
    lessor.check_invariants(0)


def test_attaching_to_an_unknown_lease_is_refused_before_any_key_moves(lessor: Lessor) -> None:
    lessor.attach(L1, [b"a"])
    with pytest.raises(LeaseNotFoundError):
        lessor.attach(L3, [b"a", b"b"])
    assert (lessor.get_lease(b"a"), lessor.get_lease(b"b")) == (L1, NO_LEASE)


def test_a_due_lease_still_takes_keys_until_it_is_revoked(lessor: Lessor) -> None:
    assert len(lessor.expired(5, limit=9)) == 2
    lessor.attach(L1, [b"a"])
    assert lessor.revoke(L1) == 1


def test_detaching_removes_only_the_named_key(lessor: Lessor) -> None:
    """TestLessorDetach."""
    lessor.attach(L1, [b"foo", b"bar"])
    lessor.detach(L1, [b"foo"])
    assert lessor.lookup(L1).keys == b"bar"
    assert (lessor.get_lease(b"foo"), lessor.get_lease(b"bar")) == (NO_LEASE, L1)
    lessor.check_invariants(0)


def test_detaching_ignores_keys_of_other_leases_and_of_none(lessor: Lessor) -> None:
    lessor.attach(L1, [b"a"])
    lessor.attach(L2, [b"b"])
    lessor.detach(L1, [b"b", b"c", b"a", b"a"])
    assert (lessor.get_lease(b"a"), lessor.get_lease(b"b")) == (NO_LEASE, L2)
    assert lessor.lookup(L2).keys == b"b"
    lessor.check_invariants(0)


def test_detaching_from_an_unknown_lease_is_refused(lessor: Lessor) -> None:
    with pytest.raises(LeaseNotFoundError):
        lessor.detach(L3, [b"a"])


def test_a_key_attached_again_after_its_detachment_is_attached(lessor: Lessor) -> None:
    lessor.attach(L1, [b"a"])
    lessor.detach(L1, [b"a"])
    lessor.attach(L2, [b"a"])
    assert lessor.get_lease(b"a") == L2
    lessor.check_invariants(0)


def test_leases_with_and_without_keys_are_counted_as_keys_come_and_go(lessor: Lessor) -> None:
    def counts() -> tuple[int, int, int]:
        stats = lessor.stats()
        return stats.leases, stats.keyless, stats.keys

    assert counts() == (2, 2, 0)
    lessor.attach(L1, [b"a", b"b"])
    assert counts() == (2, 1, 2)
    lessor.attach(L2, [b"a"])
    assert counts() == (2, 0, 2)
    lessor.attach(L2, [b"b"])
    assert counts() == (2, 1, 2)
    lessor.detach(L2, [b"a", b"b"])
    assert counts() == (2, 2, 0)
    lessor.attach(L1, [b"a"])
    lessor.revoke(L1)
    assert counts() == (1, 1, 0)
