"""The whole server, from the method table down, in the process of the test.

Nothing is left out but the transport, and nothing is replaced but the clock and, where a test
wants to decide when the disk is done, the flusher. `restart` builds everything anew from the
same backend.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2
from mvcc.backend.base import Backend
from mvcc.backend.mark import Mark
from mvcc.backend.memory import MemoryBackend
from server.core import Core, build_core
from server.identity import Identity
from server.logins import gate_maker
from server.recovery import recover
from server.settings.config import Config
from server.status import RpcError
from server.transport.dispatch import StreamMethod, UnaryMethod
from tests.support.calls import Answer, Pipe
from tests.support.clock import FakeClock, settle
from tests.support.flusher import HeldFlusher

IDENTITY: Final = Identity(member_id=0x11, cluster_id=0xFFFF_FFFF_FFFF_FFF0)
UNIX_MS: Final = 1_700_000_000_000

_PATHS: Final = {
    method.input_type.name: (f"/{service.full_name}/{method.name}", method.output_type)
    for service in rpc_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
}


class ServerInProcess:
    def __init__(
        self,
        backend: Backend,
        clock: FakeClock,
        config: Config | None = None,
        *,
        mark: Mark | None = None,
        serve: bool = True,
    ) -> None:
        """`serve` False leaves out the tasks that expire and sweep."""
        self.backend = backend
        self.clock = clock
        self.fatal: list[BaseException] = []
        self.restart_count = -1
        self._config = config if config is not None else Config(ephemeral=True)
        self._mark = mark
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self.flusher: HeldFlusher
        self.core: Core
        self._start()

    def _start(self) -> None:
        self.restart_count += 1
        recovered = recover(
            self.backend,
            lambda: IDENTITY,
            ttl_min=self._config.lease_ttl_min,
            revoke_rate=self._config.lease_revoke_rate,
            mark=self._mark,
            gate=gate_maker(self._config, self.clock, lambda: UNIX_MS / 1000 + self.clock.now()),
        )
        self.flusher = HeldFlusher(self.backend)
        self.core = build_core(
            self._config,
            recovered,
            self.flusher,
            self.clock,
            mark=self._mark,
            unix_ms=UNIX_MS,
            on_fatal=self.fatal.append,
        )
        self.state = recovered.state
        self.store = recovered.state.store
        self.lessor = recovered.state.lessor
        self.engine = self.core.engine
        self.lessor.promote(0, now=self.clock.now())
        if self._serve:
            self._tasks.append(self._loop.create_task(self.core.serve()))

    async def stop(self) -> None:
        """End every task; the backend stays as it is. What a task died of is raised."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self.core.passwords.close()

    async def restart(self) -> None:
        """A new process on the same rows."""
        await self.stop()
        self._start()

    # Calls

    def ask(self, request: Message, answer: Answer | None = None) -> Answer:
        """Hand a unary request in, as a transport does, and return without a turn of the loop."""
        method = self.core.methods.get(_PATHS[request.DESCRIPTOR.name][0])
        assert isinstance(method, UnaryMethod)
        answer = answer if answer is not None else Answer()
        try:
            message = method.handle(request.SerializeToString(), answer)
        except Exception as error:  # noqa: BLE001  # a refusal or a bug: `Answer` tells them apart
            answer.fail(error)
        else:
            if message is not None:
                answer.reply(message)
        return answer

    async def call(self, request: Message) -> Any:
        """The reply to a unary request, parsed, once all has come to rest.

        Raises:
            RpcError: it was refused.
        """
        answer = self.ask(request)
        await settle()
        return parsed(request, answer)

    def open(self, path: str, pipe: Pipe) -> asyncio.Task[None]:
        """Serve `pipe` by a streaming method until the server stops."""
        method = self.core.methods.get(path)
        assert isinstance(method, StreamMethod)
        task = self._loop.create_task(_serve(method, pipe))
        self._tasks.append(task)
        return task


async def _serve(method: StreamMethod, pipe: Pipe) -> None:
    await method.serve(pipe)


def bare_server() -> ServerInProcess:
    """Without background tasks: nothing happens that a test does not ask for."""
    return ServerInProcess(MemoryBackend(), FakeClock(), serve=False)


async def in_flight(server: ServerInProcess, *requests: Message) -> list[Answer]:
    """Hand `requests` in and apply them; their fsync is the test's to end."""
    server.flusher.hold()
    answers = [server.ask(request) for request in requests]
    await settle()
    assert server.flusher.is_waiting
    return answers


def parsed(request: Message, answer: Answer) -> Any:
    """What `answer` says to `request`.

    Raises:
        RpcError: it was refused.
    """
    assert answer.is_done, f"no answer to {request.DESCRIPTOR.name}"
    if answer.error is not None:
        raise RpcError(answer.status) from answer.error
    assert answer.message is not None
    return GetMessageClass(_PATHS[request.DESCRIPTOR.name][1]).FromString(answer.message)
