"""Simple tokens: how long they live, whose they are, and how many there may be."""

from __future__ import annotations

import pytest

from server.auth import tokens as module
from server.auth.errors import AuthFailedError
from server.auth.tokens import Login, NoTokens, SimpleTokens


def test_a_token_lives_up_to_its_ttl_and_each_use_prolongs_it() -> None:
    tokens = SimpleTokens(ttl_s=10)
    token = tokens.issue("ann", 1, 7, now=100)
    assert token.endswith(".7")
    assert tokens.find(token, 5, now=109) == Login("ann", 5)
    assert tokens.find(token, 6, now=118) == Login("ann", 6)
    assert tokens.find(token, 6, now=128) is None  # The very instant is too late,
    assert tokens.find(token, 6, now=120) is None  # and what is gone is gone.


@pytest.mark.parametrize("token", ["", "x", "x.1", "aaaaaaaaaaaaaaaa.99999999999999999999", "\xff"])
def test_what_was_never_given_out_is_nobodys(token: str) -> None:
    tokens = SimpleTokens(ttl_s=10)
    tokens.issue("ann", 1, 1, now=0)
    assert tokens.find(token, 1, now=0) is None


def test_what_has_run_out_is_dropped_when_the_next_is_made() -> None:
    tokens = SimpleTokens(ttl_s=10)
    old = [tokens.issue("ann", 1, number, now=number) for number in range(3)]
    assert tokens.find(old[0], 1, now=9) is not None
    tokens.issue("bob", 1, 9, now=12)
    assert len(tokens) == 2
    assert tokens.find(old[0], 1, now=12) is not None


def test_a_users_tokens_are_taken_back_and_no_others() -> None:
    tokens = SimpleTokens(ttl_s=10)
    anns = [tokens.issue("ann", 1, number, now=0) for number in range(2)]
    bobs = tokens.issue("bob", 1, 2, now=0)
    tokens.forget("ann")
    assert [tokens.find(each, 1, now=0) for each in anns] == [None, None]
    assert tokens.find(bobs, 1, now=0) is not None
    tokens.clear()
    assert tokens.find(bobs, 1, now=0) is None


def test_above_the_bound_the_one_longest_unused_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKENS_MAX", 3)
    tokens = SimpleTokens(ttl_s=10)
    first, second, third = (tokens.issue("ann", 1, number, now=0) for number in range(3))
    tokens.find(first, 1, now=1)
    tokens.issue("ann", 1, 4, now=2)
    assert len(tokens) == 3
    assert tokens.find(second, 1, now=2) is None
    assert tokens.find(first, 1, now=2) is not None
    assert tokens.find(third, 1, now=2) is not None


def test_without_tokens_nobody_logs_in() -> None:
    tokens = NoTokens()
    with pytest.raises(AuthFailedError):
        tokens.check_issue()
    assert tokens.find("any", 1, now=0) is None
    assert len(tokens) == 0
    tokens.forget("ann")
    tokens.clear()
