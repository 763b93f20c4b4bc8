"""Waiting for something a server is to bring about, without ever sleeping."""

import time
from collections.abc import Callable
from typing import Final

WAIT_MAX_S: Final = 15.0  # etcd's own tests give an expiry 15 s to be seen.


def wait_until(claim: Callable[[], object], within_s: float = WAIT_MAX_S) -> None:
    """Ask again and again until `claim` holds; each question is a call to the server.

    Raises:
        TimeoutError: it does not hold after `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {within_s} s")
