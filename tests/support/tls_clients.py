"""Clients that come to a TLS port the wrong way, and the right way: one row each.

Each row is one run of OpenSSL's own client against a server that requires certificates. What is
expected of the server stands beside it: a row is refused if the client cannot have an answer to a
request over the connection.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.authority import Authority, Issued

WAIT_S: Final = 20.0
REQUEST: Final = b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANSWERED: Final = b"etcdserver"  # In the answer to that.
HOST: Final = "clients.example"
WEAK: Final = "DEFAULT@SECLEVEL=0"  # Or OpenSSL would not so much as offer what is old.

# What etcd's flags would be called here, by the row that needs them.
MIN_1_3: Final = ("--tls-min-version=TLS1.3",)
SUITE: Final = (  # Go speaks no HTTP/2 without the first of them.
    "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,"
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
)
BY_HOST: Final = (f"--client-cert-allowed-hostname={HOST}",)


class Row(NamedTuple):
    name: str
    is_let_in: bool
    certificate: str = "good"  # Which one the client shows.
    options: Sequence[str] = ()  # Of s_client.
    flags: Sequence[str] = ()  # Of the server, beside those of all rows.
    is_in_etcd_3_5_1: bool | None = None  # What that one does, where it is another thing.
    is_known_to_3_5_1: bool = True  # It knows the row's flags.


ROWS: Final = (
    Row("a good certificate", True),
    Row("a good certificate, TLS 1.2", True, options=("-tls1_2",)),
    Row("a good certificate, TLS 1.3", True, options=("-tls1_3",), is_in_etcd_3_5_1=False),
    Row("TLS 1.1", False, options=("-tls1_1", "-cipher", WEAK)),
    Row("TLS 1.0", False, options=("-tls1", "-cipher", WEAK)),
    Row(
        "TLS 1.2 below a minimum of 1.3",
        False,
        options=("-tls1_2",),
        flags=MIN_1_3,
        is_known_to_3_5_1=False,
    ),
    Row("the suite that was chosen", True, options=("-tls1_2",), flags=SUITE),
    Row(
        "a suite that was not chosen",
        False,
        options=("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        flags=SUITE,
    ),
    Row("a suite without encryption", False, options=("-tls1_2", "-cipher", "NULL@SECLEVEL=0")),
    Row(
        "a suite that nobody need be known for",
        False,
        options=("-tls1_2", "-cipher", "ADH@SECLEVEL=0"),
    ),
    Row("no certificate", False, "none"),
    Row("no certificate, TLS 1.2", False, "none", ("-tls1_2",)),
    Row("another authority's", False, "stranger"),
    Row("another authority's of the same name", False, "twin"),
    Row("signed by itself", False, "self-signed"),
    Row("expired", False, "expired"),
    Row("expired, TLS 1.2", False, "expired", ("-tls1_2",)),
    Row("not yet valid", False, "early"),
    Row("for servers only", False, "server only"),
    Row("for anything, since it does not say", True, "any usage"),
    Row("of an authority below", True, "subordinate"),
    Row("of one that may not sign", False, "by a leaf"),
    Row("revoked", False, "revoked", flags=("--client-crl-file={crl}",)),
    Row("revoked, TLS 1.2", False, "revoked", ("-tls1_2",), ("--client-crl-file={crl}",)),
    Row("not revoked, with a list", True, flags=("--client-crl-file={crl}",)),
    Row("for the host that is allowed", True, "host", flags=BY_HOST),
    Row("for another host", False, flags=BY_HOST),
    Row("with the host as its name only", False, "host as CN", flags=BY_HOST),
)


class Certificates:
    """All that clients show in the rows, and the flags of a server for them."""

    def __init__(self, directory: Path) -> None:
        authority = Authority.make(directory)
        stranger = Authority.make(directory, "stranger")
        (directory / "twin").mkdir()
        twin = Authority.make(directory / "twin", authority.name)
        own = authority.issue("server")
        revoked = authority.issue("revoked")
        self.authority = authority
        self._crl = authority.revoke(directory / "crl", revoked)
        self.flags = (
            f"--cert-file={own.cert_file}",
            f"--key-file={own.key_file}",
            f"--trusted-ca-file={authority.ca_file}",
            "--client-cert-auth",
        )
        below = authority.subordinate("below")
        leaf = authority.subordinate("leaf", may_sign=False)
        self._sent_along = {"subordinate": below.ca_file, "by a leaf": leaf.ca_file}
        self._by_name: dict[str, Issued] = {
            "good": authority.issue("alice"),
            "stranger": stranger.issue("alice"),
            "twin": twin.issue("alice"),
            "self-signed": authority.self_signed("alice"),
            "expired": authority.issue("late", begins=-9, ends=-1),
            "early": authority.issue("early", begins=1, ends=9),
            "server only": authority.issue("s", usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
            "any usage": authority.issue("any", usages=()),
            "subordinate": below.issue("bob"),
            "by a leaf": leaf.issue("by-leaf"),
            "revoked": revoked,
            "host": authority.issue("h", hosts=(HOST,)),
            "host as CN": authority.issue(HOST),
        }

    def flags_of(self, row: Row) -> tuple[str, ...]:
        return (*self.flags, *(flag.format(crl=self._crl) for flag in row.flags))

    def is_let_in(self, openssl: str, port: int, row: Row) -> bool:
        """Whether OpenSSL's client has an answer."""
        return ANSWERED in self.asked(openssl, port, row)

    def renegotiated(self, openssl: str, port: int) -> bytes:
        """What OpenSSL's client says when it asks for another handshake on the connection."""
        issued = self._by_name["good"]
        shown = ("-cert", str(issued.cert_file), "-key", str(issued.key_file))
        command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", *shown]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            said = b""
            while b"Extended master secret" not in said:  # The end of what it tells of the first.
                said += process.stdout.readline()
            process.stdin.write(b"R\n")
            process.stdin.flush()
            said = process.stdout.read()  # It ends by itself, since it is refused.
            process.wait(WAIT_S)
        return said

    def asked(self, openssl: str, port: int, row: Row, request: bytes = REQUEST) -> bytes:
        """All that OpenSSL's client says of the connection, and what the server answered."""
        shown: tuple[str, ...] = ()
        if row.certificate != "none":
            issued = self._by_name[row.certificate]
            shown = ("-cert", str(issued.cert_file), "-key", str(issued.key_file))
        if row.certificate in self._sent_along:
            shown += ("-cert_chain", str(self._sent_along[row.certificate]))
        command = [
            *(openssl, "s_client", "-connect", f"127.0.0.1:{port}"),
            *("-CAfile", str(self.authority.ca_file), "-ign_eof", *shown, *row.options),
        ]
        done = subprocess.run(
            command, input=request, capture_output=True, check=False, timeout=WAIT_S
        )
        return done.stdout + done.stderr


def plain_answer(port: int, request: bytes) -> bytes:
    """What comes back, to its end, from a connection without TLS."""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as connection:
        connection.settimeout(WAIT_S)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)  # So that nobody waits for more of it.
        return b"".join(iter(lambda: _received(connection), b""))


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionError:
        return b""
