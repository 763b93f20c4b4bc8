"""Fixtures: a server per target and wire, and keys that no other test uses."""

import itertools
import signal
from collections.abc import Iterator
from typing import Final

import pytest

from compat.targets import TARGETS, Server, Supply, Target, TargetUnavailableError
from compat.wires import WIRES, Certificates, Identity

pytest_plugins = ["compat.outcomes"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compat")
    group.addoption(
        "--target",
        action="append",
        choices=sorted(TARGETS),
        help="the server to drive; may be given more than once; default: all",
    )
    group.addoption(
        "--wire",
        action="append",
        choices=sorted(WIRES),
        help="in the clear or over TLS; may be given more than once; default: both",
    )


# Fixtures that are about one wire.
_ONLY: Final = {"identity": "tls", "nameless_server": "plain"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    only = [wire for name, wire in _ONLY.items() if name in metafunc.fixturenames]
    wires = only or list(WIRES)
    for name, every in (("target", list(TARGETS)), ("wire", wires)):
        if name in metafunc.fixturenames:
            chosen = metafunc.config.getoption(f"--{name}") or every
            both = [each for each in every if each in chosen]
            metafunc.parametrize(name, both, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The kind of server under test."""
    return TARGETS[request.param]


@pytest.fixture(scope="session")
def wire(request: pytest.FixtureRequest) -> str:
    """How it is reached; a name in `WIRES`."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def supply(target: Target, wire: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supply]:
    """Where servers of the target come from."""
    folder = tmp_path_factory.mktemp(f"{target.name}-{wire}")
    try:
        supply = Supply(target, folder, Certificates.make(folder) if wire == "tls" else None)
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
def server(request: pytest.FixtureRequest, target: Target, wire: str) -> Server:  # noqa: ARG001  (it asks for them)
    """The fresh server if the test asks for one, else the shared one."""
    fresh = "fresh_server" in request.fixturenames
    server: Server = request.getfixturevalue("fresh_server" if fresh else "shared_server")
    return server


@pytest.fixture
def identity(server: Server) -> Identity:
    """What a client shows; a test that asks for it is about TLS, and is run over that only."""
    assert server.identity is not None
    return server.identity


_numbers = itertools.count(1)


@pytest.fixture
def prefix() -> str:
    """A prefix under which no other test has keys."""
    return f"test-{next(_numbers):04d}/"
