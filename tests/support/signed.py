"""A channel whose calls all carry a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signed:
    """As much of a grpc.aio channel as the client of the tests uses."""

    def __init__(self, channel: Any, token: str) -> None:
        self._channel = channel
        self._token = token

    def unary_unary(self, *arguments: Any) -> Callable[..., Any]:
        return self._signed(self._channel.unary_unary(*arguments))

    def unary_stream(self, *arguments: Any) -> Callable[..., Any]:
        return self._signed(self._channel.unary_stream(*arguments))

    def stream_stream(self, *arguments: Any) -> Callable[..., Any]:
        return self._signed(self._channel.stream_stream(*arguments))

    def _signed(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, metadata: tuple[tuple[str, str | bytes], ...] = ()) -> Any:
            return make(*arguments, metadata=(("token", self._token), *metadata))

        return call

    async def close(self) -> None:
        await self._channel.close()
