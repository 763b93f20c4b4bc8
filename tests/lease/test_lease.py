"""The keys of one lease have one form for each count, and the remaining time is plain."""

from __future__ import annotations

import math

from lease.lease import FOREVER, Lease
from tests.lease.support import L1


def form(lease: Lease) -> object:
    """How the lease holds its keys."""
    return lease.keys


def test_one_key_is_held_inline_and_a_set_begins_with_the_second() -> None:
    lease = Lease(L1, 10, 0)
    assert (form(lease), lease.key_count, lease.sorted_keys()) == (None, 0, [])
    lease.add_key(b"b")
    assert (form(lease), lease.key_count, lease.sorted_keys()) == (b"b", 1, [b"b"])
    lease.add_key(b"a")
    assert (form(lease), lease.key_count) == ({b"a", b"b"}, 2)
    lease.add_key(b"c")
    assert (lease.key_count, lease.sorted_keys()) == (3, [b"a", b"b", b"c"])


def test_a_set_that_shrinks_to_one_key_ends() -> None:
    lease = Lease(L1, 10, 0, {b"a", b"b", b"c"})
    lease.remove_key(b"b")
    assert form(lease) == {b"a", b"c"}
    lease.remove_key(b"a")
    assert form(lease) == b"c"
    lease.remove_key(b"c")
    assert form(lease) is None


def test_keys_sort_as_bytes_and_not_as_text() -> None:
    keys = {b"\xff", b"a", b"", b"a\x00", b"Z"}
    assert Lease(L1, 10, 0, keys).sorted_keys() == [b"", b"Z", b"a", b"a\x00", b"\xff"]


def test_the_list_of_keys_is_left_alone_by_what_happens_later() -> None:
    """TestLeaseConcurrentKeys: etcd needs a lock for it."""
    lease = Lease(L1, 10, 0, {b"a", b"b", b"c"})
    for key in lease.sorted_keys():
        lease.remove_key(key)
    assert lease.keys is None


def test_remaining_time_goes_below_zero_and_has_no_end_without_a_primary() -> None:
    lease = Lease(L1, 10, 15.0)
    assert [lease.remaining(now) for now in (5.0, 14.5, 15.0, 17.0)] == [10.0, 0.5, 0.0, -2.0]
    lease.expiry = FOREVER
    assert lease.remaining(17.0) == math.inf
