"""How clients and server are connected: in the clear, or over TLS with a certificate on both sides.

Over TLS the server takes nobody without a certificate of the authority's, so that a client which
does not show its own cannot pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from tests.support.authority import Authority


class Identity(NamedTuple):
    """Whom one believes, and what one shows: three PEM files."""

    ca_file: Path
    cert_file: Path
    key_file: Path


@dataclass(frozen=True)
class Certificates:
    """What the two ends of a TLS connection have."""

    server: Identity
    client: Identity

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Issue both, from an authority of their own."""
        authority = Authority.make(folder)
        server, client = authority.issue("server"), authority.issue("client")
        return cls(
            Identity(authority.ca_file, server.cert_file, server.key_file),
            Identity(authority.ca_file, client.cert_file, client.key_file),
        )


WIRES: Final[Mapping[str, str]] = {"plain": "plain", "tls": "TLS"}  # With a reader's word for it.
