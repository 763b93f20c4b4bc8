"""Leases as etcdctl's user sees them over time: kept alive, run out, and across a restart.

These tests wait out real TTLs of two seconds, the shortest at etcd's defaults, by waiting for what
follows.
"""

import json
import re
import signal
import time

import pytest

from compat.differences import differs
from compat.etcdctl.command import Etcdctl
from compat.python_etcd3 import Connect
from compat.targets import Server

TTL_S = 2  # etcd's floor: one and a half election timeouts, rounded up.
LATE_MAX_S = 10.0  # On a loaded machine; etcd's own tests allow 15.


def grant(etcdctl: Etcdctl, ttl_s: int, *options: str) -> str:
    """Grant a lease and return its identifier as etcdctl prints it."""
    found = re.fullmatch(
        rf"lease (\w{{16}}) granted with TTL\({ttl_s}s\)\n",
        etcdctl(*options, "lease", "grant", str(ttl_s)),
    )
    assert found
    return found[1]


def test_a_lease_not_kept_alive_takes_its_keys_and_a_watch_sees_it(
    etcdctl: Etcdctl, prefix: str
) -> None:
    created = json.loads(etcdctl("put", f"{prefix}first", "x", "-w", "json"))["header"]["revision"]
    with etcdctl.running("watch", "--prefix", prefix, f"--rev={created + 1}") as watch:
        start = time.monotonic()
        lease = grant(etcdctl, TTL_S)
        # A key that the lease held only for a while is to stay.
        etcdctl("put", f"{prefix}kept", "held", f"--lease={lease}")
        etcdctl("put", f"{prefix}kept", "free")
        etcdctl("put", f"{prefix}key", "value", f"--lease={lease}")
        assert watch.lines(3) == ["PUT", f"{prefix}kept", "held"]
        assert watch.lines(3) == ["PUT", f"{prefix}kept", "free"]
        assert watch.lines(3) == ["PUT", f"{prefix}key", "value"]
        assert watch.lines(3, TTL_S + LATE_MAX_S) == ["DELETE", f"{prefix}key", ""]
        assert time.monotonic() - start >= TTL_S  # Never early.
    assert etcdctl("lease", "timetolive", lease) == f"lease {lease} already expired\n"
    assert lease not in etcdctl("lease", "list")
    assert etcdctl("get", "--prefix", prefix) == f"{prefix}first\nx\n{prefix}kept\nfree\n"


def test_a_lease_kept_alive_outlives_its_ttl_and_ends_when_it_is_revoked(
    etcdctl: Etcdctl, prefix: str
) -> None:
    lease = grant(etcdctl, TTL_S)
    etcdctl("put", f"{prefix}key", "value", f"--lease={lease}")
    start = time.monotonic()
    with etcdctl.running("lease", "keep-alive", lease) as keepalive:
        while time.monotonic() - start <= TTL_S + 1:
            assert keepalive.line() == f"lease {lease} keepalived with TTL({TTL_S})"
        assert etcdctl("get", f"{prefix}key", "--print-value-only") == "value\n"
        assert etcdctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
        ended = keepalive.end()
    assert ended.stdout.endswith(f"lease {lease} expired or revoked.\n")
    assert ended.code == 0
    assert etcdctl("get", f"{prefix}key") == ""


def test_keep_alive_of_two_leases_is_answered_for_each(etcdctl: Etcdctl) -> None:
    first, second = grant(etcdctl, TTL_S), grant(etcdctl, 600)
    with (
        etcdctl.running("lease", "keep-alive", first) as keeps_first,
        etcdctl.running("lease", "keep-alive", second) as keeps_second,
    ):
        assert keeps_first.line() == f"lease {first} keepalived with TTL({TTL_S})"
        assert keeps_second.line() == f"lease {second} keepalived with TTL(600)"
        etcdctl("lease", "revoke", second)
        assert keeps_first.line() == f"lease {first} keepalived with TTL({TTL_S})"


def test_keep_alive_once_starts_the_ttl_over(etcdctl: Etcdctl, prefix: str) -> None:
    lease = grant(etcdctl, TTL_S)
    etcdctl("put", f"{prefix}key", "value", f"--lease={lease}")
    with etcdctl.running("watch", f"{prefix}key") as watch:
        # One second in, the renewal moves the end from the second to the third.
        with pytest.raises(TimeoutError):
            watch.line(within_s=TTL_S / 2)
        renewed = time.monotonic()
        assert etcdctl("lease", "keep-alive", "--once", lease) == (
            f"lease {lease} keepalived with TTL({TTL_S})\n"
        )
        assert watch.lines(2, TTL_S + LATE_MAX_S) == ["DELETE", f"{prefix}key"]
        assert time.monotonic() - renewed >= TTL_S


def test_leases_of_any_id_hold_their_keys_across_a_restart(
    etcdctl: Etcdctl, fresh_server: Server, connect: Connect
) -> None:
    edges = (-1, -(2**63), 2**63 - 1)
    ids = (1, *edges)
    granter = connect()
    for lease_id in ids:
        lease = granter.lease(600, lease_id=lease_id)
        assert lease.id == lease_id
        granter.put(str(lease_id), "value", lease=lease)
    fresh_server.restart(signal.SIGTERM)
    client = connect()
    for lease_id in ids:
        value, metadata = client.get(str(lease_id))
        assert (value, metadata.lease_id) == (b"value", lease_id)
        info = client.get_lease_info(lease_id)
        if lease_id in edges and not differs("lease-id-range", fresh_server.target):
            assert (info.TTL, info.grantedTTL) == (-1, 0)
            continue
        assert (info.grantedTTL, list(info.keys)) == (600, [str(lease_id).encode()])
        assert 0 < info.TTL <= 600
        printed = f"{lease_id:016x}"
        assert printed in etcdctl("lease", "list").splitlines()
        revision = metadata.response_header.revision
        assert etcdctl("lease", "revoke", "--", f"{lease_id:x}") == f"lease {printed} revoked\n"
        response = client.get_response(str(lease_id))
        assert (response.count, response.header.revision) == (0, revision + 1)


def test_a_revoked_lease_stays_revoked_and_its_key_deleted_across_a_kill(
    etcdctl: Etcdctl, fresh_server: Server
) -> None:
    lease = grant(etcdctl, 600)
    other = grant(etcdctl, 600)
    etcdctl("put", "gone", "1", f"--lease={lease}")
    etcdctl("put", "moved", "1", f"--lease={lease}")
    etcdctl("put", "moved", "2", f"--lease={other}")
    etcdctl("lease", "revoke", lease)
    fresh_server.restart(signal.SIGKILL)
    assert etcdctl("lease", "list") == f"found 1 leases\n{other}\n"
    assert etcdctl("get", "", "--prefix") == "moved\n2\n"
    assert etcdctl("lease", "timetolive", lease) == f"lease {lease} already expired\n"
    etcdctl("lease", "revoke", other)
    assert etcdctl("get", "", "--prefix") == ""
