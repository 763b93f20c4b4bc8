"""Hashing: what matches, how much of it runs at once, and what is told by how long it takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import bcrypt
import pytest

from server import passwords as module
from server.auth.errors import PasswordTooLongError
from server.passwords import COST_DEFAULT, Passwords, cost_in_force
from server.status import TooManyRequestsError
from tests.support.loop import in_loop

CHEAP = 4


@asynccontextmanager
async def _passwords(cost: int = CHEAP) -> AsyncIterator[Passwords]:
    passwords = Passwords(cost)
    try:
        yield passwords
    finally:
        passwords.close()


@in_loop
async def test_a_password_matches_its_own_hash_and_no_other() -> None:
    async with _passwords() as passwords:
        stored = await passwords.hash("one")
        assert stored.startswith(b"$2a$04$")
        assert await passwords.match("one", stored)
        assert not await passwords.match("One", stored)
        assert not await passwords.match("", stored)
        assert await passwords.hash("one") != stored


@in_loop
async def test_a_hash_that_etcd_made_matches() -> None:
    """By golang.org/x/crypto/bcrypt: "$2a$", whatever the cost."""
    async with _passwords() as passwords:
        made = bcrypt.hashpw(b"secret", bcrypt.gensalt(5, b"2a"))
        assert await passwords.match("secret", made)
        assert not await passwords.match("secret ", made)


@in_loop
async def test_72_bytes_are_the_most_and_a_longer_one_is_not_cut_when_it_is_set() -> None:
    async with _passwords() as passwords:
        stored = await passwords.hash("p" * 72)
        assert await passwords.match("p" * 72, stored)
        assert await passwords.match("p" * 73, stored)  # As on etcd: the rest is not looked at.
        with pytest.raises(PasswordTooLongError):
            await passwords.hash("p" * 73)
        umlauts = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 37
        with pytest.raises(PasswordTooLongError):
            await passwords.hash(umlauts)


@in_loop
async def test_nothing_matches_what_is_no_hash() -> None:
    async with _passwords() as passwords:
        for stored in (None, b"", b"junk", b"$2a$04$short"):
            assert not await passwords.match("", stored)
            assert not await passwords.match("x", stored)


@in_loop
async def test_for_nobody_a_hash_of_the_same_cost_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that names cannot be guessed by how soon a login fails."""
    looked_at: list[bytes] = []

    def noting(password: bytes, stored: bytes, real: Callable[..., bool] = bcrypt.checkpw) -> bool:
        looked_at.append(stored)
        return real(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", noting)
    async with _passwords(5) as passwords:
        stored = await passwords.hash("one")
        assert not await passwords.match("two", stored)
        assert not await passwords.match("two", None)
        assert not await passwords.match("two", b"")
    assert [each[:7] for each in looked_at] == [b"$2a$05$"] * 3
    assert [len(each) for each in looked_at] == [60] * 3


@in_loop
async def test_few_run_at_once_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", module.HASHING_MAX + 1)
    running, most = 0, 0
    lock, go = threading.Lock(), threading.Event()

    def held(password: bytes, salt: bytes) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(20)
        with lock:
            running -= 1
        return password + salt

    monkeypatch.setattr(bcrypt, "hashpw", held)
    async with _passwords() as passwords:
        tasks = [asyncio.ensure_future(passwords.hash("x")) for _ in range(module.WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError):
            await passwords.hash("one more")
        go.set()
        await asyncio.gather(*tasks)
        await passwords.hash("there is room again")
    assert most <= module.HASHING_MAX


@pytest.mark.parametrize(("asked", "used"), [(3, 10), (4, 4), (31, 31), (32, 10), (0, 10)])
def test_a_cost_that_bcrypt_does_not_know_is_the_default(asked: int, used: int) -> None:
    """NewAuthStore in server/auth/store.go."""
    assert COST_DEFAULT == 10
    assert cost_in_force(asked) == used
