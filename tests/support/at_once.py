"""What answers messages at once, of one function."""

from __future__ import annotations

from collections.abc import Callable


class AnsweredAtOnce:
    """A `server.call.AtOnce` that does not tell a message alone from many."""

    def __init__(self, answer: Callable[[list[bytes]], list[bytes]]) -> None:
        self._answer = answer

    def __call__(self, messages: list[bytes]) -> list[bytes]:
        return self._answer(messages)

    def alone(self, message: bytes) -> bytes | None:
        return next(iter(self._answer([message])), None)
