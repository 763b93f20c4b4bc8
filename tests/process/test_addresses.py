"""The addresses that a process listens on: both versions of IP, alone and together."""

from __future__ import annotations

import http.client
import socket
from typing import Final

import pytest

from tests.process.client import Client
from tests.process.conftest import ON_EACH_TRANSPORT, Servers

pytestmark = ON_EACH_TRANSPORT
WAIT_S: Final = 20.0


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


NEEDS_IPV6: Final = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@NEEDS_IPV6
@pytest.mark.parametrize(
    ("listening", "reached"),
    [
        ("[::1]", ["[::1]"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("[::]", ["[::1]", "127.0.0.1"]),
        ("0.0.0.0", ["[::1]", "127.0.0.1"]),  # as etcd, which takes both for both
    ],
)
def test_it_is_reached_by_the_versions_of_ip_that_its_address_means(
    servers: Servers, listening: str, reached: list[str], transport: str
) -> None:
    port, metrics = free_port(), free_port()
    servers.spawn(
        f"--transport={transport}",
        f"--listen-metrics-urls=http://{listening}:{metrics}",
        url=f"http://{listening}:{port}",
    ).wait_until_ready()
    for host in ("[::1]", "127.0.0.1"):
        if host not in reached:
            with pytest.raises(OSError):  # noqa: PT011  # refused, whatever the words
                socket.create_connection((host.strip("[]"), port), WAIT_S).close()
            continue
        with Client(f"{host}:{port}") as client:
            assert client.put(b"k", b"v") >= 2
        connection = http.client.HTTPConnection(host.strip("[]"), metrics, timeout=WAIT_S)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


@NEEDS_IPV6
def test_several_addresses_are_listened_on_and_told(servers: Servers, transport: str) -> None:
    first, second = free_port(), free_port()
    url = f"http://127.0.0.1:{first},http://[::1]:{second}"
    server = servers.spawn(f"--transport={transport}", url=url).wait_until_ready()
    for target in (f"127.0.0.1:{first}", f"[::1]:{second}"):
        with Client(target) as client:
            assert client.put(b"k", b"v") >= 2
    text = "serving client traffic insecurely; this is strongly discouraged!"
    told = [line["address"] for line in server.lines if line["msg"] == text]
    assert told == url.split(",")


def test_a_wildcard_whose_port_is_taken_ends_with_1(servers: Servers, transport: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        url = f"http://0.0.0.0:{taken.getsockname()[1]}"
        server = servers.spawn(f"--transport={transport}", url=url)
        assert server.wait() == 1
    assert url in server.fatal()["error"]


def test_tcp_and_a_socket_file_are_listened_on_together_and_the_file_goes_with_the_process(
    servers: Servers, transport: str
) -> None:
    path, port = servers.new_socket(), free_port()
    url = f"unix://{path},http://127.0.0.1:{port}"
    server = servers.spawn(f"--transport={transport}", url=url).wait_until_ready()
    for expected, target in ((2, f"unix:{path}"), (3, f"127.0.0.1:{port}")):
        with Client(target) as client:
            assert client.put(b"k", b"v") == expected
    server.terminate()
    assert not path.exists()
