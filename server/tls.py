"""TLS for clients: which certificate is shown, who is let in, and what a handshake may cost.

What is always true:
  1. A handshake uses the certificate, key and authorities that are in the files when its
     connection begins (etcd's GetCertificate does so for the first two). Files that cannot be used
     change nothing: the last good ones stay in force.
  2. Where a certificate is required of clients, none gets in without one that an authority
     vouches for, that is not revoked, and that is for an allowed host if any are named.
  3. A session that is taken up again, which OpenSSL lets a client of TLS 1.2 do for two hours, was
     checked by it at its beginning only. So the list of revoked certificates is asked again, and
     so is whether they all are valid still; other authorities make another context, which knows
     no session of the last one's.
  4. Handshakes are bounded in time by `HANDSHAKE_TIMEOUT_S`, in number by `HANDSHAKES_MAX`; and
     by one connection a listener in each turn of the loop, which one costs some 2 ms.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from server import peercert
from server.clock import Clock
from server.log import fields
from server.settings.config import Config, StartError
from server.settings.security import Security
from server.settings.urls import URL
from server.tls_files import ALPN, Files, Source, UnusableError, make_context

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 10.0  # From the connection's begin; a slow one takes a second.
HANDSHAKES_MAX: Final = 1024  # Under way at once; a full backlog of connections gets through.
SHUTDOWN_TIMEOUT_S: Final = 5.0  # For the client's goodbye, once we have said ours.
_DER: Final = 2  # By the number that OpenSSL's module has for it.
AUTO_DIRECTORY: Final = Path("fixtures") / "client"  # In the data directory; etcd's place.


class ServerTLS:
    """The TLS of one server, whatever it listens on."""

    def __init__(
        self,
        security: Security,
        files: Files,
        clock: Clock,
        unix_s: Callable[[], float],
        *,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        handshakes_max: int = HANDSHAKES_MAX,
    ) -> None:
        """`unix_s` tells the time of day, which certificates go by.

        Raises:
            UnusableError: the files are not what they should be.
        """
        self.requires_client_cert = security.requires_client_cert
        self._hosts = security.client_cert_allowed_hostname
        self._revoked: peercert.RevocationList | None = None
        if security.client_crl_file:
            self._revoked = peercert.RevocationList(Path(security.client_crl_file))
            self._check_revoked(())
        self._clock = clock
        self._unix_s = unix_s
        self._handshake_timeout_s = handshake_timeout_s
        self._handshakes_max = handshakes_max
        self._handshakes: weakref.WeakKeyDictionary[_Handshake, float] = weakref.WeakKeyDictionary()
        self._is_full = False
        self._make = partial(make_context, security)
        self._files = files
        self.source = Source(files, self._make)

    @property
    def handshakes(self) -> int:
        """How many have begun and not ended, among them those whose client has just gone."""
        return len(self._handshakes)

    def listening(self, alpn: Sequence[str] = ALPN) -> dict[str, Any]:
        """The arguments by which a loop's `create_server` and its like listen with TLS.

        Raises:
            StartError: the files were changed a moment ago, and to nothing of use.
        """
        source = self.source
        if alpn != ALPN:
            try:
                source = Source(self._files, partial(self._make, alpn=alpn))
            except UnusableError as error:
                raise StartError(f"TLS: {error}") from error
        return {
            "ssl": _AnewEachTime(self, source),
            "ssl_handshake_timeout": self._handshake_timeout_s,
            "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT_S,
        }

    def admit(
        self,
        certificate: peercert.Certificate,
        chain: Callable[[], Sequence[bytes]],
        *,
        is_resumed: bool,
    ) -> str | None:
        """The CN of the client's certificate, if it has to have one.

        `chain` gives what the client has sent, in DER: its own certificate and others. If the
        session `is_resumed`, it has sent it when the session began.

        Raises:
            ssl.SSLError: the certificate is genuine, but not one to let in.
        """
        if not self.requires_client_cert:
            return None
        if is_resumed and not peercert.are_valid_at(chain(), self._unix_s()):
            raise ssl.SSLError("certificate of a resumed session is not valid any more")
        try:
            self._check_revoked(() if self._revoked is None else chain())
        except UnusableError as error:
            raise ssl.SSLError(str(error)) from error
        if self._hosts and not peercert.any_valid_for(certificate, self._hosts):
            raise ssl.SSLError("client certificate authentication failed")  # etcd's words
        return peercert.common_name(certificate)

    def _check_revoked(self, chain: Sequence[bytes]) -> None:
        if self._revoked is None:
            return
        try:
            number = self._revoked.first_of(chain)
        except (OSError, ValueError) as error:
            raise UnusableError(f"list of revoked certificates: {error}") from error
        if number is not None:
            raise ssl.SSLError(f"transport: certificate serial {number:x} revoked")

    # --- handshakes ---

    def begin(
        self, source: Source, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> ssl.SSLObject:
        """The server's end of a new connection."""
        now = self._clock.now()
        if len(self._handshakes) >= self._handshakes_max:
            self._forget(now - self._handshake_timeout_s)
        is_full = len(self._handshakes) >= self._handshakes_max
        if not is_full:
            source.changed()
        context = source.context
        context.sslobject_class = _Handshake
        made = context.wrap_bio(incoming, outgoing, server_side=True)
        assert isinstance(made, _Handshake)
        made.tls = self
        made.outgoing = outgoing
        if is_full:
            made.error = ssl.SSLError("too many handshakes under way")
        else:
            self._handshakes[made] = now
        if is_full and not self._is_full:
            logger.warning(
                "too many TLS handshakes under way; refusing connections",
                extra=fields(handshakes=len(self._handshakes)),
            )
        self._is_full = is_full
        return made

    def ended(self, handshake: _Handshake) -> None:
        self._handshakes.pop(handshake, None)

    def failed(self, error: ssl.SSLError) -> bool:
        """Whether there is room to tell the client, which is one more to wait for until it goes."""
        logger.warning("rejected connection", extra=fields(error=str(error)))
        return len(self._handshakes) <= self._handshakes_max // 2

    def _forget(self, before: float) -> None:
        """Those that began before then are over, though the loop does not tell of all of them."""
        for handshake in [each for each, at in self._handshakes.items() if at <= before]:
            del self._handshakes[handshake]


class _Handshake(ssl.SSLObject):
    """Lets in whom the server admits, before anything else sees the connection.

    To the loop, who is not admitted is a handshake that failed. Where TLS has an alert for the
    failure, it would close before that is sent: so it is told to wait for more, sends what
    there is, and learns of the failure when the client says or does anything more.
    """

    tls: ServerTLS
    outgoing: ssl.MemoryBIO
    peer_cn: str | None = None
    error: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self.error is not None:
            self.tls.ended(self)
            raise self.error
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.tls.failed(error) and self.outgoing.pending:
                self.error = error
                raise ssl.SSLWantReadError from error
            self.tls.ended(self)
            raise
        self.tls.ended(self)
        try:
            self.peer_cn = self.tls.admit(
                self.getpeercert() or {}, self._chain, is_resumed=bool(self.session_reused)
            )
        except ssl.SSLError as error:
            self.tls.failed(error)
            raise

    def _chain(self) -> list[bytes]:
        if sys.version_info >= (3, 13):
            return self.get_unverified_chain()
        sslobj: Any = self._sslobj  # type: ignore[attr-defined]  # Python 3.13 makes it public
        return [each.public_bytes(_DER) for each in sslobj.get_unverified_chain() or ()]


class _AnewEachTime(ssl.SSLContext):
    """What the loop listens with, once and for all; each connection gets the context of the day."""

    def __new__(cls, *_: object) -> _AnewEachTime:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, tls: ServerTLS, source: Source) -> None:
        self._tls = tls
        self._source = source

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: ARG002  # a server's always
        server_hostname: str | bytes | None = None,  # noqa: ARG002  # a client's only
        session: ssl.SSLSession | None = None,  # noqa: ARG002  # a client's only
    ) -> ssl.SSLObject:
        return self._tls.begin(self._source, incoming, outgoing)


def listening(tls: ServerTLS | None, url: URL, alpn: Sequence[str] = ALPN) -> dict[str, Any]:
    """What `ServerTLS.listening` says, where the URL asks for TLS; nothing elsewhere.

    Raises:
        StartError
    """
    if not url.is_tls:
        return {}
    assert tls is not None, "the settings give a certificate"
    return tls.listening(alpn)


def peer_cn(transport: asyncio.BaseTransport) -> str | None:
    """The CN of the client's certificate, if one was required and verified; else None."""
    connection = transport.get_extra_info("ssl_object")
    return connection.peer_cn if isinstance(connection, _Handshake) else None


def open_tls(config: Config, clock: Clock, *, unix_s: Callable[[], float]) -> ServerTLS | None:
    """What the settings ask for; None if nobody is served with TLS.

    Args:
        unix_s: the wall clock; a certificate made now is valid from now on.

    Raises:
        StartError
    """
    _remark(config)
    secure = [url for url in config.served_urls if url.is_tls]
    if not secure:
        return None
    try:
        if config.makes_certificate:
            from server.selfsigned import ensure_pair  # Only here, as in `peercert`.

            certificate, key = ensure_pair(
                config.data_dir.absolute() / AUTO_DIRECTORY,
                list(dict.fromkeys(_host(url) for url in secure)),
                validity_years=config.self_signed_cert_validity,
                unix_s=unix_s(),
            )
        else:
            certificate, key = Path(config.cert_file), Path(config.key_file)
        authorities = Path(config.trusted_ca_file) if config.trusted_ca_file else None
        return ServerTLS(config, Files(certificate, key, authorities), clock, unix_s)
    except (UnusableError, OSError, ValueError) as error:
        raise StartError(f"TLS: {error}") from error


def _host(url: URL) -> str:
    return "localhost" if url.is_unix else url.host


def _remark(config: Config) -> None:
    """etcd's warnings of settings that have no effect (configureClientListeners)."""
    if config.auto_tls and config.has_certificate:
        logger.warning("ignoring client auto TLS since certs given")
    for url in config.served_urls:
        if url.is_tls:
            continue
        if config.has_certificate:
            logger.warning(
                "scheme is http or unix while key and cert files are present;"
                " ignoring key and cert files",
                extra=fields(client_url=str(url)),
            )
        if config.client_cert_auth:
            logger.warning(
                "scheme is http or unix while --client-cert-auth is enabled;"
                " ignoring client cert auth for this URL",
                extra=fields(client_url=str(url)),
            )
