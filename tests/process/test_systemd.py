"""A process under a service manager: a real socket hears when it is ready and when it stops."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.process.conftest import ON_EACH_TRANSPORT, Servers
from tests.support.process import READY, ServerProcess

WAIT_S: Final = 20.0


@pytest.fixture
def manager(sockets: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(sockets / "notify"))
        listening.settimeout(WAIT_S)
        yield listening


def under(address: str, servers: Servers, *flags: str) -> ServerProcess:
    wrapper = ("env", f"NOTIFY_SOCKET={address}")
    path = servers.new_socket()
    return servers.adopt(ServerProcess(servers.data_dir, *flags, socket=path, wrapper=wrapper))


@ON_EACH_TRANSPORT
def test_it_says_when_it_serves_and_when_it_has_begun_to_end(
    servers: Servers, manager: socket.socket, transport: str
) -> None:
    server = under(manager.getsockname(), servers, f"--transport={transport}")
    assert manager.recv(100) == b"READY=1"
    assert servers.client(server).put(b"k", b"v") == 2, "what is ready serves at once"
    server.terminate()
    assert manager.recv(100) == b"STOPPING=1"


def test_one_that_waits_for_its_data_is_not_ready(servers: Servers, manager: socket.socket) -> None:
    first, _ = servers.start()
    second = under(manager.getsockname(), servers)
    while not second.has_open(servers.data_dir / "tenure" / "lock"):
        assert second.is_running, second.described()
    second.terminate()
    assert manager.recv(100) == b"STOPPING=1"
    assert first.is_running


def test_a_name_of_the_abstract_namespace_is_one_too(servers: Servers, sockets: Path) -> None:
    name = f"tenure-{sockets.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(WAIT_S)
        under(f"@{name}", servers)
        assert listening.recv(100) == b"READY=1"


def test_a_manager_that_is_not_there_is_remarked_on_and_nothing_more(
    servers: Servers, sockets: Path
) -> None:
    server = under(str(sockets / "nobody"), servers).wait_until_ready()
    line = server.wait_for("failed to notify systemd")
    assert (line["level"], line["state"]) == ("error", "READY=1")
    assert servers.client(server).put(b"k", b"v") == 2


def test_without_a_manager_nothing_is_said(servers: Servers) -> None:
    server, _ = servers.start()
    server.terminate()
    assert READY in server.messages
    assert not [message for message in server.messages if "systemd" in message]
