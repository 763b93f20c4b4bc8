"""The fixtures of grpc-python."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from importlib.metadata import version

import pytest

from compat.grpc_python import Client
from compat.outcomes import VERSIONS
from compat.targets import Server


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [
        f"grpc-python: grpcio {version('grpcio')} and protobuf {version('protobuf')}"
    ]


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., Client]]:
    """Makes clients, with options of grpc's; they are closed at the end."""
    with ExitStack() as clients:

        def connected(**options: int) -> Client:
            client = Client(server.endpoint, server.identity, **options)
            return clients.enter_context(closing(client))

        yield connected


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """One client."""
    return connect()
