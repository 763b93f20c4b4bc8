"""The whole server behind real gRPC, in the test's own process.

    @served(max_txn_ops=2)
    async def test_something(server: Running) -> None:
        await server.client.kv.Put(...)

Keyword arguments are fields of `server.settings.config.Config`. Data is in memory, or in the
RocksDB directory a test names; time is the machine's, or a `FakeClock` that the test moves.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from etcdpb import rpc_pb2 as pb
from mvcc.backend.base import Backend
from mvcc.backend.memory import MemoryBackend
from mvcc.backend.rocks import RocksBackend
from mvcc.watch import WatchHub
from server.clock import Clock, SystemClock
from server.commands.kv import Put
from server.core import Core, build_core
from server.flusher import Flusher, InlineFlusher, ThreadFlusher
from server.http.app import HttpApp
from server.identity import bootstrap_identity
from server.logins import gate_maker
from server.metrics.observed import Observed
from server.recovery import recover
from server.settings.config import TRANSPORTS, Config
from server.settings.urls import URL
from server.transport.front import make_front
from tests.support.client import Client
from tests.support.clock import FakeClock
from tests.support.loop import run_in_loop

GRACE_S: Final = 5.0  # For calls under way at the stop; they end in milliseconds.
_UNIX_MS: Final = 1_700_000_000_000  # The wall clock at the start: only lease ids depend on it.


class Running:
    """A server that serves, and a client of it."""

    def __init__(self, core: Core, clock: Clock, config: Config, backend: Backend) -> None:
        self.core = core
        self.clock = clock
        self.config = config
        self.backend = backend
        self.fatal: list[BaseException] = []
        self._directory = tempfile.TemporaryDirectory(prefix="tenure-")  # A short path: a socket.
        self.socket = Path(self._directory.name) / "client.sock"
        self.client = Client(self.target)
        self._clients = [self.client]
        make_app = functools.partial(HttpApp, metrics=core.metrics)
        self.front = make_front(config, core.methods, core.outbox, clock, make_app)
        self._background: asyncio.Future[None] | None = None

    @property
    def target(self) -> str:
        return f"unix:{self.socket}"

    @property
    def hub(self) -> WatchHub:
        return self.core.hub

    @property
    def time(self) -> FakeClock:
        """The clock of a test that moves it."""
        assert isinstance(self.clock, FakeClock)
        return self.clock

    @property
    def streams(self) -> int:
        """How many streams are being served."""
        return self.front.streams

    def connect(self, token: str | None = None) -> Client:
        """One more connection, that shows a token; closed with the server."""
        self._clients.append(Client(self.target, token=token))
        return self._clients[-1]

    async def put_many(self, count: int, value: bytes = b"", key: bytes = b"a") -> None:
        """So many puts at once, quicker than over the wire."""
        puts = [Put(pb.PutRequest(key=key, value=value)) for _ in range(count)]
        await asyncio.gather(*[self.core.engine.run(each) for each in puts])

    async def start(self) -> None:
        self.core.recovered.state.lessor.promote(0, now=self.clock.now())
        await self.front.listen(URL.parse(f"unix://{self.socket}"))
        await self.front.start()
        self._background = asyncio.ensure_future(self.core.serve())

    async def stop_serving(self) -> None:
        """What the process does on SIGTERM, up to closing the store."""
        if self._background is None:
            return
        background, self._background = self._background, None
        self.core.recovered.state.lessor.demote()
        await self.front.drain(GRACE_S)
        await self.front.close()
        died = background.done()
        background.cancel()
        await asyncio.wait((background,))
        if died:
            background.result()
        if self.fatal:
            raise self.fatal[0]
        await self.core.engine.drained()
        self.core.stop()

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        await self.stop_serving()
        self._directory.cleanup()


@asynccontextmanager
async def running(
    *,
    clock: Clock | None = None,
    backend: Backend | None = None,
    directory: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Serve until the block ends.

    `backend` is left open, so that a second server on it is the first one restarted;
    `directory` is a RocksDB store on disk, opened here and closed at the end.
    """
    config = Config(**settings)
    used_clock = SystemClock() if clock is None else clock
    opened = RocksBackend.open(directory) if directory is not None else None
    used_backend = opened or backend or MemoryBackend()
    observed = Observed()
    flusher: Flusher = InlineFlusher(used_backend)
    if opened is not None:
        flusher = ThreadFlusher(
            opened, asyncio.get_running_loop(), on_synced=observed.fsync_s.observe
        )
    recovered = recover(
        used_backend,
        lambda: bootstrap_identity(config),
        ttl_min=config.lease_ttl_min,
        revoke_rate=config.lease_revoke_rate,
        mark=None,
        gate=gate_maker(config, used_clock, lambda: _UNIX_MS / 1000 + used_clock.now()),
    )
    fatal: list[BaseException] = []
    core = build_core(
        config,
        recovered,
        flusher,
        used_clock,
        mark=None,
        unix_ms=_UNIX_MS,
        on_fatal=fatal.append,
        observed=observed,
    )
    server = Running(core, used_clock, config, used_backend)
    server.fatal = fatal
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        if opened is not None:
            opened.close()


Scenario = Callable[..., Awaitable[None]]


def served(
    *, clock: Callable[[], Clock] = SystemClock, on_disk: bool = False, **settings: Any
) -> Callable[[Scenario], Callable[..., None]]:
    """Run an async test with a server of its own, given to it as the argument `server`.

    `on_disk` for a RocksDB store with a real fsync off the loop, so that groups are in flight
    while other requests come in.
    """

    def decorate(scenario: Scenario) -> Callable[..., None]:
        @functools.wraps(scenario)
        def test(transport: str, **arguments: Any) -> None:
            async def run(directory: Path | None) -> None:
                async with running(
                    clock=clock(), directory=directory, transport=transport, **settings
                ) as server:
                    await scenario(server=server, **arguments)

            if on_disk:
                with tempfile.TemporaryDirectory(prefix="tenure-") as directory:
                    run_in_loop(run(Path(directory)))
            else:
                run_in_loop(run(None))

        # What pytest is to see: the scenario's other parameters, and that it is no coroutine.
        del test.__wrapped__
        signature = inspect.signature(scenario)
        others = [each for name, each in signature.parameters.items() if name != "server"]
        others.append(inspect.Parameter("transport", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        test.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        on_each: Callable[..., None] = pytest.mark.parametrize("transport", TRANSPORTS)(test)
        return on_each

    return decorate
