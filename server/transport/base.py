"""What the process asks of a transport, whichever it is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

from server.settings.urls import URL

# Beyond max-request-bytes, what a message may have around the request (etcd's
# grpcOverheadBytes in server/etcdserver/api/v3rpc/grpc.go).
OVERHEAD_BYTES: Final = 512 << 10
DRAIN_LOOK_S: Final = 0.01  # At the stop: no call under way and none new for so long ends it.


async def wait_until(is_quiet: Callable[[], bool], grace_s: float) -> None:
    """Return once `is_quiet` has been so after a look's time, or when `grace_s` is over."""
    for _ in range(math.ceil(grace_s / DRAIN_LOOK_S)):
        await asyncio.sleep(DRAIN_LOOK_S)
        if is_quiet():
            return


class Transport(Protocol):
    @property
    def streams(self) -> int:
        """How many streams are being served."""
        ...

    async def listen(self, url: URL) -> None:
        """Bind an address.

        Raises:
            OSError: it cannot be bound.
        """
        ...

    async def start(self) -> None: ...

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls, end the streams as etcd does, let the rest finish within `grace_s`."""
        ...

    async def close(self) -> None:
        """Let go of the sockets."""
        ...
