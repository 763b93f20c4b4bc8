"""grpc-python: a store of some size, by snapshot to the other kind of server and back again.

What must not change on the way: HashKV at every revision that can be read, leases with their TTLs
and keys, users, roles and whether they count.
"""

import hashlib
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from compat.grpc_python import Client, rpc
from compat.restoring import serving
from compat.targets import ETCD, NATIVE, Server, Target
from etcdpb import auth_pb2 as auth

KEYS = 100_000
LEASES = 10_000
LEASED = 10  # One key in so many has a lease.
TTL_S = 3600
TXN_OPS = 100
IN_FLIGHT = 50
DOWNLOAD_MAX_S = 60.0


class Said(NamedTuple):
    """What a server says of all that it holds."""

    hashes: list[tuple[int, int, int]]  # Revision, compacted revision, hash.
    leases: list[int]
    some_lease: tuple[int, list[bytes]]  # TTL granted and keys.
    users: list[str]
    permissions: list[bytes]


def in_batches(calls: Iterable[Any]) -> None:
    """Make calls, so many at once."""
    rest = iter(calls)
    while batch := list(islice(rest, IN_FLIGHT)):
        for future in batch:
            future.result()


def puts(first: int) -> rpc.TxnRequest:
    keys = range(first, first + TXN_OPS)
    return rpc.TxnRequest(
        success=[
            rpc.RequestOp(
                request_put=rpc.PutRequest(
                    key=b"key/%08d" % key,
                    value=b"%d" % key * 16,
                    lease=key // LEASED % LEASES + 1 if key % LEASED == 0 else 0,
                )
            )
            for key in keys
        ]
    )


def fill(client: Client) -> None:
    """Keys with history, a compaction in the midst of it, leases, users and roles."""
    grant, txn = client.Lease.LeaseGrant.future, client.KV.Txn.future
    in_batches(
        grant(rpc.LeaseGrantRequest(ID=each, TTL=TTL_S + each)) for each in range(1, LEASES + 1)
    )
    in_batches(txn(puts(first)) for first in range(0, KEYS, TXN_OPS))
    for number in range(200):
        client.put(f"key/{7 * number:08}", "second")
    client.KV.DeleteRange(rpc.DeleteRangeRequest(key=b"key/00000100", range_end=b"key/00000110"))
    now = client.get("key").header.revision
    client.KV.Compact(rpc.CompactionRequest(revision=now - 50, physical=True))
    for number in range(20):
        client.put(f"key/{7 * number:08}", "third")
    users = client.Auth
    for name in ("root", "eve"):
        users.UserAdd(rpc.AuthUserAddRequest(name=name, password=f"{name}'s"))
    users.RoleAdd(rpc.AuthRoleAddRequest(name="reader"))
    permission = auth.Permission(permType="READ", key=b"key/", range_end=b"key0")
    users.RoleGrantPermission(rpc.AuthRoleGrantPermissionRequest(name="reader", perm=permission))
    for name, role in (("root", "root"), ("eve", "reader")):
        users.UserGrantRole(rpc.AuthUserGrantRoleRequest(user=name, role=role))
    users.AuthEnable(rpc.AuthEnableRequest())


def login(client: Client, name: str = "root") -> list[tuple[str, str]]:
    request = rpc.AuthenticateRequest(name=name, password=f"{name}'s")
    return [("token", client.Auth.Authenticate(request).token)]


def said(client: Client) -> Said:
    """Asked as root, who may; and as eve, who may read keys only."""
    token = login(client)
    now = client.KV.Range(rpc.RangeRequest(key=b"key"), metadata=token).header.revision
    hashes = []
    for revision in (now, now - 1, now - 19, now - 20, now - 21, now - 40, now - 69):
        request = rpc.HashKVRequest(revision=revision)
        reply = client.Maintenance.HashKV(request, metadata=token)
        hashes.append((revision, reply.compact_revision, reply.hash))
    leases = client.Lease.LeaseLeases(rpc.LeaseLeasesRequest(), metadata=token).leases
    some = client.Lease.LeaseTimeToLive(
        rpc.LeaseTimeToLiveRequest(ID=10, keys=True), metadata=token
    )
    users = client.Auth.UserList(rpc.AuthUserListRequest(), metadata=token).users
    role = client.Auth.RoleGet(rpc.AuthRoleGetRequest(role="reader"), metadata=token)
    one = client.KV.Range(rpc.RangeRequest(key=b"key/00000007"), metadata=login(client, "eve"))
    assert one.kvs[0].value == b"third"
    return Said(
        hashes,
        sorted(each.ID for each in leases),
        (some.grantedTTL, sorted(some.keys)),
        sorted(users),
        [each.key + b" " + each.range_end for each in role.perm],
    )


def save(client: Client, path: Path) -> None:
    """What `snapshot save` does: all blobs one after the other, the last the hash of the others."""
    blobs = [
        reply.blob
        for reply in client.Maintenance.Snapshot(
            rpc.SnapshotRequest(), metadata=login(client), timeout=DOWNLOAD_MAX_S
        )
    ]
    assert hashlib.sha256(b"".join(blobs[:-1])).digest() == blobs[-1]
    path.write_bytes(b"".join(blobs))


@pytest.mark.timeout(300)  # Seconds: a hundred thousand keys, three times over.
def test_100000_keys_10000_leases_users_and_roles_go_to_the_other_server_and_come_back(
    client: Client, fresh_server: Server, target: Target, tmp_path: Path
) -> None:
    assert fresh_server.target is target
    fill(client)
    before = said(client)
    assert len(before.leases) == LEASES
    save(client, tmp_path / "there.snapshot")
    other = ETCD if target.is_tenure else NATIVE
    for kind, file, onward in (
        (other, "there.snapshot", "back.snapshot"),
        (target, "back.snapshot", "again.snapshot"),
    ):
        with (
            serving(kind, tmp_path / file, tmp_path / f"{onward}.d") as server,
            closing(Client(server.endpoint, None)) as beyond,
        ):
            assert said(beyond) == before
            save(beyond, tmp_path / onward)
