"""The event loop that the process runs on: uvloop's.

asyncio's own is Python: select, the reading of a socket and the writing to it cost as much again as
the system calls in them. uvloop does these in C, on libuv. What is served with it is what is tested
with it: tests that have a socket take their loop from here.
"""

from __future__ import annotations

import asyncio
from typing import cast

import uvloop


def new_event_loop() -> asyncio.AbstractEventLoop:
    return uvloop.new_event_loop()


def as_transport(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """What a protocol is given once it is connected. uvloop's transports only look like this."""
    return cast(asyncio.Transport, transport)
