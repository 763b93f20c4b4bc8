"""Calls that wait, and the queues that they wait in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc.aio

from tests.support.client import RECEIVE_TIMEOUT_S, Client

ResultT = TypeVar("ResultT")


def waiting(call: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
    """Begin a call that is not expected to be answered yet."""
    return asyncio.ensure_future(call)


async def leave(call: asyncio.Task[Any]) -> None:
    """Cancel a call from the client's side."""
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call


async def queued(client: Client, name: bytes, count: int) -> None:
    """Return once there are so many keys in the queue of that name."""
    async with asyncio.timeout(RECEIVE_TIMEOUT_S):
        while (await _count(client, name)) != count:  # noqa: ASYNC110  # nobody signals it
            await asyncio.sleep(0.001)


async def _count(client: Client, name: bytes) -> int:
    return (await client.get(name + b"/", name + b"0", count_only=True)).count
