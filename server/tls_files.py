"""The files behind TLS, and the contexts made of them: the newest that could be used is in force.

Files are compared by what they hold, not by their times: two writes may fall into one tick of the
file system's clock. A file that changes between our look and OpenSSL's is other than what we
remember, so the next look finds it changed and loads it again.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from server.log import fields
from server.settings.ciphers import openssl_names
from server.settings.security import Security

logger = logging.getLogger(__name__)

FILE_BYTES_MAX: Final = 4 << 20  # Of one file; the web's whole list of authorities has 250 KiB.
ALPN: Final = ("h2", "http/1.1")  # What clients may speak, the preferred first.
ALPN_HTTP1: Final = ("http/1.1",)
_VERSIONS: Final = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}


class UnusableError(Exception):
    """A file that is not what it should be. The text names it."""


class Contents(NamedTuple):
    """PEM, as read."""

    certificate: bytes
    key: bytes
    authorities: bytes | None


class Files(NamedTuple):
    certificate: Path
    key: Path
    authorities: Path | None

    def read(self) -> Contents:
        """Raises UnusableError."""
        return Contents(
            _read("certificate", self.certificate),
            _read("key", self.key),
            None if self.authorities is None else _read("file of authorities", self.authorities),
        )


class Source:
    """What the files hold, and what it makes."""

    def __init__(self, files: Files, make: Callable[[Files], ssl.SSLContext]) -> None:
        """Raises UnusableError: `make` cannot use what is there now."""
        self._files = files
        self._make = make
        contents = files.read()
        self.context = make(files)
        self.first = contents
        self._seen = _digest(contents)
        self._complaint = ""

    def changed(self) -> Contents | None:
        """What the files hold now, if it is another thing than it was and can be used."""
        try:
            contents = self._files.read()
            digest = _digest(contents)
            if digest == self._seen:
                return None
            self.context = self._make(self._files)
        except UnusableError as error:
            self._complain(str(error))
            return None
        self._seen = digest
        self._complaint = ""
        logger.info("read TLS files anew", extra=fields(cert_file=str(self._files.certificate)))
        return contents

    def _complain(self, complaint: str) -> None:
        """Say it once, and not for each connection that finds it so."""
        if complaint != self._complaint:
            self._complaint = complaint
            logger.error(
                "cannot use the TLS files as they are now; the last good ones stay in force",
                extra=fields(error=complaint),
            )


def make_context(security: Security, files: Files, alpn: Sequence[str] = ALPN) -> ssl.SSLContext:
    """Raises UnusableError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = openssl_names(security.cipher_suites)
    lowest = _VERSIONS[security.tls_min_version or "TLS1.2"]
    if security.cipher_suites and not names:
        lowest = ssl.TLSVersion.TLSv1_3  # All that was chosen is there, and nothing else.
    context.minimum_version = lowest
    if security.tls_max_version:
        context.maximum_version = _VERSIONS[security.tls_max_version]
    if names:
        context.set_ciphers(":".join(names))
    context.set_alpn_protocols(alpn)
    # A session that is taken up again is not checked again: not for its end, nor who vouches. No
    # tickets leaves TLS 1.2 the sessions that the context remembers, see `server.tls`.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    _load_pair(context, files)
    if security.requires_client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
        # Any certificate in the file is trusted, and need not be one at the root: as in Go.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        _load_authorities(context, files.authorities)
    return context


def _load_pair(context: ssl.SSLContext, files: Files) -> None:
    def no_password() -> str:
        # Otherwise OpenSSL would ask at the terminal, and the server would wait for an answer.
        raise UnusableError(f"key {files.key}: it is encrypted, and there is none to decrypt it")

    try:
        context.load_cert_chain(files.certificate, files.key, password=no_password)
    except (ssl.SSLError, OSError) as error:
        raise UnusableError(
            f"certificate {files.certificate} with key {files.key}: {error}"
        ) from error


def _load_authorities(context: ssl.SSLContext, path: Path | None) -> None:
    if path is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise UnusableError(f"file of authorities {path}: {error}") from error


def _read(what: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UnusableError(f"{what} {path}: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise UnusableError(f"{what} {path}: larger than {FILE_BYTES_MAX} bytes")
    return data


def _digest(contents: Contents) -> bytes:
    """So that no key is kept in memory for the sake of comparing."""
    return b"".join(hashlib.sha256(each or b"").digest() for each in contents)
