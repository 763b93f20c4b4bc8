"""The tokens of `--auth-token=jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m`.

The options come in any order (server/auth/options.go). Files are read once, at the start.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.warnings import InsecureKeyLengthWarning

from server.auth.jwt import JwtTokens
from server.log import fields
from server.settings.setting import ConfigError
from server.settings.values import parse_duration

logger = logging.getLogger(__name__)

JWT_TTL_DEFAULT_S: Final = 300.0
_OPTIONS: Final = ("sign-method", "pub-key", "priv-key", "ttl")
_SECRET_BYTES_MIN: Final = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2.
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_RSA: Final = frozenset(kind + bits for kind in ("RS", "PS") for bits in ("256", "384", "512"))


class Keys(NamedTuple):
    sign: Any  # None to check tokens that are made elsewhere.
    verify: Any


def jwt_tokens(options: Mapping[str, str]) -> JwtTokens:
    """Raises ConfigError: an option, or a file that one names, is not to be used."""
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        logger.warning("unknown JWT options", extra=fields(keys=unknown))
    method = options.get("sign-method", "")
    keys = _keys(method, _file(options, "pub-key"), _file(options, "priv-key"))
    try:
        ttl_s = parse_duration(options["ttl"]) if options.get("ttl") else JWT_TTL_DEFAULT_S
    except ValueError as error:
        raise ConfigError(f"ttl: {error}") from error
    return JwtTokens(method, keys.sign, keys.verify, ttl_s)


def _file(options: Mapping[str, str], name: str) -> bytes:
    path = options.get(name)
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: {error}") from error


def _keys(method: str, public: bytes, private: bytes) -> Keys:
    if method in _SECRET_BYTES_MIN:
        return _secret(method, private)
    if method not in _RSA and method not in _CURVES and method != "EdDSA":
        raise ConfigError(
            f'sign-method "{method}" is none of RS, PS, ES, HS with 256, 384, 512, and EdDSA'
        )
    if not public and not private:
        raise ConfigError("neither pub-key nor priv-key is given")
    sign: Any = _loaded("priv-key", load_pem_private_key, private, None) if private else None
    verify = _loaded("pub-key", _public_key, public) if public else sign.public_key()
    _check_kind(method, verify)
    if sign is not None and sign.public_key() != verify:
        raise ConfigError("pub-key and priv-key do not belong together")
    return Keys(sign, verify)


def _secret(method: str, secret: bytes) -> Keys:
    if not secret:
        raise ConfigError("priv-key, the file with the secret, is not given")
    if len(secret) < _SECRET_BYTES_MIN[method]:
        logger.warning(
            "the secret that tokens are signed with is short",
            extra=fields(bytes=len(secret), recommended=_SECRET_BYTES_MIN[method]),
        )
        # Said once, here; PyJWT would say it again with each token.
        warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    return Keys(secret, secret)


def _loaded(name: str, load: Any, *arguments: Any) -> Any:
    try:
        return load(*arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{name}: {error}") from error


def _public_key(data: bytes) -> Any:
    """A public key in PEM, or that of a certificate, as Go takes both."""
    if b"BEGIN CERTIFICATE" in data:
        return x509.load_pem_x509_certificate(data).public_key()
    return load_pem_public_key(data)


def _check_kind(method: str, key: Any) -> None:
    if method in _CURVES:
        is_fit = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == _CURVES[method]
    elif method in _RSA:
        is_fit = isinstance(key, rsa.RSAPublicKey)
    else:
        is_fit = isinstance(key, ed25519.Ed25519PublicKey)
    if not is_fit:
        raise ConfigError(f"the key is not one for {method}")
