"""The fixtures of python-etcd3."""

from importlib.metadata import version

import pytest

from compat.outcomes import VERSIONS
from compat.python_etcd3 import Connect, etcd3
from compat.python_etcd3.fixtures import FILTERS, connect

__all__ = ["connect"]


@pytest.fixture
def client(connect: Connect) -> etcd3.Etcd3Client:
    """One python-etcd3 client."""
    return connect()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [
        f"python-etcd3 {version('etcd3')}, with grpcio {version('grpcio')} and "
        f"protobuf {version('protobuf')}, its pure-Python implementation"
    ]
    for filter_line in FILTERS:
        config.addinivalue_line("filterwarnings", filter_line)
