"""What Prometheus reads of a process: over TCP, TLS and a socket file, with either transport."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.process.tools import free_url, get
from tests.process.world import World
from tests.server.metrics import GOLDEN, MIXIN, Page, parse
from tests.support.authority import Issued
from tests.support.process import ServerProcess
from tests.support.secure import trusting

pytestmark = ON_EACH_TRANSPORT
WAIT_S: Final = 20.0


def scrape(url: str) -> Page:
    status, body = get(url, "/metrics")
    assert status == 200
    return parse(body.decode())


def fetched(world: World, own: Issued | None) -> str:
    """The page by TLS, with a certificate or without."""
    context = trusting(world.authority, own, alpn=("http/1.1",))
    client = http.client.HTTPSConnection("127.0.0.1", world.port, context=context, timeout=WAIT_S)
    try:
        client.request("GET", "/metrics")
        return client.getresponse().read().decode()
    finally:
        client.close()


def monitored(servers: Servers, transport: str, *flags: str) -> tuple[ServerProcess, str]:
    url = free_url()
    server = servers.spawn(
        f"--transport={transport}", f"--listen-metrics-urls={url}", *flags
    ).wait_until_ready()
    assert server.wait_for("serving metrics")["address"] == url
    return server, url


def test_all_there_is_is_on_the_page(servers: Servers, transport: str) -> None:
    server, url = monitored(servers, transport)
    families = {line.split()[0] for line in GOLDEN.read_text().splitlines()}
    assert set(scrape(url).types) == families
    assert families >= MIXIN
    get(url, "/readyz")
    page = scrape(url)
    labels = '{name="linearizable_read",type="readyz"}'
    assert page[f"etcd_server_healthcheck{labels}"] == 1
    assert not server.noise


def test_what_clients_did_is_on_the_page(servers: Servers, transport: str) -> None:
    server, url = monitored(servers, transport, "--quota-backend-bytes=-1")
    client = servers.client(server)
    lease = client.grant(60)
    for key in (b"a", b"b", b"c"):
        client.put(key, b"v", lease=lease)
    client.grant(60)
    page = scrape(url)
    assert page["etcd_mvcc_put_total"] == 3
    assert page["tenure_lease_live"] == 2
    assert page["tenure_lease_keyless"] == 1
    assert page["tenure_lease_keys"] == 3
    assert page["tenure_lease_due"] == page["tenure_lease_pending"] == 0
    assert page.handled("KV", "Put") == {"OK": 3}
    assert page["etcd_disk_wal_fsync_duration_seconds_count"] >= 5
    assert page["etcd_disk_backend_commit_duration_seconds_count"] >= 5
    assert page["etcd_server_proposals_committed_total"] >= 5
    # Without a limit, no alert on what is left of it may ever fire.
    assert page["etcd_server_quota_backend_bytes"] == float("inf")
    client.revoke(lease)
    page = scrape(url)
    assert page['tenure_lease_revoked_keys_bucket{le="2"}'] == 0
    assert page['tenure_lease_revoked_keys_bucket{le="4"}'] == 1
    assert page["tenure_lease_revoked_keys_sum"] == 3


def test_the_life_of_leases_is_on_the_page(servers: Servers, transport: str) -> None:
    server, url = monitored(servers, transport, "--heartbeat-interval=1", "--election-timeout=5")
    client = servers.client(server)
    lease = client.grant(1)
    client.put(b"k", b"v", lease=lease)
    for _ in range(3):
        assert client.keep_alive(lease) == 1
    with client.watch(2) as events:
        while not any(event.type for event in events.receive().events):
            pass  # The put; the delete comes when the lease has expired.
        page = scrape(url)
        assert page.calls("started", "Watch", "Watch", "bidi_stream") == 1
        assert page.handled("Watch", "Watch", "bidi_stream") == {}
    assert page["etcd_debugging_lease_granted_total"] == 1
    assert page["etcd_debugging_lease_renewed_total"] == 3
    assert page["etcd_debugging_server_lease_expired_total"] == 1
    assert page["tenure_lease_expiry_lag_seconds_count"] == 1
    assert page["tenure_lease_revoked_keys_sum"] == 1
    assert page["tenure_lease_live"] == 0


def test_how_calls_ended_is_on_the_page(servers: Servers, transport: str) -> None:
    server, url = monitored(servers, transport)
    client = servers.client(server)
    client.put(b"k", b"v")
    with pytest.raises(grpc.RpcError):
        client.put(b"k", b"v", lease=12345)
    with pytest.raises(grpc.RpcError):
        client.put(b"", b"v")
    with client.watch(1):
        pass  # Its client ends it, which is no failure: an alert would fire on those.
    wanted = {"OK": 1, "NotFound": 1, "InvalidArgument": 1}
    assert scrape(url).handled("KV", "Put") == wanted
    deadline = time.monotonic() + WAIT_S
    while not (ended := scrape(url).handled("Watch", "Watch", "bidi_stream")):
        assert time.monotonic() < deadline
    assert ended == {"Canceled": 1}


def test_calls_are_timed_if_that_is_asked_for(servers: Servers, transport: str) -> None:
    server, url = monitored(servers, transport, "--metrics=extensive")
    servers.client(server).put(b"a", b"v")
    name = "grpc_server_handling_seconds"
    labels = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
    assert scrape(url)[f'{name}_bucket{{{labels},le="+Inf"}}'] == 1


def test_they_are_served_with_tls_and_on_a_socket_file(
    servers: Servers, sockets: Path, tmp_path: Path, transport: str
) -> None:
    world = World(tmp_path)
    path = sockets / "metrics"
    servers.spawn(
        f"--transport={transport}",
        f"--listen-metrics-urls={world.url},unix://{path}",
        *world.flags,
    ).wait_until_ready()
    assert set(parse(fetched(world, world.alice)).types) >= MIXIN
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        fetched(world, None)
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(WAIT_S)
        plain.connect(str(path))
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert plain.makefile("rb").read().endswith(b'{"health":"true","reason":""}')
