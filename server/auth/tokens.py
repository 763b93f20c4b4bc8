"""Tokens: given out against a password, shown with each request, good for a time.

A simple token is a random name under which the server remembers a user. It lives as long as it
is used at least once in its TTL, and no longer than the process; it always carries the present
auth revision. It is lost when its user is deleted or gets another password, and all of them are
when authentication is disabled (server/auth/simple_token.go).

Every token has the same TTL, so the order of last use is the order in which they run out: what
has run out is dropped from the front, a few at each look, and nothing has to sweep.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Final, NamedTuple, Protocol

from server.auth.errors import AuthFailedError

PREFIX_LETTERS: Final = 16
TOKENS_MAX: Final = 100_000  # Some 30 MB; above it the one longest unused is dropped.
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Login(NamedTuple):
    """What a good token says."""

    user: str
    revision: int  # The auth revision it speaks of.


class Tokens(Protocol):
    """`now` is in seconds, of a clock that the one who makes the tokens chooses."""

    def find(self, token: str, revision: int, now: float) -> Login | None:
        """Who shows this token; None if it is not, or no longer, good. Using it prolongs it."""
        ...

    def check_issue(self) -> None:
        """Raise what stands against `issue`.

        Raises:
            VerifyOnlyError, AuthFailedError
        """
        ...

    def issue(self, user: str, revision: int, index: int, now: float) -> str:
        """A token for a user who has just proved who it is. `index` is put behind its name."""
        ...

    def forget(self, user: str) -> None:
        """Take back the tokens of one user, if they can be taken back at all."""
        ...

    def clear(self) -> None:
        """Take back all of them."""
        ...

    def __len__(self) -> int:
        """How many are remembered."""
        ...


class SimpleTokens:
    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._users: OrderedDict[str, tuple[str, float]] = OrderedDict()  # With when it runs out.

    def find(self, token: str, revision: int, now: float) -> Login | None:
        known = self._users.get(token)
        if known is None:
            return None
        user, expiry = known
        if now >= expiry:
            del self._users[token]
            return None
        self._users[token] = (user, now + self._ttl_s)
        self._users.move_to_end(token)
        return Login(user, revision)

    def check_issue(self) -> None: ...

    def issue(self, user: str, revision: int, index: int, now: float) -> str:  # noqa: ARG002  # the present one
        self._drop_expired(now)
        while len(self._users) >= TOKENS_MAX:
            self._users.popitem(last=False)
        prefix = "".join(secrets.choice(_LETTERS) for _ in range(PREFIX_LETTERS))
        token = f"{prefix}.{index}"
        self._users[token] = (user, now + self._ttl_s)
        return token

    def _drop_expired(self, now: float) -> None:
        while self._users:
            token, (_, expiry) = next(iter(self._users.items()))
            if now < expiry:
                break
            del self._users[token]

    def forget(self, user: str) -> None:
        for token in [token for token, (owner, _) in self._users.items() if owner == user]:
            del self._users[token]

    def clear(self) -> None:
        self._users.clear()

    def __len__(self) -> int:
        return len(self._users)


class NoTokens:
    """Nobody can log in: the only users are those of certificates (an empty --auth-token)."""

    def find(self, token: str, revision: int, now: float) -> Login | None:  # noqa: ARG002  # none is good
        return None

    def check_issue(self) -> None:
        raise AuthFailedError

    def issue(self, user: str, revision: int, index: int, now: float) -> str:  # noqa: ARG002  # as above
        raise AssertionError("check_issue has refused it")

    def forget(self, user: str) -> None: ...

    def clear(self) -> None: ...

    def __len__(self) -> int:
        return 0
