"""etcd3gw: leases, whose renewal is a request and an answer, and the locks made of them."""

import json
import time
from collections.abc import Callable

import pytest
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from etcd3gw.lease import Lease

TTL_S = 2  # The shortest at etcd's defaults.
LATE_MAX_S = 10.0


def test_a_lease_tells_its_ttl_and_its_keys(client: Etcd3Client, prefix: str) -> None:
    lease = client.lease(600)
    assert 590 <= lease.ttl() < 600
    assert lease.keys() == []
    for name in ("a", "b"):
        client.put(prefix + name, name, lease=lease)
    assert sorted(lease.keys()) == [f"{prefix}a".encode(), f"{prefix}b".encode()]
    [(_, metadata)] = client.get(f"{prefix}a", metadata=True)
    assert metadata["lease"] == str(lease.id)
    assert lease.refresh() == 600
    assert lease.revoke() is True
    assert client.get_prefix(prefix) == []


def test_a_lease_that_is_not_there_is_told_in_etcds_ways(client: Etcd3Client) -> None:
    lease = Lease(4832, client=client)
    with pytest.raises(Etcd3Exception) as error:
        lease.revoke()
    refused = json.loads(error.value.detail_text)
    assert (refused["code"], refused["error"]) == (5, "etcdserver: requested lease not found")
    assert (lease.refresh(), lease.ttl(), lease.keys()) == (-1, -1, [])


def test_all_leases_are_listed(client: Etcd3Client) -> None:
    leases = [client.lease(600) for _ in range(3)]
    listed = client.post(client.get_url("/lease/leases"), json={})["leases"]
    assert {str(lease.id) for lease in leases} <= {each["ID"] for each in listed}


def test_a_key_is_created_once_with_a_lease(client: Etcd3Client, prefix: str) -> None:
    lease = client.lease(600)
    assert client.create(f"{prefix}key", "x", lease=lease) is True
    assert lease.keys() == [f"{prefix}key".encode()]
    lease.revoke()
    assert client.create(f"{prefix}key", "x") is True


def test_a_lease_runs_out_not_early_and_a_refresh_starts_it_over(
    client: Etcd3Client, prefix: str
) -> None:
    events, cancel = client.watch_prefix(prefix, filters=["NOPUT"])
    start = time.monotonic()
    kept, left = client.lease(2 * TTL_S), client.lease(TTL_S)
    client.put(f"{prefix}kept", "x", lease=kept)
    client.put(f"{prefix}left", "x", lease=left)
    assert next(events)["kv"]["key"] == f"{prefix}left".encode()
    assert TTL_S <= time.monotonic() - start <= TTL_S + LATE_MAX_S
    renewed = time.monotonic()
    assert kept.refresh() == 2 * TTL_S
    assert left.refresh() == -1
    assert next(events)["kv"]["key"] == f"{prefix}kept".encode()
    assert 2 * TTL_S <= time.monotonic() - renewed <= 2 * TTL_S + LATE_MAX_S
    cancel()


def test_a_lock_is_held_by_one(connect: Callable[[], Etcd3Client], prefix: str) -> None:
    mine, theirs = connect().lock(prefix, ttl=60), connect().lock(prefix, ttl=60)
    assert mine.acquire() is True
    assert mine.is_acquired()
    assert theirs.acquire() is False
    assert theirs.release() is False
    assert mine.refresh() == 60
    assert mine.release() is True
    with theirs:
        assert theirs.is_acquired()
        assert not mine.is_acquired()
    assert not theirs.is_acquired()


def test_a_lock_not_refreshed_ends_with_its_ttl_and_not_before(
    client: Etcd3Client, prefix: str
) -> None:
    mine, theirs = client.lock(prefix, ttl=TTL_S), client.lock(prefix, ttl=60)
    start = time.monotonic()
    assert mine.acquire() is True
    while not theirs.acquire():
        assert time.monotonic() - start <= TTL_S + LATE_MAX_S
    assert time.monotonic() - start >= TTL_S
    assert mine.refresh() == -1
    assert theirs.release() is True
