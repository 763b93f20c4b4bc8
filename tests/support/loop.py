"""Tests that are coroutines, each in an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from server.loop import new_event_loop

Params = ParamSpec("Params")
ResultT = TypeVar("ResultT")


def run_in_loop(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    """As `asyncio.run`, in a loop as the server's: for whatever has a socket."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


def in_server_loop(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """Let pytest run a coroutine function in a loop as the server's."""

    @functools.wraps(test)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        run_in_loop(test(*args, **kwargs))

    return run


def in_loop(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """Let pytest run a coroutine function in asyncio's own loop, which can say that it is idle.

    For what has no socket, and so meets nothing of a loop but the order of its turns.
    """

    @functools.wraps(test)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run
