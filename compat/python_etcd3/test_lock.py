"""python-etcd3's Lock: a key with a lease, put if it is not there, and a watch while it is."""

import threading
import time

import pytest

from compat.python_etcd3 import Connect, etcd3

TTL_S = 2
LATE_MAX_S = 10.0


def test_a_lock_is_held_by_one_of_two_clients(connect: Connect, prefix: str) -> None:
    mine = connect().lock(prefix, ttl=60)
    theirs = connect().lock(prefix, ttl=60)
    assert mine.acquire(timeout=1)
    assert mine.is_acquired()
    assert not theirs.acquire(timeout=0)
    assert not theirs.is_acquired()
    assert theirs.release() is False
    assert mine.is_acquired()
    assert mine.release() is True
    assert theirs.acquire(timeout=1)
    assert not mine.is_acquired()
    assert theirs.release() is True


def test_a_waiting_client_gets_the_lock_when_it_is_released(connect: Connect, prefix: str) -> None:
    mine = connect().lock(prefix, ttl=60)
    theirs = connect().lock(prefix, ttl=60)
    assert mine.acquire(timeout=1)
    got = threading.Event()

    def wait_for_it() -> None:
        if theirs.acquire(timeout=None):
            got.set()

    waiter = threading.Thread(target=wait_for_it, daemon=True)
    waiter.start()
    # The waiter has been refused once it has granted its lease and forgotten it again.
    assert not got.wait(0.2)
    assert mine.release()
    assert got.wait(LATE_MAX_S)
    waiter.join()
    assert theirs.is_acquired()
    theirs.release()


def test_a_lock_not_refreshed_ends_with_its_ttl_and_not_before(
    connect: Connect, prefix: str
) -> None:
    mine = connect().lock(prefix, ttl=TTL_S)
    theirs = connect().lock(prefix, ttl=60)
    start = time.monotonic()
    assert mine.acquire(timeout=1)
    assert theirs.acquire(timeout=TTL_S + LATE_MAX_S)
    assert time.monotonic() - start >= TTL_S
    assert not mine.is_acquired()
    assert mine.release() is False
    assert theirs.release() is True


def test_a_lock_is_kept_by_refreshing_it(connect: Connect, prefix: str) -> None:
    mine = connect().lock(prefix, ttl=TTL_S)
    theirs = connect().lock(prefix, ttl=60)
    with pytest.raises(ValueError, match="have you acquired"):
        mine.refresh()
    assert mine.acquire(timeout=1)
    start = time.monotonic()
    while time.monotonic() - start < TTL_S + 1:
        assert not theirs.acquire(timeout=TTL_S / 4)
        assert [answer.TTL for answer in mine.refresh()] == [TTL_S]
    assert mine.is_acquired()
    mine.release()


def test_a_lock_is_a_context_manager(client: etcd3.Etcd3Client, prefix: str) -> None:
    with client.lock(prefix, ttl=60) as lock:
        assert lock.is_acquired()
        assert client.get(f"/locks/{prefix}")[1].lease_id == lock.lease.id
    assert not lock.is_acquired()
