"""Signed tokens: the server remembers nothing, so they outlive it, and nobody can take one back.

A token carries user, auth revision and the second it runs out (server/auth/jwt.go). As it says
the revision of when it was made, every change to users and roles makes all of them old.

Checking a signature takes longer than most requests, so what a token claims is kept once that is
found good. Whether it has run out is asked each time.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import jwt

from server.auth.errors import VerifyOnlyError
from server.auth.tokens import Login

CHECKED_MAX: Final = 10_000  # Tokens whose signature need not be looked at again.
CHECKED_LETTERS_MAX: Final = 2048  # A longer one is looked at each time; kept ones take 30 MB.


class JwtTokens:
    """`now` is in seconds since 1970, since that is what a token says."""

    def __init__(self, method: str, sign_key: Any, verify_key: Any, ttl_s: float) -> None:
        """`method` is a name of RFC 7518's; `sign_key` None if tokens are made elsewhere."""
        self._method = method
        self._sign_key = sign_key
        self._verify_key = verify_key
        self._ttl_s = ttl_s
        self._signatures = jwt.PyJWS()
        self._checked: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def find(self, token: str, revision: int, now: float) -> Login | None:  # noqa: ARG002  # it says its own
        claims = self._checked.get(token)
        if claims is None:
            claims = self._check(token)
            if claims is None:
                return None
        else:
            self._checked.move_to_end(token)
        expiry, begin = claims.get("exp"), claims.get("nbf")
        if (expiry is not None and now >= expiry) or (begin is not None and now < begin):
            return None
        return Login(claims["username"], int(claims["revision"]))

    def _check(self, token: str) -> Mapping[str, Any] | None:
        """What a token claims, if it is well made and its signature good."""
        try:
            payload = self._signatures.decode(token, self._verify_key, [self._method])
            claims = json.loads(payload)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None  # The last one: JSON nested deeper than the interpreter likes.
        if not _is_complete(claims):
            return None
        if len(token) <= CHECKED_LETTERS_MAX:
            self._checked[token] = claims
            if len(self._checked) > CHECKED_MAX:
                self._checked.popitem(last=False)
        kept: Mapping[str, Any] = claims
        return kept

    def check_issue(self) -> None:
        if self._sign_key is None:
            raise VerifyOnlyError

    def issue(self, user: str, revision: int, index: int, now: float) -> str:  # noqa: ARG002  # it needs no name
        claims = {"exp": int(now + self._ttl_s), "revision": revision, "username": user}
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return self._signatures.encode(payload, self._sign_key, self._method)

    def forget(self, user: str) -> None: ...

    def clear(self) -> None: ...

    def __len__(self) -> int:
        return 0


def _is_complete(claims: Any) -> bool:
    """Whether user and revision are there, and whatever says a time is a number."""
    return (
        isinstance(claims, dict)
        and isinstance(claims.get("username"), str)
        and _is_number(claims.get("revision"))
        and all(_is_number(claims[name]) for name in ("exp", "nbf") if name in claims)
    )


def _is_number(value: object) -> bool:
    """JSON as Python reads it has infinity too, and what is no number at all."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
