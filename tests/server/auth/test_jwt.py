"""Signed tokens: what they say, until when, and what is no token."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from server.auth import jwt as module
from server.auth.errors import VerifyOnlyError
from server.auth.jwt import JwtTokens
from server.auth.tokens import Login

SECRET = b"a secret of more than thirty-two bytes"
OTHER = b"another one of more than thirty-two bytes"
NOW = 1_700_000_000.0


def _tokens(secret: bytes = SECRET) -> JwtTokens:
    return JwtTokens("HS256", secret, secret, ttl_s=300)


def _signed(claims: Any, secret: bytes = SECRET, method: str = "HS256") -> str:
    return jwt.PyJWS().encode(json.dumps(claims).encode(), secret, method)


def test_a_token_says_who_and_as_of_which_revision_until_its_second() -> None:
    """TestJWTInfo and TestJWTTokenWithMissingFields, server/auth/jwt_test.go."""
    tokens = _tokens()
    token = tokens.issue("ann", 7, 1, now=NOW)
    claims = json.loads(jwt.PyJWS().decode(token, SECRET, ["HS256"]))
    assert claims == {"username": "ann", "revision": 7, "exp": NOW + 300}
    assert tokens.find(token, 99, now=NOW + 299.9) == Login("ann", 7)
    assert tokens.find(token, 99, now=NOW + 300) is None
    assert _tokens().find(token, 99, now=NOW) == Login("ann", 7)  # Of a server started anew.


def test_a_token_that_somebody_else_made_is_good_if_it_is_signed() -> None:
    claims = {"username": "ann", "revision": 7}
    assert _tokens().find(_signed(claims), 1, now=NOW) == Login("ann", 7)
    assert _tokens().find(_signed({**claims, "revision": 7.0}), 1, now=NOW) == Login("ann", 7)
    later = _signed({**claims, "nbf": NOW + 1})
    assert _tokens().find(later, 1, now=NOW) is None
    assert _tokens().find(later, 1, now=NOW + 1) == Login("ann", 7)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"username": "ann"},
        {"revision": 7},
        {"username": 7, "revision": 7},
        {"username": "ann", "revision": "7"},
        {"username": "ann", "revision": True},
        {"username": "ann", "revision": 7, "exp": "soon"},
        {"username": "ann", "revision": 7, "nbf": None},
        ["username", "revision"],
        "ann",
    ],
)
def test_a_signed_token_with_something_else_in_it_is_none(claims: Any) -> None:
    assert _tokens().find(_signed(claims), 7, now=NOW) is None


def test_a_token_that_is_not_signed_so_is_none() -> None:
    claims = {"username": "root", "revision": 7}
    good = _signed(claims)
    head, body, signature = good.split(".")
    unsigned = jwt.PyJWS().encode(json.dumps(claims).encode(), "", "none")
    for token in (
        _signed(claims, OTHER),
        _signed(claims, SECRET * 2, "HS512"),
        unsigned,
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{_signed({**claims, 'username': 'ann'}).split('.')[1]}.{signature}",
        good + "a",
        "",
        "abcdefghijklmnop.7",
        "\xff.\xff.\xff",
    ):
        assert _tokens().find(token, 7, now=NOW) is None


def test_a_token_without_a_key_to_sign_it_cannot_be_made() -> None:
    tokens = JwtTokens("HS256", None, SECRET, ttl_s=300)
    with pytest.raises(VerifyOnlyError):
        tokens.check_issue()
    _tokens().check_issue()
    assert tokens.find(_signed({"username": "ann", "revision": 1}), 1, now=NOW) is not None


def test_nobody_can_take_a_token_back() -> None:
    tokens = _tokens()
    token = tokens.issue("ann", 7, 1, now=NOW)
    tokens.forget("ann")
    tokens.clear()
    assert tokens.find(token, 7, now=NOW) is not None
    assert len(tokens) == 0


def test_what_is_kept_of_checked_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKED_MAX", 2)
    tokens = _tokens()
    made = [tokens.issue(f"user {number}", 1, 1, now=NOW) for number in range(3)]
    for token in (made[0], made[1], made[0], made[2]):
        assert tokens.find(token, 1, now=NOW) is not None
    assert list(tokens._checked) == [made[0], made[2]]
    long = _signed({"username": "a" * module.CHECKED_LETTERS_MAX, "revision": 1})
    assert tokens.find(long, 1, now=NOW) is not None
    assert long not in tokens._checked
