"""The settings of TLS for clients, and what must hold of them together.

Refusals have etcd's texts where etcd refuses too (server/embed/config.go, server/embed/etcd.go,
client/pkg/transport/listener.go). Beyond that, a limit on who may connect that would limit nobody
is refused rather than ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server.settings.ciphers import openssl_names
from server.settings.setting import ConfigError, option
from server.settings.urls import URL
from server.settings.values import BOOL, LIST, STRING, UINT

GROUP: Final = "Security"
TLS_VERSIONS: Final = ("TLS1.2", "TLS1.3")  # In ascending order.
TLS_VERSION_DEFAULT: Final = TLS_VERSIONS[0]  # The lowest, if none is named; as in etcd.


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Fields of `server.settings.config.Config`."""

    cert_file: str = option("", STRING, GROUP, "Certificate of this server, with its chain: PEM.")
    key_file: str = option("", STRING, GROUP, "Private key of the certificate: PEM, unencrypted.")
    trusted_ca_file: str = option(
        "",
        STRING,
        GROUP,
        "Authorities that clients' certificates must come from: PEM. Makes them required.",
    )
    client_cert_auth: bool = option(
        False,
        BOOL,
        GROUP,
        "Require a certificate of clients, by the system's authorities if no file names others.",
    )
    client_crl_file: str = option(
        "", STRING, GROUP, "List of revoked certificates, PEM or DER, read for each connection."
    )
    client_cert_allowed_hostname: tuple[str, ...] = option(
        (), LIST, GROUP, "Names, one of which a client's certificate must be valid for."
    )
    auto_tls: bool = option(
        False, BOOL, GROUP, "Make a self-signed certificate, unless one is given."
    )
    self_signed_cert_validity: int = option(
        1, UINT, GROUP, "Years of 365 days for which that certificate is valid."
    )
    tls_min_version: str = option(
        TLS_VERSION_DEFAULT, STRING, GROUP, f"Lowest version of TLS: {' or '.join(TLS_VERSIONS)}."
    )
    tls_max_version: str = option(
        "", STRING, GROUP, "Highest version of TLS; the highest there is if empty."
    )
    cipher_suites: tuple[str, ...] = option(
        (),
        LIST,
        GROUP,
        "Suites of TLS 1.2 to offer, by IANA's names. Those of 1.3 are all offered.",
    )

    @property
    def has_certificate(self) -> bool:
        return bool(self.cert_file or self.key_file)

    @property
    def makes_certificate(self) -> bool:
        return self.auto_tls and not self.has_certificate

    @property
    def requires_client_cert(self) -> bool:
        return self.client_cert_auth or bool(self.trusted_ca_file)

    def check_security(
        self, listening: Iterable[URL], *, transport: str, is_ephemeral: bool
    ) -> None:
        """Raises ConfigError."""
        self._check_versions()
        secure = [url for url in listening if url.is_tls]
        if not secure:
            return
        if self.makes_certificate:
            if self.self_signed_cert_validity == 0:
                raise ConfigError("selfSignedCertValidity is invalid,it should be greater than 0")
            if is_ephemeral:
                raise ConfigError(
                    "--auto-tls keeps its certificate in the data directory,"
                    " which --ephemeral forbids"
                )
        elif not self.has_certificate:
            raise ConfigError(
                "TLS key/cert (--cert-file, --key-file) must be provided"
                f" for client url {secure[0]} with HTTPS scheme"
            )
        elif not (self.cert_file and self.key_file):
            raise ConfigError(
                "KeyFile and CertFile must both be present"
                f"[key: {self.key_file}, cert: {self.cert_file}]"
            )
        if not self.requires_client_cert:
            for flag, value in (
                ("client-crl-file", self.client_crl_file),
                ("client-cert-allowed-hostname", self.client_cert_allowed_hostname),
            ):
                if value:
                    raise ConfigError(
                        f"--{flag} keeps nobody out unless clients need a certificate:"
                        " set --trusted-ca-file or --client-cert-auth"
                    )
        if transport == "grpcio":
            self._check_grpcio()

    def _check_versions(self) -> None:
        for version in (self.tls_min_version, self.tls_max_version):
            if version and version not in TLS_VERSIONS:
                raise ConfigError(f'unexpected TLS version "{version}"')
        low, high = self.tls_min_version, self.tls_max_version
        if low and high and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
            raise ConfigError(f"min version ({low}) is greater than max version ({high})")
        if not self.cipher_suites:
            return
        if low == TLS_VERSIONS[-1]:
            raise ConfigError("cipher suites cannot be configured when only TLS1.3 is enabled")
        try:
            suites = openssl_names(self.cipher_suites)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if not suites and high == TLS_VERSION_DEFAULT:
            raise ConfigError("--cipher-suites names none of TLS1.2, the highest version allowed")

    def _check_grpcio(self) -> None:
        """grpc's own TLS knows certificates, keys and one file of authorities, no more."""
        for flag, is_asked in (
            ("client-crl-file", bool(self.client_crl_file)),
            ("client-cert-allowed-hostname", bool(self.client_cert_allowed_hostname)),
            ("cipher-suites", bool(self.cipher_suites)),
            ("tls-min-version", self.tls_min_version == "TLS1.3"),
            ("tls-max-version", self.tls_max_version == "TLS1.2"),
        ):
            if is_asked:
                raise ConfigError(f"--{flag} cannot be kept by --transport grpcio; use native")
        if self.client_cert_auth and not self.trusted_ca_file:
            raise ConfigError("--client-cert-auth needs --trusted-ca-file with --transport grpcio")
