"""Fixtures: a server per target, the clients, and keys that no other test uses."""

import itertools
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from compat.clients import ETCDCTLS, ClientUnavailableError, etcdctl_version
from compat.etcdctl import Etcdctl
from compat.python_etcd3 import Connect, etcd3
from compat.targets import TARGETS, Server, Supply, Target, TargetUnavailableError

pytest_plugins = ["compat.report"]

ETCD3_CALL_MAX_S = 10  # Of one unary call, and of the creation of a watch.


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compat")
    group.addoption(
        "--target",
        action="append",
        choices=sorted(TARGETS),
        help="the server to drive; may be given more than once; default: all",
    )


def pytest_configure(config: pytest.Config) -> None:
    for filter_line in (
        # A python-etcd3 client's watcher thread ends by an exception when its channel is closed,
        "ignore::pytest.PytestUnhandledThreadExceptionWarning",
        # and its Lock still speaks to tenacity the old way.
        "ignore:.*retry_state:DeprecationWarning",
    ):
        config.addinivalue_line("filterwarnings", filter_line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        names = metafunc.config.getoption("--target") or list(TARGETS)
        metafunc.parametrize("target", names, indirect=True, scope="session")
    if "etcdctl_line" in metafunc.fixturenames:
        metafunc.parametrize(
            "etcdctl_line",
            list(ETCDCTLS),
            ids=[f"etcdctl-{line}" for line in ETCDCTLS],
            scope="session",
        )


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The kind of server under test."""
    return TARGETS[request.param]


@pytest.fixture(scope="session")
def supply(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supply]:
    """Where servers of the target come from."""
    try:
        supply = Supply(target, tmp_path_factory.mktemp(target.name))
    except TargetUnavailableError as error:
        pytest.skip(str(error))
    yield supply
    supply.close()


@pytest.fixture(scope="session")
def shared_server(supply: Supply) -> Iterator[Server]:
    """A server for all tests that can do with keys and leases of their own."""
    server = supply.take()
    yield server
    server.stop()


@pytest.fixture
def fresh_server(supply: Supply) -> Iterator[Server]:
    """A server nobody has used: its revision is 1. It may be stopped and restarted."""
    server = supply.take()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def server(request: pytest.FixtureRequest, target: Target) -> Server:  # noqa: ARG001  (it asks for `target`)
    """The fresh server if the test asks for one, else the shared one."""
    fresh = "fresh_server" in request.fixturenames
    server: Server = request.getfixturevalue("fresh_server" if fresh else "shared_server")
    return server


@pytest.fixture
def etcdctl(etcdctl_line: str, server: Server) -> Etcdctl:
    """etcdctl, in each of its versions, pointed at the server."""
    try:
        path = ETCDCTLS[etcdctl_line]()
    except ClientUnavailableError as error:
        pytest.skip(str(error))
    return Etcdctl(path, etcdctl_version(path), server.endpoint)


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Makes python-etcd3 clients; they are closed at the end."""
    with ExitStack() as clients:

        def connected() -> etcd3.Etcd3Client:
            return clients.enter_context(
                etcd3.client("127.0.0.1", server.port, timeout=ETCD3_CALL_MAX_S)
            )

        yield connected


@pytest.fixture
def client(connect: Connect) -> etcd3.Etcd3Client:
    """One python-etcd3 client."""
    return connect()


_numbers = itertools.count(1)


@pytest.fixture
def prefix() -> str:
    """A prefix under which no other test has keys."""
    return f"test-{next(_numbers):04d}/"
