"""The fixtures of aetcd, whose tests are coroutines."""

import asyncio
import functools
import inspect
from importlib.metadata import version
from typing import Final

import grpc.aio
import pytest

from compat.aetcd import Connect, aetcd
from compat.outcomes import VERSIONS
from compat.targets import Server

TEST_MAX_S: Final = 50.0
CALL_MAX_S: Final = 10  # Of one unary call, and of the creation of a watch.


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [
        f"aetcd {version('aetcd')}, with grpcio {version('grpcio')} and "
        f"protobuf {version('protobuf')}"
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    asyncio.run(asyncio.wait_for(test, TEST_MAX_S))
    return True


@pytest.fixture
def connect(server: Server, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Makes clients; a test closes them as `async with` does.

    aetcd knows no TLS. Those who need it hand it a secure channel in the place of the insecure one
    that it asks grpc for, and so does this.
    """
    if server.identity is not None:
        ca, cert, key = (path.read_bytes() for path in server.identity)
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        secure = functools.partial(grpc.aio.secure_channel, credentials=credentials)
        monkeypatch.setattr(aetcd.rpc, "insecure_channel", secure)

    def connected() -> aetcd.Client:
        return aetcd.Client("127.0.0.1", server.port, timeout=CALL_MAX_S)

    return connected
