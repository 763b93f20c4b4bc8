"""Tokens that somebody makes up: guessed ones, signed ones by the wrong key, and wild ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.auth.jwt import JwtTokens
from server.auth.tokens import PREFIX_LETTERS, Login, SimpleTokens
from server.logins import make_tokens

NOW: Final = 1_700_000_000.0
SECRET: Final = b"a secret of more than thirty-two bytes"
MADE: Final = 2000
LETTERS: Final = 52
CLAIMS: Final = {"username": "root", "revision": 7}


# --- simple tokens ---


def test_a_token_is_16_letters_each_as_likely_as_any_other() -> None:
    """52 ** 16 is 91 bits. Each letter comes 615 times here; 400 to 850 is beyond 8 sigma."""
    tokens = SimpleTokens(ttl_s=10)
    names = [tokens.issue("ann", 1, 1, now=0).removesuffix(".1") for _ in range(MADE)]
    assert {len(name) for name in names} == {PREFIX_LETTERS}
    assert len(set(names)) == MADE
    counts = Counter("".join(names))
    assert len(counts) == LETTERS
    assert all(400 < count < 850 for count in counts.values())
    for place in range(PREFIX_LETTERS):
        assert len({name[place] for name in names}) == LETTERS


def test_who_knows_the_seed_of_random_knows_no_token() -> None:
    """What `random` gives can be told from 624 numbers of it; tokens come from the system."""
    made = []
    for _ in range(2):
        random.seed(7)
        made.append(SimpleTokens(ttl_s=10).issue("ann", 1, 1, now=0))
    assert made[0] != made[1]


def test_nearly_the_token_is_nobodys_and_does_not_prolong_it() -> None:
    tokens = SimpleTokens(ttl_s=10)
    token = tokens.issue("ann", 1, 7, now=0)
    name, _, index = token.partition(".")
    for guess in (
        name,
        f"{name}.",
        f"{name}.8",
        f"{name}.07",
        f"{name}.7 ",
        f" {name}.7",
        f"{name}.7\0",
        f"{name}.7.7",
        f"{name.swapcase()}.7",
        f"{name[1:]}.7",
        f"{name[::-1]}.7" if name != name[::-1] else "x.7",
        f".{index}",
        f"Bearer {token}",  # The gate takes off one, and only one.
        "*",
        "%",
    ):
        assert tokens.find(guess, 1, now=9) is None
    assert tokens.find(token, 1, now=10) is None


# --- signed tokens ---


def _part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _by_hand(head: Any, claims: Any = CLAIMS, secret: bytes = SECRET) -> str:
    """Signed by HS256, whatever the head says."""
    text = f"{_part(head)}.{_part(claims)}"
    return f"{text}.{_part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def _tokens() -> JwtTokens:
    return JwtTokens("HS256", SECRET, SECRET, ttl_s=300)


def test_what_is_made_by_hand_here_would_be_good_but_for_what_is_wrong_with_it() -> None:
    assert _tokens().find(_by_hand({"alg": "HS256"}), 7, NOW) == Login("root", 7)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS384", "hs256", None, 7])
def test_a_token_does_not_choose_how_it_is_checked(name: Any) -> None:
    head, body, _ = _by_hand({"alg": name}).split(".")
    for signature in ("", _by_hand({"alg": name}).split(".")[2]):
        assert _tokens().find(f"{head}.{body}.{signature}", 7, NOW) is None


def _pair(folder: Path, key: Any) -> tuple[Path, Path, list[bytes]]:
    """Files of both keys, and all the forms in which the public one may go about."""
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(pem)
    return private, public, [pem, pem.strip(), der]


@pytest.mark.parametrize("method", ["RS256", "PS256", "ES256", "EdDSA"])
def test_the_public_key_is_no_secret_to_sign_with(method: str, tmp_path: Path) -> None:
    """CVE-2016-10555 and its kin: HS256, with the public key as the secret."""
    key: Any
    if method == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    elif method == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public, forms = _pair(tmp_path, key)
    tokens, _ = make_tokens(f"jwt,sign-method={method},pub-key={public},priv-key={private}", 300)
    for secret in forms:
        for name in ("HS256", method):
            assert tokens.find(_by_hand({"alg": name}, secret=secret), 7, NOW) is None
    good = tokens.issue("ann", 7, 1, NOW)
    assert tokens.find(good, 7, NOW) == Login("ann", 7)


def test_a_key_that_a_token_brings_along_is_not_used() -> None:
    """CVE-2018-0114: `jwk`, and the others that name a key."""
    own = b"the attacker's own, of more than 32 bytes"
    jwk = {"kty": "oct", "k": _part(own)}
    for head in (
        {"alg": "HS256", "jwk": jwk},
        {"alg": "HS256", "jku": "https://attacker.example/keys"},
        {"alg": "HS256", "kid": "../../../../dev/null"},
        {"alg": "HS256", "x5u": "https://attacker.example/cert"},
    ):
        for secret in (own, b""):
            assert _tokens().find(_by_hand(head, secret=secret), 7, NOW) is None


def test_an_extension_that_must_be_understood_and_is_not_makes_it_no_token() -> None:
    """RFC 7515 section 4.1.11."""
    assert _tokens().find(_by_hand({"alg": "HS256", "crit": ["x"], "x": 1}), 7, NOW) is None


def test_a_token_that_has_run_out_is_none_however_often_it_was_good_before() -> None:
    tokens = _tokens()
    token = _by_hand({"alg": "HS256"}, {**CLAIMS, "exp": NOW + 5})
    assert tokens.find(token, 7, NOW + 4) == Login("root", 7)
    assert tokens.find(token, 7, NOW + 5) is None
    assert tokens.find(token, 7, NOW + 4) == Login("root", 7)
    never = _by_hand({"alg": "HS256"}, {**CLAIMS, "exp": -1})
    assert tokens.find(never, 7, NOW) is None


DEPTH: Final = 20_000  # Of what fits into a header of 64 KiB.


@pytest.mark.parametrize(
    "token",
    [
        f"{_part(b'[' * DEPTH)}.e30.AAAA",
        f"{_part(b'[' * 990)}.e30.AAAA",
        _part(b'{"a":' * 9_000) + ".e30.AAAA",
        _by_hand({"alg": "HS256"}, b"[" * DEPTH),
        _by_hand({"alg": "HS256"}, b'{"username":"root","revision":1e999}'),
        _by_hand({"alg": "HS256"}, b'{"username":"root","revision":-Infinity}'),
        _by_hand({"alg": "HS256"}, b'{"username":"root","revision":NaN}'),
        _by_hand({"alg": "HS256"}, b'{"username":"root","revision":7,"exp":NaN}'),
        _by_hand({"alg": "HS256"}, b'{"username":"root","revision":%s}' % (b"9" * 5000)),
        _by_hand({"alg": "HS256"}, b"\xff\xfe"),
        _by_hand({"alg": "HS256"}, b""),
        "." * 60_000,
        "..",
        f"{_part({'alg': 'HS256'})}.{'A' * 60_000}.A",
    ],
)
def test_a_wild_token_is_none_and_nothing_else_happens(token: str) -> None:
    """An exception while a put is checked would end the process."""
    assert _tokens().find(token, 7, NOW) is None


def test_a_library_that_does_not_catch_deep_nesting_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PyJWT 2.10, which may be installed, raises RecursionError from a token's head."""

    def decode(*_: object) -> bytes:
        raise RecursionError

    tokens = _tokens()
    monkeypatch.setattr(tokens, "_signatures", jwt.PyJWS())
    monkeypatch.setattr(tokens._signatures, "decode", decode)
    assert tokens.find("a.b.c", 7, NOW) is None
