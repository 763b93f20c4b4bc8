"""The fixture that connects python-etcd3, for the tests of other clients too."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from compat.python_etcd3 import Connect, etcd3
from compat.targets import Server

CALL_MAX_S: Final = 10  # Of one unary call, and of the creation of a watch.
FILTERS: Final = (
    # A client's watcher thread ends by an exception when its channel is closed,
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    # and its Lock still speaks to tenacity the old way.
    "ignore:.*retry_state:DeprecationWarning",
)


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Makes python-etcd3 clients; they are closed at the end."""
    own = server.identity
    tls = {} if own is None else {"ca_cert": own.ca_file, "cert_cert": own.cert_file}
    if own is not None:
        tls["cert_key"] = own.key_file
    with ExitStack() as clients:

        def connected() -> etcd3.Etcd3Client:
            return clients.enter_context(
                etcd3.client("127.0.0.1", server.port, timeout=CALL_MAX_S, **tls)
            )

        yield connected
