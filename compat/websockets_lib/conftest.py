"""The fixtures of websockets: a socket on a path of the JSON gateway, and plain requests beside."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any, Final

import pytest
from websockets.sync.client import ClientConnection, connect

from compat.outcomes import VERSIONS
from compat.targets import Server

CALL_MAX_S: Final = 10


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERSIONS] = [f"websockets {version('websockets')}"]


@pytest.fixture
def context(server: Server) -> ssl.SSLContext | None:
    """What is shown and believed over TLS."""
    own = server.identity
    if own is None:
        return None
    context = ssl.create_default_context(cafile=str(own.ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # The suite's authority skips formalities.
    context.load_cert_chain(str(own.cert_file), str(own.key_file))
    return context


class Socket:
    """A WebSocket that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, *values: object) -> None:
        """One message, of as many objects."""
        self.connection.send("".join(map(json.dumps, values)))

    def hear(self) -> Any:
        return json.loads(self.connection.recv(CALL_MAX_S))


@pytest.fixture
def dial(server: Server, context: ssl.SSLContext | None) -> Iterator[Callable[..., Socket]]:
    """Opens sockets; they are closed at the end."""
    with ExitStack() as stack:

        def dialled(path: str, **options: Any) -> Socket:
            scheme = "ws" if context is None else "wss"
            uri = f"{scheme}://127.0.0.1:{server.http_port}{path}"
            connection = connect(uri, ssl=context, open_timeout=CALL_MAX_S, **options)
            return Socket(stack.enter_context(connection))

        yield dialled


@pytest.fixture
def ask(server: Server, context: ssl.SSLContext | None) -> Callable[[str, object], Any]:
    """Makes a plain request of the gateway."""

    def asked(path: str, body: object) -> Any:
        address = ("127.0.0.1", server.http_port)
        if context is None:
            client = http.client.HTTPConnection(*address, timeout=CALL_MAX_S)
        else:
            client = http.client.HTTPSConnection(*address, timeout=CALL_MAX_S, context=context)
        try:
            client.request("POST", f"/v3/{path}", json.dumps(body))
            return json.loads(client.getresponse().read())
        finally:
            client.close()

    return asked
