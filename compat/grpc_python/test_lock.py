"""grpc-python: locks that the server keeps, and what becomes of those who wait and go."""

import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from compat.grpc_python import Client, lock, refused, rpc
from compat.waiting import wait_until

TTL_S = 2  # The shortest at etcd's defaults.
UNKNOWN = grpc.StatusCode.UNKNOWN


def take(client: Client, name: str, lease: int = 0) -> lock.LockResponse:
    response: lock.LockResponse = client.Lock.Lock(
        lock.LockRequest(name=name.encode(), lease=lease), timeout=20
    )
    return response


def waiting(client: Client, name: str, lease: int = 0) -> Any:
    """A Lock call that is under way."""
    return client.Lock.Lock.future(lock.LockRequest(name=name.encode(), lease=lease), timeout=20)


def release(client: Client, key: bytes) -> lock.UnlockResponse:
    response: lock.UnlockResponse = client.Lock.Unlock(lock.UnlockRequest(key=key))
    return response


def queued(client: Client, name: str) -> int:
    return client.get(f"{name}/", range_end=f"{name}0".encode(), count_only=True).count


def test_a_lock_is_a_key_of_its_lease(client: Client, prefix: str) -> None:
    name, lease = f"{prefix}lock", client.grant(60).ID
    held = take(client, name, lease)
    assert held.key == f"{name}/{lease:x}".encode()
    [entry] = client.get(held.key.decode()).kvs
    assert (entry.value, entry.lease, entry.create_revision) == (b"", lease, held.header.revision)
    again = take(client, name, lease)
    assert again.key == held.key
    released = release(client, held.key)
    assert released.header.revision == held.header.revision + 1
    assert release(client, held.key).header.revision == released.header.revision


def test_without_a_lease_one_of_a_minute_is_granted(client: Client, prefix: str) -> None:
    held = take(client, f"{prefix}lock")
    lease = int(held.key.rpartition(b"/")[2], 16)
    told = client.Lease.LeaseTimeToLive(rpc.LeaseTimeToLiveRequest(ID=lease, keys=True))
    assert (told.grantedTTL, list(told.keys)) == (60, [held.key])


def test_a_lock_goes_to_the_next_in_line(connect: Callable[..., Client], prefix: str) -> None:
    client, name = connect(), f"{prefix}lock"
    held = take(client, name)
    second = waiting(client, name)
    wait_until(lambda: queued(client, name) == 2)
    third = waiting(client, name)
    wait_until(lambda: queued(client, name) == 3)
    released = release(client, held.key)
    got = second.result()
    assert got.header.revision >= released.header.revision
    assert not third.done()
    release(client, got.key)
    release(client, third.result().key)
    assert queued(client, name) == 0


def test_a_call_that_is_cancelled_leaves_no_key(
    connect: Callable[..., Client], prefix: str
) -> None:
    client, name = connect(), f"{prefix}lock"
    take(client, name)
    for _ in range(2):
        call = waiting(connect(), name)
        wait_until(lambda: queued(client, name) == 2)
        call.cancel()
        wait_until(lambda: queued(client, name) == 1)


def test_a_deadline_leaves_no_key(client: Client, prefix: str) -> None:
    name = f"{prefix}lock"
    take(client, name)
    with pytest.raises(grpc.RpcError) as error:
        client.Lock.Lock(lock.LockRequest(name=name.encode()), timeout=0.5)
    # If etcd notices before grpc does, it calls that an unknown error.
    assert error.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)
    wait_until(lambda: queued(client, name) == 1)


def test_a_lock_goes_on_when_the_lease_of_its_holder_ends(client: Client, prefix: str) -> None:
    name = f"{prefix}lock"
    held = take(client, name, client.grant(TTL_S).ID)
    assert take(client, name).key != held.key


def test_whose_lease_is_revoked_while_waiting_gets_no_lock(
    connect: Callable[..., Client], prefix: str
) -> None:
    client, name = connect(), f"{prefix}lock"
    held = take(client, name)
    lease = client.grant(60).ID
    call = waiting(client, name, lease)
    wait_until(lambda: queued(client, name) == 2)
    client.Lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease))
    release(client, held.key)
    with pytest.raises(grpc.RpcError) as error:
        call.result()
    assert refused(error) == (UNKNOWN, "mutex: session is expired")


def test_refusals_have_etcds_texts_and_no_code(client: Client, prefix: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        take(client, f"{prefix}lock", 4_811)
    assert refused(error) == (UNKNOWN, "etcdserver: requested lease not found")
    with pytest.raises(grpc.RpcError) as error:
        release(client, b"")
    assert refused(error) == (UNKNOWN, "etcdserver: key is not provided")


def test_many_take_turns_and_never_two_at_once(connect: Callable[..., Client], prefix: str) -> None:
    name, holders, most = f"{prefix}lock", 0, 0

    def work() -> None:
        nonlocal holders, most
        client = connect()
        for _ in range(5):
            held = take(client, name)
            holders += 1
            most = max(most, holders)
            holders -= 1
            release(client, held.key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert queued(connect(), name) == 0
