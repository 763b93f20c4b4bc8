"""Who gets in over TLS, by OpenSSL's own client: every row of `tests.support.tls_clients`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.process.conftest import Servers
from tests.process.tools import free_port, tool
from tests.support.process import ServerProcess
from tests.support.tls_clients import (
    ANSWERED,
    REQUEST,
    ROWS,
    Certificates,
    Row,
    plain_answer,
)

FLAGS = sorted({tuple(row.flags) for row in ROWS})


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def _serving(servers: Servers, *flags: str, scheme: str = "https") -> tuple[ServerProcess, int]:
    port = free_port()
    server = servers.spawn(*flags, url=f"{scheme}://127.0.0.1:{port}")
    return server.wait_until_ready(), port


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: " ".join(flags) or "as usual")
def test_each_client_is_let_in_or_refused_as_its_row_says(
    flags: Sequence[str], servers: Servers, certificates: Certificates
) -> None:
    openssl = tool("openssl")
    rows = [row for row in ROWS if tuple(row.flags) == tuple(flags)]
    server, port = _serving(servers, *certificates.flags_of(rows[0]))
    found = {row.name: certificates.is_let_in(openssl, port, row) for row in rows}
    assert found == {row.name: row.is_let_in for row in rows}
    # Whoever came in between: the server is well, and has a line for each that was refused.
    assert certificates.is_let_in(openssl, port, Row("a good one", is_let_in=True)) is (
        "--client-cert-allowed-hostname" not in " ".join(flags)
    )
    if not all(found.values()):
        assert "rejected connection" in server.messages
    assert not any("Traceback" in line for line in server.noise), server.described()


def test_no_connection_is_negotiated_anew(servers: Servers, certificates: Certificates) -> None:
    """What was checked of a client at its beginning holds to the end (RFC 5746's attack)."""
    openssl = tool("openssl")
    _, port = _serving(servers, *certificates.flags)
    said = certificates.renegotiated(openssl, port)
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said


def test_nobody_is_given_a_ticket(servers: Servers, certificates: Certificates) -> None:
    """Who shows one would not be checked; and its key would have to be kept and changed."""
    openssl = tool("openssl")
    _, port = _serving(servers, *certificates.flags)
    for version in ("-tls1_2", "-tls1_3"):
        said = certificates.asked(openssl, port, Row("asks", is_let_in=True, options=(version,)))
        assert ANSWERED in said
        assert b"New Session Ticket arrived" not in said
        assert b"TLS session ticket:" not in said


def test_what_is_not_tls_gets_nothing_from_a_port_of_tls(
    servers: Servers, certificates: Certificates
) -> None:
    _, port = _serving(servers, *certificates.flags)
    for request in (
        REQUEST,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"\0" * 64,
        b"\x16\x03\x01\xff\xff" + b"\xff" * 300,
    ):
        answer = plain_answer(port, request)
        assert ANSWERED not in answer
        assert not answer.startswith(b"HTTP/1.1 200")
    assert certificates.is_let_in(tool("openssl"), port, Row("a good one", is_let_in=True))


def test_tls_gets_nothing_from_a_port_without_it(
    servers: Servers, certificates: Certificates
) -> None:
    openssl = tool("openssl")
    server, port = _serving(servers, scheme="http")
    assert not certificates.is_let_in(openssl, port, Row("over TLS", is_let_in=False))
    assert ANSWERED in plain_answer(port, REQUEST)
    assert server.is_running
