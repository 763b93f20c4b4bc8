"""A process that serves TLS on a TCP port, and real clients of it."""

from __future__ import annotations

from http.client import HTTPSConnection
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.process.tools import free_port, tool
from tests.process.world import World
from tests.support.authority import Issued
from tests.support.process import ServerProcess
from tests.support.secure import trusting

WAIT_MAX_S: Final = 20
SECURE: Final = "serving client traffic securely"
INSECURE: Final = "serving client traffic insecurely; this is strongly discouraged!"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _addresses(server: ServerProcess, message: str) -> list[str]:
    return [line["address"] for line in server.lines if line["msg"] == message]


@ON_EACH_TRANSPORT
def test_grpc_s_own_client_gets_in_with_a_certificate_and_not_without(
    servers: Servers, world: World
) -> None:
    server = servers.spawn(*world.flags, url=world.url)
    server.wait_until_ready()
    root = world.authority.ca_file.read_bytes()
    with pytest.raises(grpc.RpcError):
        world.put(root, None)
    assert world.put(root, world.alice) == 2
    world.authority.issue("server").copy_over(world.own)
    assert world.put(root, world.alice) == 3
    server.wait_for(SECURE)
    assert _addresses(server, SECURE) == [world.url]
    assert _addresses(server, INSECURE) == []


@pytest.mark.compat
@ON_EACH_TRANSPORT
def test_etcdctl_gets_in_with_a_certificate_and_not_without(servers: Servers, world: World) -> None:
    tool("etcdctl")
    servers.spawn(*world.flags, url=world.url).wait_until_ready()
    assert world.etcdctl(world.alice, "put", "a", "b").stdout == "OK\n"
    assert world.etcdctl(world.alice, "get", "a").stdout == "a\nb\n"
    refused = world.etcdctl(None, "--dial-timeout=1s", "--command-timeout=1s", "get", "a")
    assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.compat
def test_openssl_s_own_client_sees_what_was_asked_for(servers: Servers, world: World) -> None:
    tool("openssl")
    flags = (*world.flags, "--tls-min-version=TLS1.3")
    servers.spawn(*flags, url=world.url).wait_until_ready()
    certificate = ("-cert", str(world.alice.cert_file), "-key", str(world.alice.key_file))
    text = world.s_client(*certificate)
    assert "ALPN protocol: h2" in text
    assert "Verify return code: 0 (ok)" in text
    assert "alert protocol version" in world.s_client(*certificate, "-tls1_2")


@pytest.mark.parametrize("is_own_port", [False, True])
def test_http_is_kept_from_the_same_clients_as_grpc(
    is_own_port: bool, servers: Servers, world: World, tmp_path: Path
) -> None:
    revoked = world.authority.issue("mallory")
    crl = world.authority.revoke(tmp_path / "crl", revoked)
    flags = [*world.flags, f"--client-crl-file={crl}"]
    port = world.port
    if is_own_port:
        port = free_port()
        flags.append(f"--listen-client-http-urls=https://127.0.0.1:{port}")
    servers.spawn(*flags, url=world.url).wait_until_ready()

    def health(own: Issued) -> int:
        context = trusting(world.authority, own, alpn=("h2", "http/1.1") if is_own_port else ())
        connection = HTTPSConnection("127.0.0.1", port, timeout=WAIT_MAX_S, context=context)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        finally:
            connection.close()

    assert health(world.alice) == 200
    with pytest.raises(OSError):  # noqa: PT011  # however a connection can be lost
        health(revoked)


@ON_EACH_TRANSPORT
def test_a_made_certificate_outlives_the_process(servers: Servers, world: World) -> None:
    flags = ("--auto-tls", "--self-signed-cert-validity=2")
    root = b""
    for revision in (2, 3):
        server = servers.spawn(*flags, url=world.url).wait_until_ready()
        root = root or (servers.data_dir / "fixtures" / "client" / "cert.pem").read_bytes()
        assert world.put(root, None) == revision
        server.kill()


def test_certificates_are_of_no_use_to_a_url_without_tls_and_that_is_said(
    servers: Servers, world: World
) -> None:
    server, client = servers.start(*world.flags, "--auto-tls")
    assert client.put(b"k", b"v") == 2
    for message in (
        "scheme is http or unix while key and cert files are present; ignoring key and cert files",
        "scheme is http or unix while --client-cert-auth is enabled;"
        " ignoring client cert auth for this URL",
    ):
        assert server.wait_for(message)["client-url"] == server.url
    assert "ignoring client auto TLS since certs given" in server.messages


def test_a_certificate_that_is_not_there_ends_the_start(servers: Servers, world: World) -> None:
    world.own.cert_file.unlink()
    server = servers.spawn(*world.flags, url=world.url)
    assert server.wait() == 1
    assert str(world.own.cert_file) in server.fatal()["error"]
