"""The fixtures of etcd3gw."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Final

import pytest
from etcd3gw.client import Etcd3Client

from compat.outcomes import VERSIONS
from compat.targets import Server

CALL_MAX_S: Final = 10


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [f"etcd3gw {version('etcd3gw')}, with requests {version('requests')}"]


@pytest.fixture
def connect(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Etcd3Client]]:
    """Makes clients; their connections are closed at the end."""
    # With requests, what the environment believes goes before what its caller does.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    clients = []

    def connected() -> Etcd3Client:
        own = server.identity
        client = Etcd3Client(
            "127.0.0.1",
            server.http_port,
            server.scheme,
            ca_cert=None if own is None else str(own.ca_file),
            cert_cert=None if own is None else str(own.cert_file),
            cert_key=None if own is None else str(own.key_file),
            timeout=CALL_MAX_S,
        )
        clients.append(client)
        return client

    yield connected
    for client in clients:
        client.session.close()


@pytest.fixture
def client(connect: Callable[[], Etcd3Client]) -> Etcd3Client:
    """One client."""
    return connect()
