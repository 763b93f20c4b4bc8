"""One life of a server on a data directory, from the opening to a kill or a clean end.

    python -m tests.power.life DATA_DIR STORY SEED [FAULT]

It is the server's own process but for the sockets: requests go into the method table as encoded
messages. What goes into the store, and when an answer came, is told to the `Storyteller`. RocksDB
gets little memory and the journal small files, so that tables and turns change all the time. FAULT
makes the server a bad one: `no-fsync` leaves the journal's fsyncs out, `mark-first` sets the mark
before them, `rocks-first` gives RocksDB the rows before them, and has it write some of them out.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from etcdpb import rpc_pb2 as pb
from mvcc.backend import journal, rocks_options
from mvcc.backend.base import Batch, Column
from mvcc.backend.mark import Mark
from mvcc.backend.rocks import RocksBackend, RocksBatch
from server import app
from server.clock import SystemClock
from server.core import Core
from server.deadlines.layout import BOOT_ID_FILE
from server.settings.config import Config
from server.transport.dispatch import UnaryMethod
from tests.power.story import Row, Storyteller
from tests.support.calls import Answer
from tests.support.ops import delete, put
from tests.support.server import _PATHS as PATHS

LEASES: Final = range(1, 7)
KEYS: Final = [b"%02d" % number for number in range(12)]
TTL_S: Final = 3600
VALUE_BYTES: Final = (0, 30, 400, 4_000, 20_000)
VALUE_WEIGHTS: Final = (2, 8, 6, 3, 2)
GROUPS: Final = int(os.environ.get("TENURE_POWER_GROUPS", "60"))
GROUP_MAX: Final = 6  # Requests that are asked at once.

# Bytes, made small.
SMALL: Final = (
    (rocks_options, "WRITE_BUFFER_BYTES", 64 << 10),
    (rocks_options, "WRITE_BUFFERS_TOTAL_BYTES", 128 << 10),
    (journal, "FILE_BYTES", 96 << 10),
    (journal, "STEP_BYTES", 16 << 10),
)


class _Batch(RocksBatch):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # whatever they are
        self.told: list[Row] = []

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        self.told.append((int(column), key, value))
        super().put(column, key, value)

    def delete(self, column: Column, key: bytes) -> None:
        self.told.append((int(column), key, None))
        super().delete(column, key)


class _Backend(RocksBackend):
    """The real one. It tells what it is about to write."""

    teller: Storyteller
    fault: str
    mark: Mark

    def batch(self) -> RocksBatch:
        return _Batch(self._handles)

    def write(self, batch: Batch) -> None:
        assert isinstance(batch, _Batch)
        self.teller.will_write(batch.told)
        super().write(batch)
        if self.fault == "rocks-first" and self._staged is not None:
            self._database.write(self._staged, self._unlogged)
            self._staged = None
            self._families[Column.LEASE].flush(True)
        if self.fault == "mark-first":
            self.mark.set(self.mark.revision, self.sequence())


class _NoTransport:
    async def drain(self, grace_s: float) -> None: ...


class _Life(app._Server):
    def __init__(
        self, config: Config, teller: Storyteller, chance: random.Random, fault: str
    ) -> None:
        super().__init__(config, SystemClock(), BOOT_ID_FILE)
        self._fault = fault
        self._teller = teller
        self._chance = chance
        self.told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._core: Core
        self._task: asyncio.Task[None]

    async def _open(self, told: asyncio.Future[int]) -> bool:
        is_open = await super()._open(told)
        assert isinstance(self._backend, _Backend)
        assert self._mark is not None
        self._backend.teller, self._backend.fault = self._teller, self._fault
        self._backend.mark = self._mark
        self._teller.opened(self._backend)
        return is_open

    async def _listen(self, core: Core) -> _NoTransport:  # type: ignore[override]
        self._core = core
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._task.add_done_callback(self._die_of_bug)
        return _NoTransport()

    async def _work(self) -> None:
        for _ in range(self._chance.randint(GROUPS // 4, GROUPS)):
            await self._ask([self._request() for _ in range(self._chance.randint(1, GROUP_MAX))])
        if self._chance.random() < 0.5:
            os._exit(0)  # As kill -9 would have it.
        self.told.set_result(0)

    async def _ask(self, requests: list[Message]) -> None:
        left = len(requests)
        is_over = asyncio.Event()

        def answered(_: Answer) -> None:
            nonlocal left
            self._teller.acknowledged()
            left -= 1
            if not left:
                is_over.set()

        answers = [Answer(answered) for _ in requests]
        for request, answer in zip(requests, answers, strict=True):
            self._hand_in(request, answer)
        await is_over.wait()
        for answer in answers:
            if answer.error is not None:
                _ = answer.status  # A bug is raised; a refusal is an answer too.

    def _hand_in(self, request: Message, answer: Answer) -> None:
        method = self._core.methods.get(PATHS[request.DESCRIPTOR.name][0])
        assert isinstance(method, UnaryMethod)
        try:
            message = method.handle(request.SerializeToString(), answer)
        except Exception as error:  # noqa: BLE001  # a refusal or a bug: `Answer` tells them apart
            answer.fail(error)
        else:
            if message is not None:
                answer.reply(message)

    def _request(self) -> Message:
        kinds: list[tuple[int, Callable[[], Message]]] = [
            (10, lambda: pb.PutRequest(**self._put())),
            (3, lambda: pb.DeleteRangeRequest(key=self._chance.choice(KEYS))),
            (1, lambda: pb.DeleteRangeRequest(key=KEYS[0], range_end=self._chance.choice(KEYS))),
            (3, self._txn),
            (4, lambda: pb.LeaseGrantRequest(ID=self._chance.choice(LEASES), TTL=TTL_S)),
            (2, lambda: pb.LeaseRevokeRequest(ID=self._chance.choice(LEASES))),
            (1, lambda: pb.AuthRoleAddRequest(name=self._chance.choice(("a", "b")))),
            (1, lambda: pb.AuthRoleDeleteRequest(role=self._chance.choice(("a", "b")))),
            (1, self._compact),
        ]
        return self._chance.choices([make for _, make in kinds], [each for each, _ in kinds])[0]()

    def _put(self) -> dict[str, Any]:
        lease = 0
        if self._chance.random() < 0.4:
            alive = [each.id for each in self._core.recovered.state.lessor.leases()]
            lease = self._chance.choice([*alive, 0])
        size = self._chance.choices(VALUE_BYTES, VALUE_WEIGHTS)[0]
        value = self._chance.randbytes(size)
        return {"key": self._chance.choice(KEYS), "value": value, "lease": lease}

    def _txn(self) -> Message:
        first, second, third = self._chance.sample(KEYS, 3)
        puts = [put(**{**self._put(), "key": key}) for key in (first, second)]
        return pb.TxnRequest(success=[*puts, delete(third)])

    def _compact(self) -> Message:
        store = self._core.recovered.state.store
        oldest = max(store.compact_revision, 0)
        return pb.CompactionRequest(
            revision=self._chance.randint(oldest, store.published), physical=False
        )


def main() -> None:
    data_dir, story, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    fault = "".join(sys.argv[4:])
    for module, name, value in SMALL:
        assert hasattr(module, name), name
        setattr(module, name, value)
    if fault == "no-fsync":
        os.fdatasync = lambda fd: None  # noqa: ARG005  # RocksDB's own are not Python's.
    app.RocksBackend = _Backend  # type: ignore[attr-defined]  # it tells what the real one does

    async def live() -> None:
        config, chance = Config(data_dir=data_dir), random.Random(seed)
        life = _Life(config, Storyteller(story), chance, fault)
        await life.serve(life.told)

    # As the process does: what is left in the loop is left as it stands.
    asyncio.new_event_loop().run_until_complete(live())
    os._exit(0)


if __name__ == "__main__":
    main()
