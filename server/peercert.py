"""What a client's certificate says, once TLS has found it genuine: its name, hosts and number.

A certificate is given as `ssl.SSLObject.getpeercert` describes it, which is empty unless one was
required and verified. So nothing here is ever read off a certificate that nobody vouched for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Certificate = Mapping[str, Any]

_PEM_MARK = b"-----BEGIN"


def common_name(certificate: Certificate) -> str | None:
    """The last CN of the subject, as Go reads it; None without one."""
    found = None
    for names in certificate.get("subject", ()):
        for key, value in names:
            if key == "commonName":
                found = value
    return found


def is_valid_for(certificate: Certificate, host: str) -> bool:
    """Whether one of the certificate's alternative names is that host, or covers it.

    The subject's CN is no host name, and `*` stands for one whole label at the beginning, as in
    Go's Certificate.VerifyHostname.
    """
    names = certificate.get("subjectAltName", ())
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        wanted = host.rstrip(".").lower()
        return any(kind == "DNS" and _covers(name.lower(), wanted) for kind, name in names)
    return any(
        kind == "IP Address" and ipaddress.ip_address(name.strip()) == address
        for kind, name in names
    )


def _covers(pattern: str, host: str) -> bool:
    pattern = pattern.rstrip(".")
    if not pattern.startswith("*."):
        return bool(pattern) and pattern == host
    label, dot, rest = host.partition(".")
    return bool(label and dot) and rest == pattern[2:]


def serial_numbers(chain: Iterable[bytes]) -> list[int]:
    """Of certificates in DER, in their order.

    Raises:
        ValueError: one of them is none.
    """
    load = _x509().load_der_x509_certificate
    return [load(each).serial_number for each in chain]


def are_valid_at(chain: Iterable[bytes], unix_s: float) -> bool:
    """Whether certificates in DER, one at least, are all valid at that second since 1970.

    Raises:
        ValueError: one of them is none.
    """
    loaded = list(map(_x509().load_der_x509_certificate, chain))
    return bool(loaded) and all(
        each.not_valid_before_utc.timestamp() <= unix_s <= each.not_valid_after_utc.timestamp()
        for each in loaded
    )


def revoked_serials(data: bytes) -> frozenset[int]:
    """The serial numbers on a list of revoked certificates, in PEM or DER.

    Who has signed the list, and until when it is current, is not asked: etcd does not either, and
    a list that is out of date keeps out no fewer (checkCRL in client/pkg/transport).

    Raises:
        ValueError: it is no such list.
    """
    x509 = _x509()
    load = x509.load_pem_x509_crl if data.lstrip().startswith(_PEM_MARK) else x509.load_der_x509_crl
    return frozenset(entry.serial_number for entry in load(data))


class RevocationList:
    """The revoked certificates in a file, read anew whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data: bytes | None = None
        self._serials: Container[int] = ()

    def first_of(self, chain: Iterable[bytes]) -> int | None:
        """The serial number of the first certificate that is on the list, if one is.

        `chain` is all that the client has sent, in DER: those who vouch for it may be revoked, too
        (etcd's checkCRL goes through them all).

        Raises:
            OSError, ValueError: the list cannot be read, so nobody knows.
        """
        data = self._path.read_bytes()
        if data != self._data:
            self._serials = revoked_serials(data)
            self._data = data
        return next((each for each in serial_numbers(chain) if each in self._serials), None)


def _x509() -> ModuleType:
    """Only when it is needed: who has no clients with certificates starts without it."""
    from cryptography import x509

    return x509


def any_valid_for(certificate: Certificate, hosts: Sequence[str]) -> bool:
    return any(is_valid_for(certificate, host) for host in hosts)
