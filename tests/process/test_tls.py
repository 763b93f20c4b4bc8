"""A process that serves TLS on a TCP port, and real clients of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final

import grpc
import pytest

from etcdpb import rpc_pb2 as pb
from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.support.authority import Authority, Issued
from tests.support.process import ServerProcess
from tests.support.secure import trusting

WAIT_MAX_S: Final = 20
SECURE: Final = "serving client traffic securely"
INSECURE: Final = "serving client traffic insecurely; this is strongly discouraged!"
_PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _tool(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class World:
    """An authority and certificates by it, for a server that requires them."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.make(directory)
        self.own = self.authority.issue("server")
        self.alice = self.authority.issue("alice")
        self.port = _free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.flags = (
            f"--cert-file={self.own.cert_file}",
            f"--key-file={self.own.key_file}",
            f"--trusted-ca-file={self.authority.ca_file}",
            "--client-cert-auth",
        )

    def put(self, root: bytes, own: Issued | None) -> int:
        """The revision of a put over a new connection."""
        credentials = grpc.ssl_channel_credentials(
            root,
            own.key_file.read_bytes() if own else None,
            own.cert_file.read_bytes() if own else None,
        )
        # A subchannel of its own: one that was refused would make the next wait.
        options = [("grpc.use_local_subchannel_pool", 1)]
        target = f"127.0.0.1:{self.port}"
        with grpc.secure_channel(target, credentials, options=options) as channel:
            method = channel.unary_unary(
                "/etcdserverpb.KV/Put",
                request_serializer=pb.PutRequest.SerializeToString,
                response_deserializer=pb.PutResponse.FromString,
            )
            return int(method(pb.PutRequest(key=b"k"), timeout=WAIT_MAX_S).header.revision)

    def etcdctl(self, own: Issued | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        certificate = [f"--cert={own.cert_file}", f"--key={own.key_file}"] if own else []
        return subprocess.run(
            [
                _tool("etcdctl"),
                f"--endpoints={self.url}",
                f"--cacert={self.authority.ca_file}",
                *certificate,
                *arguments,
            ],
            env={"ETCDCTL_API": "3", "PATH": _PATH},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_MAX_S,
        )

    def s_client(self, *arguments: str) -> str:
        """What OpenSSL's own client prints of a handshake."""
        done = subprocess.run(
            [
                *(_tool("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}"),
                *("-CAfile", str(self.authority.ca_file), "-alpn", "h2", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",  # Behind the handshake the server's first frames are printed.
            check=False,
            timeout=WAIT_MAX_S,
        )
        return done.stdout + done.stderr


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
    _tool("etcdctl")
    servers.spawn(*world.flags, url=world.url).wait_until_ready()
    assert world.etcdctl(world.alice, "put", "a", "b").stdout == "OK\n"
    assert world.etcdctl(world.alice, "get", "a").stdout == "a\nb\n"
    refused = world.etcdctl(None, "--dial-timeout=1s", "--command-timeout=1s", "get", "a")
    assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.compat
def test_openssl_s_own_client_sees_what_was_asked_for(servers: Servers, world: World) -> None:
    _tool("openssl")
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
        port = _free_port()
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
