"""A session of TLS 1.2 that a client takes up again: no handshake, and yet it is looked at."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from server.clock import SystemClock
from server.settings.config import Config
from server.tls import ServerTLS
from server.tls_files import Files
from tests.support.authority import Authority, Issued

DAY_S: Final = 24 * 3600
ROUNDS: Final = 4  # Of messages, which is more than a handshake has.


class World:
    """A server that requires certificates, at a time of day that the test sets."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.make(directory)
        own = self.authority.issue("server")
        self.crl = self.authority.revoke(directory / "crl")
        self.unix_s = time.time()
        config = Config(trusted_ca_file=str(self.authority.ca_file), client_crl_file=str(self.crl))
        files = Files(own.cert_file, own.key_file, self.authority.ca_file)
        self.tls = ServerTLS(config, files, SystemClock(), lambda: self.unix_s)

    def client(self, own: Issued) -> Callable[[], str | None]:
        """A client that, each time it comes, takes up its last session; the name it is known by."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.ca_file)
        context.load_cert_chain(own.cert_file, own.key_file)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        session: ssl.SSLSession | None = None

        def come() -> str | None:
            nonlocal session
            to_server, to_client, there, here = (ssl.MemoryBIO() for _ in range(4))
            client = context.wrap_bio(here, there, server_hostname="localhost", session=session)
            server = self.tls.begin(self.tls.source, to_server, to_client)
            for _ in range(ROUNDS):
                _step(client.do_handshake)
                to_server.write(there.read())
                _step(server.do_handshake)
                here.write(to_client.read())
            _step(server.unwrap)  # Or OpenSSL would forget a session that had no proper end.
            was_known = session is not None
            session = client.session
            assert bool(server.session_reused) is was_known
            name: str | None = server.peer_cn  # type: ignore[attr-defined]  # it is one of ours
            return name

        return come


def _step(do: Callable[[], object]) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):  # It is the other one's turn.
        do()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_session_may_be_taken_up_again(world: World) -> None:
    come = world.client(world.authority.issue("alice"))
    assert [come(), come(), come()] == ["alice", "alice", "alice"]


def test_not_by_one_whose_certificate_has_ended_since(world: World) -> None:
    come = world.client(world.authority.issue("alice", ends=2))
    assert come() == "alice"
    world.unix_s += 2 * DAY_S - 60
    assert come() == "alice"
    world.unix_s += 61
    with pytest.raises(ssl.SSLError, match="not valid any more"):
        come()


def test_nor_by_one_whose_authority_s_has(world: World) -> None:
    """An authority's certificate lasts 30 days here, and this one's own for longer than that."""
    come = world.client(world.authority.subordinate("below").issue("bob", ends=90))
    assert come() == "bob"
    world.unix_s += 31 * DAY_S
    with pytest.raises(ssl.SSLError, match="not valid any more"):
        come()


def test_nor_by_one_that_was_revoked_since(world: World) -> None:
    mallory = world.authority.issue("mallory")
    come = world.client(mallory)
    assert come() == "mallory"
    world.authority.revoke(world.crl, mallory)
    with pytest.raises(ssl.SSLError, match="revoked"):
        come()


def test_nor_by_one_whose_authority_is_not_trusted_any_more(world: World, tmp_path: Path) -> None:
    """The next connection makes another context, which has never heard of the session."""
    come = world.client(world.authority.issue("alice"))
    assert come() == "alice"
    (tmp_path / "other").mkdir()
    other = Authority.make(tmp_path / "other")
    world.authority.ca_file.write_bytes(other.ca_file.read_bytes())
    with pytest.raises(ssl.SSLError):
        come()
