"""What --auth-token may say, and which keys are no good."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.auth.errors import VerifyOnlyError
from server.auth.jwt import JwtTokens
from server.auth.tokens import Login, NoTokens, SimpleTokens
from server.logins import make_tokens
from server.settings.setting import ConfigError
from tests.support.authority import Authority

SECRET = b"s" * 64
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NOW = 1000.0


def _pair(folder: Path, key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> tuple[Path, Path]:
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _key(method: str) -> Any:
    if method == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[method]) if method in curves else RSA


def _jwt(setting: str) -> JwtTokens:
    tokens, goes_by_time_of_day = make_tokens(f"jwt,{setting}", 300)
    assert goes_by_time_of_day
    assert isinstance(tokens, JwtTokens)
    return tokens


def test_simple_tokens_go_by_the_monotonic_clock_and_a_ttl_of_0_is_the_default() -> None:
    tokens, goes_by_time_of_day = make_tokens("simple", 0)
    assert not goes_by_time_of_day
    assert isinstance(tokens, SimpleTokens)
    token = tokens.issue("ann", 1, 1, now=0)
    assert tokens.find(token, 1, now=299.9) is not None
    assert tokens.find(token, 1, now=599.9) is None
    assert isinstance(make_tokens("", 300)[0], NoTokens)


@pytest.mark.parametrize(
    "method",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
)
def test_each_method_signs_with_one_key_and_checks_with_the_other(
    tmp_path: Path, method: str
) -> None:
    private, public = _pair(tmp_path, _key(method))
    both = _jwt(f"pub-key={public},priv-key={private},sign-method={method},ttl=10s")
    token = both.issue("ann", 7, 1, now=NOW)
    for setting in (f"pub-key={public}", f"priv-key={private}"):
        other = _jwt(f"{setting},sign-method={method}")
        assert other.find(token, 1, now=NOW + 9) == Login("ann", 7)
        assert other.find(token, 1, now=NOW + 10) is None
    with pytest.raises(VerifyOnlyError):
        _jwt(f"pub-key={public},sign-method={method}").check_issue()


@pytest.mark.parametrize("method", ["HS256", "HS384", "HS512"])
def test_a_secret_signs_and_checks(tmp_path: Path, method: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    tokens = _jwt(f"priv-key={secret},sign-method={method}")
    token = tokens.issue("ann", 7, 1, now=NOW)
    assert tokens.find(token, 1, now=NOW + 299) == Login("ann", 7)
    assert tokens.find(token, 1, now=NOW + 300) is None


def test_a_short_secret_is_taken_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"short")
    with caplog.at_level(logging.WARNING):
        tokens = _jwt(f"priv-key={secret},sign-method=HS256")
    assert "short" in caplog.text
    token = tokens.issue("ann", 7, 1, now=NOW)
    assert tokens.find(token, 1, now=NOW) == Login("ann", 7)


def test_keys_come_in_gos_other_forms_too(tmp_path: Path) -> None:
    """PKCS #1 and SEC 1 for private keys; a certificate for a public one."""
    private, _ = _pair(tmp_path, RSA, PrivateFormat.TraditionalOpenSSL)
    _jwt(f"priv-key={private},sign-method=RS256").issue("ann", 1, 1, now=NOW)
    private, _ = _pair(tmp_path, _key("ES256"), PrivateFormat.TraditionalOpenSSL)
    _jwt(f"priv-key={private},sign-method=ES256").issue("ann", 1, 1, now=NOW)
    issued = Authority.make(tmp_path).issue("signer")
    tokens = _jwt(f"pub-key={issued.cert_file},priv-key={issued.key_file},sign-method=ES256")
    token = tokens.issue("ann", 1, 1, now=NOW)
    assert _jwt(f"pub-key={issued.cert_file},sign-method=ES256").find(token, 1, NOW) is not None


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("nonsense", '"nonsense" is neither simple nor jwt'),
        ("simple,x", '"x" is no option'),
        ("jwt,a=b=c", '"a=b=c" is no option'),
        ("jwt,ttl=1s,ttl=2s", "ttl is given twice"),
        ("jwt", 'sign-method "" is none of'),
        ("jwt,sign-method=none", 'sign-method "none" is none of'),
        ("jwt,sign-method=RS257", 'sign-method "RS257" is none of'),
        ("jwt,sign-method=RS256", "neither pub-key nor priv-key is given"),
        ("jwt,sign-method=HS256", "the file with the secret, is not given"),
        ("jwt,sign-method=RS256,pub-key=/nowhere", "pub-key: .*No such file"),
    ],
)
def test_what_cannot_be_made_sense_of_is_refused(setting: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^--auth-token: .*{reason}"):
        make_tokens(setting, 300)


def test_keys_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    private, public = _pair(tmp_path, RSA)
    (tmp_path / "other").mkdir()
    other, _ = _pair(tmp_path / "other", _key("ES256"))
    (tmp_path / "junk").write_bytes(b"junk")
    for setting, reason in (
        (f"sign-method=ES256,priv-key={private}", "the key is not one for ES256"),
        (f"sign-method=ES384,priv-key={other}", "the key is not one for ES384"),
        (f"sign-method=EdDSA,priv-key={other}", "the key is not one for EdDSA"),
        (f"sign-method=PS256,priv-key={other}", "the key is not one for PS256"),
        (f"sign-method=ES256,priv-key={other},pub-key={public}", "the key is not one for ES256"),
        (f"sign-method=RS256,priv-key={tmp_path / 'junk'}", "priv-key: "),
        (f"sign-method=RS256,pub-key={tmp_path / 'junk'}", "pub-key: "),
        (f"sign-method=RS256,priv-key={private},ttl=soon", "ttl: "),
    ):
        with pytest.raises(ConfigError, match=reason):
            make_tokens(f"jwt,{setting}", 300)
    twin, _ = _pair(tmp_path / "other", rsa.generate_private_key(65537, 2048))
    with pytest.raises(ConfigError, match="do not belong together"):
        make_tokens(f"jwt,sign-method=RS256,pub-key={public},priv-key={twin}", 300)


def test_an_option_that_nobody_knows_is_told_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with caplog.at_level(logging.WARNING):
        _jwt(f"sign-method=HS512,priv-key={secret},what=ever")
    assert "unknown JWT options" in caplog.text
