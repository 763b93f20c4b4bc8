"""grpc-python: leases, and the stream that renews them."""

import time

import grpc
import pytest

from compat.grpc_python import Client, Stream, kv, refused, rpc

TTL_S = 2  # The shortest at etcd's defaults.
LATE_MAX_S = 10.0
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def renew(stream: Stream, lease_id: int) -> int:
    """Renew a lease; the TTL that is told."""
    stream.send(rpc.LeaseKeepAliveRequest(ID=lease_id))
    response = stream.receive()
    assert lease_id == response.ID
    ttl: int = response.TTL
    return ttl


def revoke(client: Client, lease_id: int) -> None:
    client.Lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease_id))


def time_to_live(client: Client, lease_id: int) -> rpc.LeaseTimeToLiveResponse:
    request = rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=True)
    response: rpc.LeaseTimeToLiveResponse = client.Lease.LeaseTimeToLive(request)
    return response


def test_a_lease_is_granted_listed_told_of_and_revoked(client: Client, prefix: str) -> None:
    granted = client.grant(600)
    assert (granted.TTL, granted.error) == (600, "")
    assert granted.ID > 0
    client.put(f"{prefix}a", lease=granted.ID)
    told = time_to_live(client, granted.ID)
    assert (told.ID, told.grantedTTL, list(told.keys)) == (granted.ID, 600, [f"{prefix}a".encode()])
    assert 590 <= told.TTL < 600
    leases = client.Lease.LeaseLeases(rpc.LeaseLeasesRequest()).leases
    assert granted.ID in {each.ID for each in leases}
    revoke(client, granted.ID)
    assert client.get(f"{prefix}a").count == 0
    assert time_to_live(client, granted.ID).TTL == -1
    leases = client.Lease.LeaseLeases(rpc.LeaseLeasesRequest()).leases
    assert granted.ID not in {each.ID for each in leases}


def test_refusals_have_code_and_text(client: Client) -> None:
    client.grant(600, 4801)
    with pytest.raises(grpc.RpcError) as error:
        client.grant(600, 4801)
    code = grpc.StatusCode.FAILED_PRECONDITION
    assert refused(error) == (code, "etcdserver: lease already exists")
    revoke(client, 4801)
    with pytest.raises(grpc.RpcError) as error:
        revoke(client, 4801)
    assert refused(error) == NOT_FOUND
    with pytest.raises(grpc.RpcError) as error:
        client.grant(9_000_000_001)
    code = grpc.StatusCode.OUT_OF_RANGE
    assert refused(error) == (code, "etcdserver: too large lease TTL")


def test_renewals_of_many_leases_on_one_stream_are_answered_in_order(client: Client) -> None:
    leases = [client.grant(600 + number).ID for number in range(100)]
    with client.keep_alive() as stream:
        for lease_id in [*leases, 4802, *leases]:
            stream.send(rpc.LeaseKeepAliveRequest(ID=lease_id))
        answers = [stream.receive() for _ in range(201)]
        ttls = [600 + number for number in range(100)]
        assert [answer.ID for answer in answers] == [*leases, 4802, *leases]
        assert [answer.TTL for answer in answers] == [*ttls, 0, *ttls]
        stream.end()
        with pytest.raises(StopIteration):
            stream.receive()
    for lease_id in leases:
        revoke(client, lease_id)


def test_one_stream_keeps_a_lease_for_as_long_as_it_renews_it(client: Client, prefix: str) -> None:
    kept = client.grant(2 * TTL_S).ID
    start = time.monotonic()
    client.put(f"{prefix}kept", "x", lease=kept)
    request = rpc.WatchCreateRequest(key=prefix.encode(), range_end=prefix[:-1].encode() + b"0")
    with client.watch() as watch, client.keep_alive() as stream:
        watch.send(rpc.WatchRequest(create_request=request))
        assert watch.receive().created
        # Leases that nobody renews tell the time.
        while time.monotonic() - start < 3 * TTL_S:
            client.put(f"{prefix}left", "x", lease=client.grant(TTL_S).ID)
            assert renew(stream, kept) == 2 * TTL_S
            renewed = time.monotonic()
            events = [event for event in watch.events(2) if event.type == kv.Event.DELETE]
            assert [event.kv.key for event in events] == [f"{prefix}left".encode()]
        stream.end()
        [event] = watch.events(1)
        assert event.kv.key == f"{prefix}kept".encode()
        assert 2 * TTL_S <= time.monotonic() - renewed <= 2 * TTL_S + LATE_MAX_S
    assert time_to_live(client, kept).TTL == -1


def test_a_lease_belongs_to_no_stream(client: Client) -> None:
    lease_id = client.grant(600).ID
    with client.keep_alive() as stream:
        assert renew(stream, lease_id) == 600
    with client.keep_alive() as stream:
        assert renew(stream, lease_id) == 600
        revoke(client, lease_id)
        assert renew(stream, lease_id) == 0


def test_revoking_deletes_the_keys_in_order_in_one_revision(client: Client, prefix: str) -> None:
    lease_id = client.grant(600).ID
    for name in ("b", "c", "a"):
        last = client.put(prefix + name, name, lease=lease_id).header.revision
    request = rpc.WatchCreateRequest(key=prefix.encode(), range_end=prefix[:-1].encode() + b"0")
    with client.watch() as watch:
        watch.send(rpc.WatchRequest(create_request=request))
        assert watch.receive().created
        revoke(client, lease_id)
        response = watch.receive()
        assert [event.kv.key.decode()[-1] for event in response.events] == ["a", "b", "c"]
        assert {event.kv.mod_revision for event in response.events} == {last + 1}
