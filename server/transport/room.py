"""How many connections there is room for, and how they are let in.

A process has so many open files, and the store's come first: a database that cannot open one of
its own is a server that ends. So connections have the limit without `FILES_RESERVED`, and who
comes when there are as many is closed at once. A turn's worth of them may come on top.

Of those that wait in the kernel each listener lets in one a turn of the loop: libuv takes no more.
A TLS handshake costs the loop some 2 ms, so others wait for one or two of them behind each turn of
theirs, and not for a thousand.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any, Final

from server.log import fields
from server.loop import as_transport
from server.settings.config import StartError
from server.settings.urls import URL

logger = logging.getLogger(__name__)

# 256 of RocksDB's (`mvcc/backend/rocks.py`), and what etcd keeps back (reservedInternalFDNum in
# server/embed/etcd.go) for logs, certificates and connections that are being refused.
FILES_RESERVED: Final = 256 + 150
BACKLOG: Final = 1024  # Connections that the kernel holds until they are accepted.
# TCP asks a silent client so often whether it is there, and nine times before it gives up: etcd's
# listeners do (client/pkg/transport/keepalive_listener.go). HTTP/1.1 has no PING.
TCP_KEEPALIVE_S: Final = 30
# Every address of the machine, by either version of IP: Go's listeners take both to mean both.
_WILDCARDS: Final = ("0.0.0.0", "::")


def raise_files_limit() -> None:
    """As far as the process may by itself; Go's runtime does so, and so etcd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # Some systems name no limit and have one.
            logger.warning(
                "the limit of open files stays", extra=fields(limit=soft, error=str(error))
            )


def connections_max() -> int:
    """How many connections the limit of open files leaves room for.

    Raises:
        StartError: none.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit <= FILES_RESERVED:
        raise StartError(
            f"file descriptor limit of the process is too low; set it above {FILES_RESERVED},"
            f" it is {limit}"
        )
    return limit - FILES_RESERVED


class Room:
    """What all listeners share."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._taken: list[Callable[[], int]] = []
        self._is_full = False

    def holds(self, *taken: Callable[[], int]) -> None:
        """Each tells how many connections there are of its kind."""
        self._taken.extend(taken)

    def admit(self, make: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """What serves a new connection."""
        taken = sum(each() for each in self._taken)
        is_full = taken >= self._connections_max
        if is_full and not self._is_full:
            logger.warning(
                "too many connections for the limit of open files; refusing more",
                extra=fields(connections=taken),
            )
        self._is_full = is_full
        return _Refusing() if is_full else make()

    async def listen(
        self, url: URL, make: Callable[[], asyncio.Protocol], options: dict[str, Any]
    ) -> asyncio.Server:
        """Bind an address; a socket file that a dead server left behind is replaced.

        `options` are those of `create_server`.

        Raises:
            OSError: it cannot be bound.
        """
        loop = asyncio.get_running_loop()

        def admitted() -> asyncio.Protocol:
            return self.admit(make)

        if url.is_unix:
            made = await loop.create_unix_server(admitted, url.path, backlog=BACKLOG, **options)
        elif (both := _both_versions(url)) is not None:
            made = await loop.create_server(admitted, sock=both, backlog=BACKLOG, **options)
        else:
            made = await loop.create_server(
                admitted, url.host, url.port, backlog=BACKLOG, **options
            )
        if not url.is_unix:
            for each in made.sockets:
                with each.dup() as same:
                    _keep_alive(same)
        return made


def _both_versions(url: URL) -> socket.socket | None:
    """A socket for every address of the machine; None where one address is meant, or no IPv6 is.

    Raises:
        OSError: the port is taken.
    """
    if url.host not in _WILDCARDS or not socket.has_dualstack_ipv6():
        return None
    try:
        return socket.create_server(
            ("::", url.port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None  # It is switched off.
        raise


def _keep_alive(listener: socket.socket) -> None:
    """Each connection takes it over from its listener."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), TCP_KEEPALIVE_S)


class _Refusing(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        as_transport(transport).abort()
