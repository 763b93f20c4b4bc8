"""Passwords and their hashes: bcrypt, in threads of its own, since it is meant to be slow.

A hash takes from a millisecond to minutes, by its cost, and does not hold the GIL. So few run at
once, whatever clients ask for, and what waits is bounded.

Whoever does not know a user's name learns nothing by asking: for one that does not exist, or has
no password, a hash is computed all the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import bcrypt

from server.auth.errors import PasswordTooLongError
from server.log import fields
from server.status import TooManyRequestsError

logger = logging.getLogger(__name__)

# At once. Each takes a core, and one is left to everything else where there are several.
HASHING_MAX: Final = max(1, min(4, (os.cpu_count() or 1) - 1))
WAITING_MAX: Final = 1000  # With those being computed; one more is refused.
PASSWORD_BYTES_MAX: Final = 72  # bcrypt looks at no more of it.
COST_MIN: Final = 4
COST_MAX: Final = 31
COST_DEFAULT: Final = 10
_PREFIX: Final = b"2a"  # As Go's bcrypt writes it.
_NO_DIGEST: Final = b"." * 31  # Behind a salt: a hash that no password can be expected to have.

ResultT = TypeVar("ResultT")


def cost_in_force(asked: int) -> int:
    """The cost asked for, or the default where bcrypt knows none such."""
    if COST_MIN <= asked <= COST_MAX:
        return asked
    logger.warning(
        "use default bcrypt cost instead of the invalid given cost",
        extra=fields(
            min_cost=COST_MIN, max_cost=COST_MAX, default_cost=COST_DEFAULT, given_cost=asked
        ),
    )
    return COST_DEFAULT


class Passwords:
    def __init__(self, cost: int) -> None:
        """`cost`: each step up doubles the work."""
        self._cost = cost
        self._nobodys = bcrypt.gensalt(cost, _PREFIX) + _NO_DIGEST
        self._threads = ThreadPoolExecutor(HASHING_MAX, thread_name_prefix="bcrypt")
        self._waiting = 0

    async def hash(self, password: str) -> bytes:
        """The hash to store for a password.

        Raises:
            PasswordTooLongError, TooManyRequestsError
        """
        text = password.encode()
        if len(text) > PASSWORD_BYTES_MAX:
            raise PasswordTooLongError
        return await self._computed(
            lambda: bcrypt.hashpw(text, bcrypt.gensalt(self._cost, _PREFIX))
        )

    async def match(self, password: str, stored: bytes | None) -> bool:
        """Whether it is the password of that hash. None, no hash at all, takes as long as one.

        Raises:
            TooManyRequestsError
        """
        text = password.encode()[:PASSWORD_BYTES_MAX]
        return await self._computed(lambda: _matches(text, stored or self._nobodys)) and bool(
            stored
        )

    async def _computed(self, compute: Callable[[], ResultT]) -> ResultT:
        if self._waiting >= WAITING_MAX:
            raise TooManyRequestsError
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, compute)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Compute nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, stored)
    except ValueError:  # It is no hash: no password can be right.
        return False
