"""What --auth-token asks for, made: which tokens are given out.

`simple`, or `jwt` with options (`server.jwt_keys`), or nothing at all for users that come in by
certificates only (NewTokenProvider in server/auth/store.go).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lease.lessor import Lessor
from server.auth.gate import Gate
from server.auth.store import AuthStore
from server.auth.tokens import NoTokens, SimpleTokens, Tokens
from server.clock import Clock
from server.settings.config import Config
from server.settings.setting import ConfigError

SIMPLE_TTL_DEFAULT_S: Final = 300  # What a TTL of 0 means (simpleTokenTTLDefault).


def gate_maker(
    config: Config, clock: Clock, unix_s: Callable[[], float]
) -> Callable[[AuthStore, Lessor], Gate]:
    """What makes the gate of a store's users. `unix_s` tells the time of day, which JWTs go by.

    Raises:
        ConfigError: see `make_tokens`.
    """
    tokens, goes_by_time_of_day = make_tokens(config.auth_token, config.auth_token_ttl_s)

    def make(store: AuthStore, lessor: Lessor) -> Gate:
        return Gate(
            store,
            lessor,
            tokens,
            unix_s if goes_by_time_of_day else clock.now,
            takes_names_of_certificates=config.client_cert_auth,
        )

    return make


def make_tokens(setting: str, simple_ttl_s: int) -> tuple[Tokens, bool]:
    """The tokens, and whether they go by the time of day: see `Tokens`.

    Raises:
        ConfigError: the setting, or a file that it names, is not to be used.
    """
    try:
        return _make_tokens(setting, simple_ttl_s)
    except ConfigError as error:
        raise ConfigError(f"--auth-token: {error}") from error


def _make_tokens(setting: str, simple_ttl_s: int) -> tuple[Tokens, bool]:
    kind, *pairs = setting.split(",")
    options = _options(pairs)
    if kind == "":
        return NoTokens(), False
    if kind == "simple":
        return SimpleTokens(simple_ttl_s or SIMPLE_TTL_DEFAULT_S), False
    if kind == "jwt":
        from server.jwt_keys import jwt_tokens  # Only here: others start without what it needs.

        return jwt_tokens(options), True
    raise ConfigError(f'"{kind}" is neither simple nor jwt')


def _options(pairs: list[str]) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise ConfigError(f'"{pair}" is no option: name=value is')
        if name in options:
            raise ConfigError(f"{name} is given twice")
        options[name] = value
    return options
