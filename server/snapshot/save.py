"""The stream of Maintenance.Snapshot: a bbolt file in pieces, then its SHA-256.

One moment, taken between two groups of the engine: both scans that a file is laid out from begin
there, so a snapshot is one revision whatever is written while it is under way. Nothing is stored
on the way, on disk or in memory: a client that reads slowly holds back the scan it is read from.

Bounds: a slice of rows between two turns of the loop (`writer.SLICE_ROWS_MAX`), what a transport
sends ahead, and `SNAPSHOTS_MAX` under way. An open scan keeps old files of RocksDB from being
deleted, as an open transaction keeps pages of bbolt, so their number is bounded too.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Final

from etcdpb.rpc_pb2 import SnapshotResponse
from server.call import Stream
from server.clock import Clock
from server.commands.base import State
from server.engine import Engine
from server.header import Headers
from server.log import fields
from server.snapshot.buckets import Facts, MemberFacts, content
from server.snapshot.sizes import humanize
from server.snapshot.writer import Content, Extent, Pages, UnwritableError, emit, measure
from server.status import RpcError, TooManyRequestsError, no_snapshot
from server.version import CLUSTER_VERSION

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 32 << 10  # etcd's snapshotSendBufferSize.
SNAPSHOTS_MAX: Final = 8  # Under way at once; one more is refused.
PAUSE_S: Final = 0.0005  # Between two slices while somebody's write is under way.
REMARK_S: Final = 10.0  # How often one that takes long says so.


class Snapshots:
    """Sends snapshots, each to its own stream."""

    def __init__(
        self, engine: Engine, state: State, headers: Headers, member: MemberFacts, clock: Clock
    ) -> None:
        """`member` is as the flags say; its peer URLs may have been changed since."""
        self._engine = engine
        self._state = state
        self._store = state.store
        self._headers = headers
        self._member = member
        self._clock = clock
        self.active = 0

    async def send(self, stream: Stream) -> None:
        """Send one snapshot, whole.

        Raises:
            TooManyRequestsError: so many are under way.
            RpcError: a key of the store has no place in a bbolt file.
        """
        if self.active >= SNAPSHOTS_MAX:
            raise TooManyRequestsError
        self.active += 1
        try:
            await asyncio.to_thread(self._store.backend.prepare)
            await self._engine.settled()
            facts = self._facts()
            first, second = (content(self._store.backend, facts) for _ in range(2))
            await self._send(stream, facts, first, second)
        except UnwritableError as error:
            raise RpcError(no_snapshot(str(error))) from error
        finally:
            self.active -= 1

    def _facts(self) -> Facts:
        store = self._store
        peer_urls = self._state.membership.peer_urls
        return Facts(
            member=self._member if peer_urls is None else self._member.moved(peer_urls),
            consistent_index=store.backend.sequence(),  # What Status calls the raft index.
            term=self._headers.term,
            scheduled_compact=store.compact_revision,
            finished_compact=store.swept_revision,
            cluster_version=CLUSTER_VERSION,
            storage_version=CLUSTER_VERSION,
        )

    async def _send(self, stream: Stream, facts: Facts, first: Content, second: Content) -> None:
        began = self._clock.now()
        extent = await self._measure(first)
        sized = {"total_bytes": extent.file_bytes, "size": humanize(extent.file_bytes)}
        logger.info("sending database snapshot to client", extra=fields(**sized))
        sender = _Sender(stream, extent.file_bytes, facts.storage_version)
        await sender.add(extent.header())
        pages = Pages(is_dry=False)
        steps = emit(second, pages)
        remark_at = self._clock.now() + REMARK_S
        for _ in steps:
            await sender.add(pages.take())
            await self._give_way()
            now = self._clock.now()
            if now >= remark_at:
                remark_at = now + REMARK_S
                logger.info(
                    "still sending database snapshot to client",
                    extra=fields(remaining_bytes=sender.remaining, **sized),
                )
        logger.info(
            "sending database sha256 checksum to client",
            extra=fields(total_bytes=extent.file_bytes, checksum_size=hashlib.sha256().digest_size),
        )
        assert pages.next == extent.high_water, "the same rows are laid out the same way"
        await sender.finish()
        took_s = round(self._clock.now() - began, 3)
        logger.info(
            "successfully sent database snapshot to client",
            extra=fields(**sized, took_s=took_s, storage_version=facts.storage_version),
        )

    async def _give_way(self) -> None:
        """Let others have a turn; and the thread that syncs a real pause, if a group waits for it.

        It needs the interpreter for a moment at its end, and does not get it between two slices.
        """
        await asyncio.sleep(PAUSE_S if self._engine.pending else 0)

    async def _measure(self, rows: Content) -> Extent:
        steps = measure(rows)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                extent: Extent = end.value
                return extent
            await self._give_way()


class _Sender:
    """Cuts the file into etcd's pieces."""

    def __init__(self, stream: Stream, file_bytes: int, version: str) -> None:
        self._stream = stream
        self._version = version
        self._hash = hashlib.sha256()
        self._rest = b""  # Less than a piece, and what comes next goes behind it.
        self.remaining = file_bytes

    async def add(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= PIECE_BYTES:
            await self._piece(data[at : at + PIECE_BYTES])
            at += PIECE_BYTES
        self._rest = data[at:]

    async def _piece(self, blob: bytes) -> None:
        self._hash.update(blob)
        self.remaining -= len(blob)
        await self._send(blob)

    async def finish(self) -> None:
        """Send what is left, and the hash of all."""
        if self._rest:
            await self._piece(self._rest)
        assert not self.remaining
        await self._send(self._hash.digest())

    async def _send(self, blob: bytes) -> None:
        message = SnapshotResponse(remaining_bytes=self.remaining, blob=blob, version=self._version)
        await self._stream.send(message.SerializeToString())
