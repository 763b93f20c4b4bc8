"""What answers the requests of a head: found when the first of them comes, and kept with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server import status
from server.status import Status
from server.transport import streaming_whole, unary
from server.transport.connection import Whole
from server.transport.dispatch import MethodTable, StreamMethod, UnaryMethod
from server.transport.head import Head
from server.transport.host import Host
from server.transport.sending import SendingCall

_GRPC: Final = b"application/grpc"
_API_VERSION: Final = b"client-api-version"
NOT_GRPC: Final = object()  # Instead of a method.


class Routes:
    def __init__(self, methods: MethodTable, host: Host) -> None:
        self._methods = methods
        self._host = host
        self._wholes: dict[str, Whole] = {}  # Of the unary methods that were called, by path.

    def of(
        self, head: Head, on_dirty: Callable[[SendingCall], None]
    ) -> UnaryMethod | StreamMethod | Status | object:
        """The method, the status that refuses the request, or `NOT_GRPC`.

        A method that can answers what comes whole without a stream: see `Target.whole`.
        """
        if head.method != b"POST" or not head.content_type.startswith(_GRPC):
            return NOT_GRPC
        version = head.get(_API_VERSION)
        if version is not None:
            try:
                version.decode()
            except UnicodeDecodeError:
                return status.INVALID_CLIENT_API_VERSION
        path = head.path.decode("latin-1")
        method = self._methods.get(path)
        if method is None:
            return self._methods.unknown(path)
        target, host = head.target, self._host
        if isinstance(method, UnaryMethod):
            if path not in self._wholes:
                self._wholes[path] = unary.answers_whole(host, method)
            target.whole = self._wholes[path]
        elif method.at_once is not None:
            target.whole = streaming_whole.answers_whole(host, method, method.at_once, on_dirty)
        return method
