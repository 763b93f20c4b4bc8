"""A revoke deletes keys and record together, in a fixed order, and leaves nothing behind."""

from __future__ import annotations

import pytest

from lease.errors import LeaseNotFoundError
from lease.lease import REVOKED_AT_ONCE, SORTED_AT_ONCE
from lease.lessor import NO_LEASE
from tests.lease.support import L1, L2, build


def test_keys_go_in_byte_order_in_one_transaction_that_ends_after_the_record() -> None:
    """TestLessorRevoke."""
    bench = build()
    bench.lessor.grant(L1, 100, now=0)
    bench.lessor.attach(L1, [b"foo", b"bar", b"Foo", b"foo/1"])
    bench.journal.clear()
    assert bench.lessor.revoke(L1) == 4
    assert bench.journal == [
        "delete Foo",
        "delete bar",
        "delete foo",
        "delete foo/1",
        "forget 0000000000000001",
        "end",
    ]
    assert len(bench.deleter.opened) == 1


def test_a_lease_with_one_key_is_revoked_in_the_same_order() -> None:
    bench = build()
    bench.lessor.grant(L1, 100, now=0)
    bench.lessor.attach(L1, [b"foo"])
    bench.journal.clear()
    assert bench.lessor.revoke(L1) == 1
    assert bench.journal == ["delete foo", "forget 0000000000000001", "end"]


def test_a_lease_without_keys_spends_no_transaction_and_so_no_revision() -> None:
    bench = build()
    bench.lessor.grant(L1, 100, now=0)
    assert bench.lessor.revoke(L1) == 0
    assert bench.deleter.opened == []
    assert bench.bucket.rows == {}


def test_a_revoked_lease_is_in_no_map_and_its_keys_in_none() -> None:
    """TestLessorRevoke; the map sizes are etcd#16053."""
    bench = build()
    lease = bench.lessor.grant(L1, 100, now=0)
    bench.lessor.grant(L2, 100, now=0)
    bench.lessor.attach(L1, [b"a", b"b"])
    bench.lessor.attach(L2, [b"c"])
    bench.lessor.revoke(L1)
    with pytest.raises(LeaseNotFoundError):
        bench.lessor.lookup(L1)
    assert lease.keys is None
    assert [bench.lessor.get_lease(key) for key in (b"a", b"b", b"c")] == [NO_LEASE, NO_LEASE, L2]
    assert (bench.lessor.stats().leases, bench.lessor.stats().keys) == (1, 1)
    assert bench.bucket.ttls() == {L2: 100}
    bench.lessor.check_invariants(0)


def test_a_transaction_may_detach_what_it_deletes() -> None:
    """As etcd's store does; the lessor must not lose count (etcd#16053)."""
    bench = build()
    bench.deleter.on_delete = lambda key: bench.lessor.detach(L1, [key])
    bench.lessor.grant(L1, 100, now=0)
    bench.lessor.attach(L1, [b"a", b"b", b"c"])
    assert bench.lessor.revoke(L1) == 3
    assert bench.deleter.opened[0].keys == [b"a", b"b", b"c"]
    assert bench.lessor.stats().keys == 0
    bench.lessor.check_invariants(0)


def test_only_the_keys_still_attached_go_with_the_lease() -> None:
    """TestV3LeaseSwitch (tests/integration): the old lease's revoke leaves a moved key."""
    bench = build()
    bench.lessor.grant(L1, 100, now=0)
    bench.lessor.grant(L2, 100, now=0)
    bench.lessor.attach(L1, [b"moved", b"deleted", b"kept"])
    bench.lessor.attach(L2, [b"moved"])
    bench.lessor.detach(L1, [b"deleted"])
    assert bench.lessor.revoke(L1) == 1
    assert bench.lessor.revoke(L2) == 1
    assert [txn.keys for txn in bench.deleter.opened] == [[b"kept"], [b"moved"]]


def test_an_unknown_lease_cannot_be_revoked_and_a_known_one_only_once() -> None:
    bench = build()
    bench.lessor.grant(L1, 100, now=0)
    bench.lessor.attach(L1, [b"a"])
    bench.lessor.revoke(L1)
    for lease_id in (L1, L2, NO_LEASE):
        with pytest.raises(LeaseNotFoundError) as caught:
            bench.lessor.revoke(lease_id)
        assert caught.value.lease_id == lease_id
    assert len(bench.deleter.opened) == 1


def test_a_lease_can_be_revoked_without_a_primary() -> None:
    bench = build(primary=False)
    bench.lessor.grant(L1, 100, now=0)
    bench.lessor.attach(L1, [b"a"])
    assert bench.lessor.revoke(L1) == 1
    bench.lessor.check_invariants(0)


def test_very_many_keys_go_in_slices_in_the_same_order_and_one_transaction() -> None:
    benches = [build(), build()]
    keys = [b"%06d" % number for number in range(SORTED_AT_ONCE + 1)]
    for bench in benches:
        bench.lessor.grant(L1, 100, now=0)
        bench.lessor.grant(L2, 100, now=0)
        bench.lessor.attach(L1, keys)
        bench.lessor.attach(L2, [b"other"])
        bench.journal.clear()
    assert benches[0].lessor.revoke(L1) == len(keys)
    steps = benches[1].lessor.revoke_in_slices(L1)
    slices = sum(1 for _ in steps)
    assert slices == 2 + -(-len(keys) // REVOKED_AT_ONCE) + 2
    assert benches[0].journal == benches[1].journal
    for bench in benches:
        assert (bench.lessor.stats().leases, bench.lessor.stats().keys) == (1, 1)
        bench.lessor.check_invariants(0)
    with pytest.raises(LeaseNotFoundError):
        next(benches[1].lessor.revoke_in_slices(L1))
