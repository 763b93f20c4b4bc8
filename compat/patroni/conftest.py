"""The fixtures of Patroni."""

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import pytest
from patroni.dcs import AbstractDCS, get_dcs

from compat.outcomes import VERSIONS
from compat.targets import Server

TTL_S: Final = 4

Join = Callable[[str], AbstractDCS]


def pytest_configure(config: pytest.Config) -> None:
    # A node watches as long as its process lives, and complains of the server that was stopped.
    logging.getLogger("patroni").setLevel(logging.CRITICAL)
    config.stash[VERSIONS] = [f"Patroni {version('patroni')}, with urllib3 {version('urllib3')}"]


@pytest.fixture
def join(server: Server, prefix: str) -> Join:
    """Makes nodes of one cluster, by name; each has a lease and a watch of its own, for ever."""
    settings: dict[str, Any] = {
        "hosts": [f"127.0.0.1:{server.http_port}"],
        "protocol": server.scheme,
        "use_proxies": True,  # What members advertise may be a port without JSON.
    }
    if server.identity is not None:
        files = (str(path) for path in server.identity)
        settings |= zip(("cacert", "cert", "key"), files, strict=True)

    def joined(name: str) -> AbstractDCS:
        return get_dcs(
            {
                "scope": prefix.strip("/"),
                "name": name,
                "ttl": TTL_S,
                "loop_wait": 1,
                "retry_timeout": 10,
                "etcd3": settings,
            }
        )

    return joined
