"""Who asks, as far as a transport can tell."""

from __future__ import annotations

from typing import Final, Protocol


class ServerToken:
    """What the server shows itself when it asks itself. Nothing off a wire can be one."""


SERVER: Final = ServerToken()


class Caller(Protocol):
    """The credentials of a request, not yet looked at."""

    @property
    def token(self) -> str | ServerToken | None:
        """The first `token` of the request's metadata, else the first `authorization`."""
        ...

    @property
    def peer_cn(self) -> str | None:
        """The CN of the client's certificate, if one was required and verified.

        None for a request that an HTTP gateway passes on: the certificate is the gateway's.
        """
        ...


class TheServer:
    """The server, asking on its own account: it may do everything."""

    token: Final = SERVER
    peer_cn: Final = None


THE_SERVER: Final = TheServer()
