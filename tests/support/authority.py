"""A tiny certificate authority: what a test needs of certificates, written as PEM files.

Keys are elliptic and made in a millisecond. Times are set apart from now by days, so that nothing
here becomes valid or invalid while a test runs.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY: Final = datetime.timedelta(days=1)
_ANYONE: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Issued(NamedTuple):
    """A certificate and its key, in files."""

    cert_file: Path
    key_file: Path
    certificate: x509.Certificate

    def copy_over(self, other: Issued) -> None:
        """Replace another's files, as one who renews a certificate does."""
        other.key_file.write_bytes(self.key_file.read_bytes())
        other.cert_file.write_bytes(self.cert_file.read_bytes())


class Authority:
    def __init__(
        self,
        directory: Path,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        own: x509.Certificate,
        *,
        is_sent_along: bool = False,
    ) -> None:
        self.name = name
        self.ca_file = directory / f"{name}.crt"
        self._directory = directory
        self._key = key
        self._own = own
        self._is_sent_along = is_sent_along
        self.ca_file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    @classmethod
    def make(cls, directory: Path, name: str = "ca") -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        own = (
            _builder(subject, subject, key, begins=-30, ends=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(directory, name, key, own)

    def subordinate(self, name: str, *, may_sign: bool = True) -> Authority:
        """An authority that this one vouches for; what it issues comes with its own certificate.

        Unless it `may_sign` its certificate says that it is none.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        own = (
            _builder(_name(name), self._own.subject, key, begins=-30, ends=30)
            .add_extension(x509.BasicConstraints(ca=may_sign, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return Authority(self._directory, name, key, own, is_sent_along=True)

    @property
    def own(self) -> Issued:
        """Its own certificate; the key stays with it."""
        return Issued(self.ca_file, Path(), self._own)

    def issue(
        self,
        cn: str,
        *,
        hosts: Sequence[str] = ("localhost", "127.0.0.1"),
        begins: int = -2,
        ends: int = 2,
        password: bytes = b"",
        usages: Sequence[x509.ObjectIdentifier] = _ANYONE,
    ) -> Issued:
        """A certificate for a server or a client; `begins` and `ends` in days from now.

        Without `usages` it does not say what it is for.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(cn), self._own.subject, key, begins=begins, ends=ends)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = _for_hosts(builder, hosts).sign(self._key, hashes.SHA256())
        sent = [certificate, self._own] if self._is_sent_along else [certificate]
        return self._written(cn, key, certificate, sent, password)

    def self_signed(self, cn: str) -> Issued:
        """A certificate that nobody vouches for, of somebody who takes an issued one's name."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(cn), _name(cn), key, begins=-2, ends=2)
        builder = builder.add_extension(x509.ExtendedKeyUsage(_ANYONE), critical=False)
        certificate = _for_hosts(builder, ("localhost",)).sign(key, hashes.SHA256())
        return self._written(cn, key, certificate, [certificate], b"")

    def _written(
        self,
        cn: str,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        sent: Sequence[x509.Certificate],
        password: bytes,
    ) -> Issued:
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password)
        stem = self._directory / f"{self.name}-{cn}-{certificate.serial_number:x}"
        issued = Issued(stem.with_suffix(".crt"), stem.with_suffix(".key"), certificate)
        issued.cert_file.write_bytes(
            b"".join(each.public_bytes(serialization.Encoding.PEM) for each in sent)
        )
        issued.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )
        return issued

    def revoke(self, path: Path, *revoked: Issued, encoding: str = "PEM") -> Path:
        """Write the list of revoked certificates."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._own.subject)
            .last_update(now - _DAY)
            .next_update(now + _DAY)
        )
        for each in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(each.certificate.serial_number)
                .revocation_date(now - _DAY)
                .build()
            )
        crl = builder.sign(self._key, hashes.SHA256())
        path.write_bytes(crl.public_bytes(getattr(serialization.Encoding, encoding)))
        return path


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    begins: int,
    ends: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * _DAY)
        .not_valid_after(now + ends * _DAY)
    )


def _for_hosts(builder: x509.CertificateBuilder, hosts: Sequence[str]) -> x509.CertificateBuilder:
    names = [_general(host) for host in hosts]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _name(cn: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
