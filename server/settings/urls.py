"""The URLs a member listens on and advertises, read by etcd's rules.

A list is kept sorted and without doubles (client/pkg/types/urls.go), so that two spellings of
the same list give the same member id.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

SCHEMES: Final = ("http", "https", "unix", "unixs")
UNIX_SCHEMES: Final = ("unix", "unixs")
TLS_SCHEMES: Final = ("https", "unixs")
PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class URL:
    """Where a server can be reached: a host and a port, or a socket file."""

    text: str  # As given, but for blanks around it.
    scheme: str
    host: str = ""  # Without the brackets of an IPv6 address; empty for a socket file.
    port: int = 0
    path: str = ""  # Of a socket file; relative to the working directory unless it begins with /.

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one URL.

        Raises:
            ValueError: with etcd's own text where etcd has one.
        """
        text = text.strip()
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ValueError(f'parse "{text}": {error}') from error
        if parts.scheme in UNIX_SCHEMES:
            path = parts.netloc + parts.path
            if not path:
                raise ValueError(f"URL names no socket file: {text}")
            return cls(text, parts.scheme, path=path)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
        host, port = _split_host_port(parts.netloc, text)
        if parts.path or parts.query or parts.fragment:
            raise ValueError(f"URL must not contain a path: {text}")
        return cls(text, parts.scheme, host, port)

    @property
    def is_unix(self) -> bool:
        return self.scheme in UNIX_SCHEMES

    @property
    def is_tls(self) -> bool:
        return self.scheme in TLS_SCHEMES

    @property
    def can_be_bound(self) -> bool:
        """Whether a listener may use it: names are not looked up, `localhost` excepted."""
        if self.is_unix or self.host == "localhost":
            return True
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def is_same_address(self, other: URL) -> bool:
        """Whether one listener would be in the other's way, whatever they speak."""
        return (self.host, self.port, self.path) == (other.host, other.port, other.path)

    def __str__(self) -> str:
        return self.text


def parse_urls(text: str) -> tuple[URL, ...]:
    """Read a comma-separated list; sorted, without doubles. An empty text is an empty list.

    Raises:
        ValueError: one of the URLs is not to be had.
    """
    if not text:
        return ()
    urls = {url.text: url for url in map(URL.parse, text.split(","))}
    return tuple(urls[key] for key in sorted(urls))


def format_urls(urls: tuple[URL, ...]) -> str:
    return ",".join(url.text for url in urls)


def _split_host_port(netloc: str, text: str) -> tuple[str, int]:
    refusal = f'URL address does not have the form "host:port": {text}'
    host, colon, port = netloc.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(refusal)
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise ValueError(refusal)
    return host, int(port)
