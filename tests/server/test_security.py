"""Settings of TLS that contradict each other, and what etcd says then."""

from __future__ import annotations

from typing import Any

import pytest

from server.settings.ciphers import SUITES, SUITES_1_3, openssl_names
from server.settings.config import Config, ConfigError
from server.settings.urls import parse_urls

PAIR = {"cert_file": "c", "key_file": "k"}
AUTHORITY = {**PAIR, "trusted_ca_file": "a"}


def _config(urls: str = "https://127.0.0.1:1", **changed: Any) -> Config:
    settings: dict[str, Any] = {"transport": "native", "listen_client_urls": parse_urls(urls)}
    return Config(**{**settings, **changed})


def _refusal(urls: str = "https://127.0.0.1:1", **changed: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        _config(urls, **changed)
    return str(caught.value)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "unixs:///a"])
@pytest.mark.parametrize("where", ["listen_client_urls", "listen_client_http_urls"])
def test_a_url_with_tls_needs_a_certificate(url: str, where: str) -> None:
    assert _refusal("http://127.0.0.1:2", **{where: parse_urls(url)}) == (
        "TLS key/cert (--cert-file, --key-file) must be provided"
        f" for client url {url} with HTTPS scheme"
    )


def test_a_certificate_needs_its_key_and_a_key_its_certificate() -> None:
    assert _refusal(cert_file="c") == "KeyFile and CertFile must both be present[key: , cert: c]"
    assert _refusal(key_file="k") == "KeyFile and CertFile must both be present[key: k, cert: ]"


def test_without_a_url_with_tls_nothing_is_asked_of_certificates() -> None:
    _config("http://127.0.0.1:1", cert_file="c")
    _config("unix:///a", auto_tls=True, self_signed_cert_validity=0)


def test_a_self_signed_certificate_is_valid_for_a_while() -> None:
    _config(auto_tls=True)
    assert _refusal(auto_tls=True, self_signed_cert_validity=0) == (
        "selfSignedCertValidity is invalid,it should be greater than 0"
    )
    _config(auto_tls=True, self_signed_cert_validity=0, **PAIR)  # None is made.


def test_a_certificate_is_not_made_where_nothing_is_kept() -> None:
    assert "--ephemeral forbids" in _refusal(auto_tls=True, ephemeral=True)
    _config(auto_tls=True, ephemeral=True, **PAIR)


def test_a_given_certificate_wins_over_one_to_be_made() -> None:
    assert _config(auto_tls=True).makes_certificate
    assert not _config(auto_tls=True, **PAIR).makes_certificate


def test_an_authority_alone_makes_certificates_required() -> None:
    assert not _config(**PAIR).requires_client_cert
    assert _config(**AUTHORITY).requires_client_cert
    assert _config(client_cert_auth=True, **PAIR).requires_client_cert


@pytest.mark.parametrize(
    ("flag", "limit"),
    [
        ("client-crl-file", {"client_crl_file": "r"}),
        ("client-cert-allowed-hostname", {"client_cert_allowed_hostname": ("h",)}),
    ],
)
def test_a_limit_that_would_keep_nobody_out_is_refused(flag: str, limit: dict[str, Any]) -> None:
    assert _refusal(**PAIR, **limit).startswith(f"--{flag} keeps nobody out")
    _config(**AUTHORITY, **limit)
    _config(client_cert_auth=True, **PAIR, **limit)


# --- versions and suites ---


@pytest.mark.parametrize("which", ["tls_min_version", "tls_max_version"])
@pytest.mark.parametrize("version", ["TLS1.1", "1.2", "tls1.2"])
def test_a_version_that_is_not_known_is_refused(which: str, version: str) -> None:
    assert _refusal(**PAIR, **{which: version}) == f'unexpected TLS version "{version}"'


def test_the_lowest_version_is_not_above_the_highest() -> None:
    _config(tls_min_version="TLS1.3", tls_max_version="TLS1.3", **PAIR)
    assert _refusal(tls_min_version="TLS1.3", tls_max_version="TLS1.2", **PAIR) == (
        "min version (TLS1.3) is greater than max version (TLS1.2)"
    )


def test_suites_are_not_chosen_where_none_can_be() -> None:
    suites = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)
    assert _refusal(tls_min_version="TLS1.3", cipher_suites=suites, **PAIR) == (
        "cipher suites cannot be configured when only TLS1.3 is enabled"
    )
    assert "names none of TLS1.2" in _refusal(
        tls_max_version="TLS1.2", cipher_suites=("TLS_AES_128_GCM_SHA256",), **PAIR
    )


def test_suites_have_the_names_etcd_takes() -> None:
    assert openssl_names(tuple(SUITES)) == tuple(SUITES.values())
    assert openssl_names(tuple(SUITES_1_3)) == ()


def test_a_suite_that_cannot_be_offered_is_named() -> None:
    assert _refusal(cipher_suites=("x",), **PAIR) == 'unexpected TLS cipher suite "x"'
    openssl_s = "ECDHE-RSA-AES128-GCM-SHA256"
    assert openssl_s in _refusal(cipher_suites=(openssl_s,), **PAIR)
    broken = "TLS_RSA_WITH_RC4_128_SHA"
    assert f"{broken} is broken" in _refusal(cipher_suites=(broken,), **PAIR)


# --- grpcio ---


@pytest.mark.parametrize(
    ("flag", "limit"),
    [
        ("client-crl-file", {"client_crl_file": "r"}),
        ("client-cert-allowed-hostname", {"client_cert_allowed_hostname": ("h",)}),
        ("cipher-suites", {"cipher_suites": ("TLS_RSA_WITH_AES_128_CBC_SHA",)}),
        ("tls-min-version", {"tls_min_version": "TLS1.3"}),
        ("tls-max-version", {"tls_max_version": "TLS1.2"}),
    ],
)
def test_what_grpcio_cannot_keep_is_refused_with_it(flag: str, limit: dict[str, Any]) -> None:
    assert _refusal(transport="grpcio", **AUTHORITY, **limit) == (
        f"--{flag} cannot be kept by --transport grpcio; use native"
    )
    _config(**AUTHORITY, **limit)
    _config("http://127.0.0.1:1", transport="grpcio", **AUTHORITY, **limit)


def test_grpcio_needs_to_be_told_the_authority() -> None:
    assert "needs --trusted-ca-file" in _refusal(transport="grpcio", client_cert_auth=True, **PAIR)
    _config(transport="grpcio", client_cert_auth=True, **AUTHORITY)
    _config(transport="grpcio", tls_min_version="TLS1.2", tls_max_version="TLS1.3", **PAIR)
