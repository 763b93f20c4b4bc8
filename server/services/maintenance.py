"""etcdserverpb.Maintenance: what operators ask of a member, and what they tell it to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeVar

from etcdpb.rpc_pb2 import (
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DowngradeInfo,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MoveLeaderRequest,
    StatusRequest,
    StatusResponse,
)
from mvcc.backend.base import Backend, Column
from mvcc.hashkv import hash_columns, hash_kv
from mvcc.revision import encode
from server import status
from server.call import PeerCall, Stream
from server.commands.alarm import ActivateAlarm, DeactivateAlarm
from server.commands.base import State
from server.commands.kv import NoteDefragmented
from server.engine import Engine
from server.header import Headers
from server.log import fields
from server.quota import Quota, db_size
from server.services.downgrade import Downgrades
from server.snapshot.save import Snapshots
from server.status import RpcError
from server.version import CLUSTER_VERSION, ETCD_VERSION

logger = logging.getLogger(__name__)

# Not `meta`: its term counts the starts, and a restart is to change nothing here.
_HASHED: Final = tuple(column for column in Column if column is not Column.META)

PIECES: Final = 20  # That a defragmentation takes the rows of all keys in, by revision.
PROGRESS_S: Final = 5.0  # Between two lines that say so.

ResultT = TypeVar("ResultT")


class MaintenanceService:
    def __init__(
        self,
        engine: Engine,
        state: State,
        backend: Backend,
        headers: Headers,
        quota: Quota,
        snapshots: Snapshots,
    ) -> None:
        self._engine = engine
        self._state = state
        self._store = state.store
        self._backend = backend
        self._headers = headers
        self._quota = quota
        self._defragmenting: asyncio.Task[None] | None = None
        self._downgrades = Downgrades(engine, state, headers)
        self._snapshots = snapshots

    def Status(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._engine.read(self._status, StatusRequest.FromString(message), call)

    def _status(self, request: StatusRequest) -> bytes:  # noqa: ARG002  # it has no fields
        # The raft index of a server without raft: it grows with every change and with nothing
        # else, and survives a restart, which is all that a client can see of an index.
        index = self._backend.sequence()
        target = self._state.membership.downgrade_target
        body = StatusResponse(
            version=ETCD_VERSION,
            dbSize=db_size(self._state),
            dbSizeInUse=self._store.in_use,
            dbSizeQuota=self._quota.limit_bytes or 0,
            leader=self._headers.member_id,
            raftIndex=index,
            raftAppliedIndex=index,
            raftTerm=self._headers.term,
            storageVersion=CLUSTER_VERSION,
            downgradeInfo=DowngradeInfo(enabled=target is not None, targetVersion=target or ""),
            errors=[_alarm_text(alarm) for alarm in self._state.alarms.get(AlarmType.NONE)],
        )
        return self._headers.at(self._store.published) + body.SerializeToString()

    def Alarm(self, message: bytes, call: PeerCall) -> bytes | None:
        request = AlarmRequest.FromString(message)
        change: Callable[[int, int], ActivateAlarm | DeactivateAlarm]
        if request.action == AlarmRequest.GET:
            return self._engine.read(self._alarms, request.alarm, call)
        if (
            request.alarm == AlarmType.NONE
            or request.action not in AlarmRequest.AlarmAction.values()
        ):
            return self._engine.read(self._no_alarm, request.action, call)
        change = ActivateAlarm if request.action == AlarmRequest.ACTIVATE else DeactivateAlarm
        self._engine.submit(change(request.memberID, request.alarm), call, self._alarm_reply)
        return None

    def _no_alarm(self, action: int) -> bytes:  # noqa: ARG002  # whichever it was, it did nothing
        if self._state.auth.enabled:
            self._state.principal().must_be_root()
        return self._alarm_reply([])

    def _alarms(self, alarm: int) -> bytes:
        if self._state.auth.enabled:
            self._state.principal().must_be_somebody()
        return self._alarm_reply(self._state.alarms.get(alarm))

    def _alarm_reply(self, alarms: list[AlarmMember]) -> bytes:
        body = AlarmResponse(alarms=alarms)
        return self._headers.at(self._store.published) + body.SerializeToString()

    def MoveLeader(self, message: bytes, call: PeerCall) -> bytes:  # noqa: ARG002  # answered at once
        """The only member leads already. The reply is empty, as etcd's."""
        if MoveLeaderRequest.FromString(message).targetID != self._headers.member_id:
            raise RpcError(status.BAD_LEADER_TRANSFEREE)
        return b""

    def Downgrade(self, message: bytes, call: PeerCall) -> bytes | None:
        return self._downgrades.answer(message, call)

    async def Defragment(self, stream: Stream) -> None:
        """Unary on the wire. Gives back what compaction freed, while everything else goes on.

        Who asks while it is done, waits for the same end. The reply is empty: etcd's has not so
        much as a header.
        """
        await stream.receive()
        if self._defragmenting is None:
            self._defragmenting = asyncio.ensure_future(self._defragment())
            self._defragmenting.add_done_callback(self._defragmented)
        # It goes on when the caller leaves, or is out of time: etcdctl gives it five seconds.
        await asyncio.shield(self._defragmenting)
        await stream.send(b"")

    async def _defragment(self) -> None:
        began, before = self._engine.now(), db_size(self._state)
        logger.info("starting defragment", extra=fields(db_size=before))
        told = began
        for done, piece in _pieces(self._store.current):
            await asyncio.to_thread(self._backend.compact, *piece)
            if self._engine.now() - told >= PROGRESS_S:
                told = self._engine.now()
                logger.info("defragmenting", extra=fields(done=f"{done} %"))
        await self._engine.run(NoteDefragmented())
        took_s = round(self._engine.now() - began, 3)
        logger.info(
            "finished defragment",
            extra=fields(db_size=db_size(self._state), db_size_before=before, took_s=took_s),
        )

    def _defragmented(self, done: asyncio.Task[None]) -> None:
        self._defragmenting = None
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.error("failed to defragment", extra=fields(error=str(error)))

    async def Hash(self, stream: Stream) -> None:
        """Unary on the wire. One number for all that is stored; for tests, as etcd says."""
        await stream.receive()
        await asyncio.to_thread(self._backend.prepare)
        await self._engine.settled()
        hashing = hash_columns(self._backend, _HASHED)
        crc = await _in_turns(hashing)
        await self._engine.settled()
        body = HashResponse(hash=crc)
        await stream.send(self._headers.at(self._store.published) + body.SerializeToString())

    async def HashKV(self, stream: Stream) -> None:
        """Unary on the wire. It reads every row, so it takes turns with everything else."""
        request = HashKVRequest.FromString(await stream.receive() or b"")
        await self._engine.settled()
        result = await _in_turns(hash_kv(self._store, request.revision))
        body = HashKVResponse(
            hash=result.hash,
            compact_revision=result.compact_revision,
            hash_revision=result.revision,
        )
        await self._engine.settled()
        await stream.send(self._headers.at(self._store.published) + body.SerializeToString())

    async def Snapshot(self, stream: Stream) -> None:
        """The whole store as a bbolt file, of one revision, with its SHA-256 behind it."""
        await stream.receive()
        await self._snapshots.send(stream)


async def _in_turns(work: Generator[None, None, ResultT]) -> ResultT:
    """Run `work` to its end; between its slices everything else gets a turn."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        await asyncio.sleep(0)


def _alarm_text(alarm: AlarmMember) -> str:
    """One alarm as StatusResponse.errors says it: Go's text form, zero fields left out."""
    member = f"memberID:{alarm.memberID} " if alarm.memberID else ""
    return f"{member}alarm:{AlarmType.Name(alarm.alarm)} "


def _pieces(revision: int) -> Iterator[tuple[int, tuple[Column, bytes, bytes | None]]]:
    """What to defragment, a piece at a time, and how much is done with it, in percent."""
    for column in Column:
        if column != Column.KEY:
            yield 0, (column, b"", None)
    bounds = [b"", *(encode(revision * each // PIECES, 0) for each in range(1, PIECES))]
    for number, (start, end) in enumerate(zip(bounds, [*bounds[1:], None], strict=True), 1):
        yield 100 * number // PIECES, (Column.KEY, start, end)
