"""The certificate that --auto-tls makes: signed by itself, kept, and used by every later start.

It protects against being overheard and not against being impersonated, unless clients are given
the certificate to trust. So it is made once: a client that trusts it goes on doing so.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.log import fields

logger = logging.getLogger(__name__)

ORGANIZATION: Final = "etcd"  # Of the subject; etcd's, for clients that look.
DAYS_A_YEAR: Final = 365
CURVE: Final = ec.SECP256R1  # etcd's is P-521, with which clients built on BoringSSL do not deal.
_DIRECTORY_MODE: Final = 0o700
_KEY_MODE: Final = 0o600


class Pair(NamedTuple):
    cert_file: Path
    key_file: Path


def ensure_pair(
    directory: Path, hosts: Sequence[str], *, validity_years: int, unix_s: float
) -> Pair:
    """The pair in `directory`, made now if either file is missing (SelfCert in etcd's listener.go).

    Args:
        hosts: names and addresses the certificate is for.
        unix_s: the wall clock; the certificate is valid from then on.

    Raises:
        OSError: it cannot be kept.
        ValueError: no certificate can be valid for so long.
    """
    pair = Pair(directory / "cert.pem", directory / "key.pem")
    if pair.cert_file.exists() and pair.key_file.exists():
        return pair
    key = ec.generate_private_key(CURVE())
    certificate = _certificate(key, hosts, validity_years=validity_years, unix_s=unix_s)
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    # The key first, and both under other names until they are whole: a start that was cut short
    # leaves nothing that a later one would take for a pair.
    _write(
        pair.key_file,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )
    _write(pair.cert_file, certificate.public_bytes(serialization.Encoding.PEM))
    logger.info(
        "made a self-signed certificate",
        extra=fields(path=str(pair.cert_file), until=certificate.not_valid_after_utc.isoformat()),
    )
    return pair


def _certificate(
    key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], *, validity_years: int, unix_s: float
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)])
    begin = datetime.datetime.fromtimestamp(int(unix_s), datetime.UTC)
    try:
        end = begin + datetime.timedelta(days=DAYS_A_YEAR * validity_years)
    except OverflowError as error:
        raise ValueError(f"a validity of {validity_years} years is too long") from error
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), False)
        .sign(key, hashes.SHA256())
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, data: bytes) -> None:
    """Replace a file at once. Only its owner may read it."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _KEY_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
