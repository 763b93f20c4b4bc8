"""python-etcd3: leases. It keeps none alive by itself: a refresh is a stream of one request."""

import time

import grpc
import pytest

from compat.python_etcd3 import Connect, etcd3, refused

TTL_S = 2  # The shortest at etcd's defaults.
LATE_MAX_S = 10.0
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def test_a_lease_tells_its_ttl_and_its_keys(client: etcd3.Etcd3Client, prefix: str) -> None:
    lease = client.lease(600)
    assert lease.ttl == 600
    assert lease.id > 0
    assert 595 <= lease.remaining_ttl < 600
    assert lease.granted_ttl == 600
    assert list(lease.keys) == []
    for name in ("b", "a"):
        client.put(prefix + name, "x", lease=lease)
    assert sorted(lease.keys) == [f"{prefix}a".encode(), f"{prefix}b".encode()]
    assert client.get(f"{prefix}a")[1].lease_id == lease.id


def test_two_leases_have_two_ids(client: etcd3.Etcd3Client) -> None:
    assert client.lease(600).id != client.lease(600).id


@pytest.mark.parametrize("lease_id", [4712, -4712])
def test_an_id_of_ones_own_is_taken_once(client: etcd3.Etcd3Client, lease_id: int) -> None:
    lease = client.lease(600, lease_id=lease_id)
    assert (lease.id, lease.ttl) == (lease_id, 600)
    with pytest.raises(etcd3.exceptions.PreconditionFailedError) as error:
        client.lease(700, lease_id=lease_id)
    cause = error.value.__context__
    assert cause.details() == "etcdserver: lease already exists"
    assert client.get_lease_info(lease_id).grantedTTL == 600
    lease.revoke()
    assert client.lease(700, lease_id=lease_id).ttl == 700
    client.revoke_lease(lease_id)


def test_a_ttl_below_the_floor_is_raised_and_one_above_the_ceiling_refused(
    client: etcd3.Etcd3Client,
) -> None:
    for asked in (1, 0, -1):
        assert client.lease(asked).ttl == TTL_S
    with pytest.raises(grpc.RpcError) as error:
        client.lease(9_000_000_001)
    assert refused(error) == (grpc.StatusCode.OUT_OF_RANGE, "etcdserver: too large lease TTL")
    client.lease(9_000_000_000).revoke()


def test_a_lease_that_is_not_there_is_told_in_etcds_ways(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    for lease_id in (4713, -4713, 0):
        with pytest.raises(grpc.RpcError) as error:
            client.revoke_lease(lease_id)
        assert refused(error) == NOT_FOUND
        [answer] = client.refresh_lease(lease_id)
        assert lease_id == answer.ID
        assert answer.TTL == 0
        info = client.get_lease_info(lease_id)
        assert (info.ID, info.TTL, info.grantedTTL, list(info.keys)) == (lease_id, -1, 0, [])
    for lease_id in (4713, -4713):
        with pytest.raises(grpc.RpcError) as error:
            client.put(f"{prefix}key", "value", lease=lease_id)
        assert refused(error) == NOT_FOUND
    assert client.get(f"{prefix}key") == (None, None)


def test_revoking_deletes_the_keys_in_byte_order_in_one_revision(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    lease = client.lease(600)
    for name in ("b", "c", "a"):
        last = client.put(prefix + name, name, lease=lease).header.revision
    responses, cancel = client.watch_prefix_response(prefix, start_revision=last + 1, prev_kv=True)
    lease.revoke()
    response = next(responses)
    cancel()
    assert response.header.revision == last + 1
    assert [event.key for event in response.events] == [f"{prefix}{n}".encode() for n in "abc"]
    for event in response.events:
        assert isinstance(event, etcd3.events.DeleteEvent)
        assert (event.mod_revision, event.create_revision, event.version) == (last + 1, 0, 0)
        assert event.prev_value == event.key[-1:]
    with pytest.raises(grpc.RpcError) as error:
        lease.revoke()
    assert refused(error) == NOT_FOUND


def test_granting_and_revoking_without_keys_use_no_revision(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    before = client.put(f"{prefix}key", "value").header.revision
    client.lease(600).revoke()
    assert client.get_response(f"{prefix}key").header.revision == before


def test_a_lease_runs_out_not_early_and_a_refresh_starts_it_over(
    client: etcd3.Etcd3Client, prefix: str
) -> None:
    start = time.monotonic()
    refreshed, left = client.lease(TTL_S), client.lease(TTL_S)
    client.put(f"{prefix}refreshed", "x", lease=refreshed)
    client.put(f"{prefix}left", "x", lease=left)
    events, cancel = client.watch_prefix(prefix)
    with pytest.raises(etcd3.exceptions.WatchTimedOut):
        client.watch_prefix_once(prefix, timeout=TTL_S / 2)
    renewed = time.monotonic()
    [answer] = refreshed.refresh()
    assert refreshed.id == answer.ID
    assert answer.TTL == TTL_S
    assert next(events).key == f"{prefix}left".encode()
    assert TTL_S <= time.monotonic() - start <= TTL_S + LATE_MAX_S
    assert next(events).key == f"{prefix}refreshed".encode()
    assert TTL_S <= time.monotonic() - renewed <= TTL_S + LATE_MAX_S
    cancel()
    for lease in (refreshed, left):
        assert [answer.TTL for answer in lease.refresh()] == [0]
        assert (lease.remaining_ttl, lease.granted_ttl) == (-1, 0)


def test_a_lease_belongs_to_no_connection(connect: Connect, prefix: str) -> None:
    granter = connect()
    lease = granter.lease(600)
    granter.put(f"{prefix}key", "value", lease=lease)
    granter.close()
    other = connect()
    assert [answer.TTL for answer in other.refresh_lease(lease.id)] == [600]
    other.revoke_lease(lease.id)
    assert other.get(f"{prefix}key") == (None, None)


def test_a_key_belongs_to_the_lease_of_its_last_put(client: etcd3.Etcd3Client, prefix: str) -> None:
    first, second = client.lease(600), client.lease(600)
    client.put(f"{prefix}key", "1", lease=first)
    client.put(f"{prefix}key", "2", lease=second)
    assert (list(first.keys), list(second.keys)) == ([], [f"{prefix}key".encode()])
    first.revoke()
    assert client.get(f"{prefix}key")[0] == b"2"
    client.put(f"{prefix}key", "3")
    second.revoke()
    assert client.get(f"{prefix}key")[0] == b"3"
