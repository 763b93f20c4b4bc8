"""The fixture that points etcdctl, in each of its versions, at the server."""

import pytest

from compat.etcdctl.command import Etcdctl
from compat.etcdctl.versions import ETCDCTLS, etcdctl_version
from compat.outcomes import VERSIONS
from compat.python_etcd3.fixtures import FILTERS, connect
from compat.targets import Server
from compat.unavailable import ClientUnavailableError

__all__ = ["connect"]  # Some leases only python-etcd3 can ask for.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "etcdctl_line" in metafunc.fixturenames:
        ids = [f"etcdctl-{line}" for line in ETCDCTLS]
        metafunc.parametrize("etcdctl_line", list(ETCDCTLS), ids=ids, scope="session")


@pytest.fixture
def etcdctl(etcdctl_line: str, server: Server) -> Etcdctl:
    """etcdctl, pointed at the server."""
    try:
        path = ETCDCTLS[etcdctl_line]()
    except ClientUnavailableError as error:
        pytest.skip(str(error))
    return Etcdctl(path, etcdctl_version(path), server.endpoint, server.identity)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [_version(line) for line in ETCDCTLS]
    for filter_line in FILTERS:
        config.addinivalue_line("filterwarnings", filter_line)


def _version(line: str) -> str:
    try:
        return f"etcdctl {etcdctl_version(ETCDCTLS[line]())}"
    except ClientUnavailableError as error:
        return f"etcdctl {line} ({error})"
