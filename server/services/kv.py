"""etcdserverpb.KV: requests to commands and views, results to replies, nothing else."""

from __future__ import annotations

from typing import Final

from etcdpb.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RangeStreamResponse,
    TxnRequest,
)
from mvcc.long_range import is_long, range_in_slices
from mvcc.plan import Plan
from mvcc.record import parse
from mvcc.slicing import SLICE_COSTLY
from mvcc.view import RangeResult, range_keys
from server import status
from server.call import PeerCall, Stream
from server.commands.base import State
from server.commands.kv import Compact, DeleteRange, DeleteResult, Put, PutResult
from server.commands.plain import GuardedResult
from server.commands.txn import (
    Txn,
    TxnResult,
    is_long_txn,
    read_only_txn,
    read_only_txn_in_slices,
)
from server.engine import Engine
from server.header import Headers
from server.pending import Slices
from server.quota import Quota
from server.services import encode, validate
from server.services.plain import guarded_put, only_key, plain_put
from server.status import RpcError
from server.sweeper import Sweeper

FIRST_CHUNK_KEYS: Final = 10  # Of a RangeStream; later ones grow and shrink with their size.


class KVService:
    def __init__(
        self,
        engine: Engine,
        state: State,
        headers: Headers,
        quota: Quota,
        sweeper: Sweeper,
        *,
        max_txn_ops: int,
        max_request_bytes: int,
    ) -> None:
        self._engine = engine
        self._state = state
        self._store = state.store
        self._headers = headers
        self._quota = quota
        self._sweeper = sweeper
        self._max_txn_ops = max_txn_ops
        self._max_request_bytes = max_request_bytes
        # Smaller ones are within any limit that is asked about below.
        self._plain_bytes_max = validate.plain_bytes_max(max_request_bytes)

    def Range(self, message: bytes, call: PeerCall) -> bytes | None:
        key = only_key(message)
        if key:
            if self._engine.in_flight or self._state.auth.enabled:
                return self._engine.read(self._get_if_allowed, key, call)
            return self._get(key)  # As `read` would: who asks is asked by nobody.
        request = RangeRequest.FromString(message)
        validate.check_range(request)
        answer = self._many if request.range_end else self._range
        return self._engine.read(answer, request, call)

    def _many(self, request: RangeRequest) -> bytes | Slices:
        """Of more than one key: that can take its time."""
        if len(self._store.index.entries) > SLICE_COSTLY and is_long(self._store, request):
            return self._long_range(request)
        began = self._engine.now()
        if self._state.auth.enabled:
            self._check_read(request)
        result = range_keys(self._store, request)
        return self._range_reply(request, result, began)

    def _long_range(self, request: RangeRequest) -> Slices:
        began = self._engine.now()
        if self._state.auth.enabled:
            self._check_read(request)
        result = yield from range_in_slices(self._store, request)
        yield
        return self._range_reply(request, result, began)

    def _range(self, request: RangeRequest) -> bytes:
        if self._state.auth.enabled:
            self._check_read(request)
        result = range_keys(self._store, request)
        self._state.tally.ranges += 1
        return encode.range_response(self._headers.at(self._store.published), result)

    def _check_read(self, request: RangeRequest) -> None:
        principal = self._state.principal()
        principal.must_read(request.key, request.range_end)
        principal.must_be_current()

    def _range_reply(self, request: RangeRequest, result: RangeResult, began: float) -> bytes:
        self._state.tally.ranges += 1
        reply = encode.range_response(self._headers.at(self._store.published), result)
        took_s = self._engine.now() - began
        if took_s > self._engine.slow.threshold_s:
            self._engine.slow.range(request, len(result.frames), len(reply), took_s)
        return reply

    def _get_if_allowed(self, key: bytes) -> bytes:
        if self._state.auth.enabled:
            principal = self._state.principal()
            principal.must_read(key)
            principal.must_be_current()
        return self._get(key)

    def _get(self, key: bytes) -> bytes:
        store = self._store
        self._state.tally.ranges += 1
        entry = store.index.entries.get(key)
        header = self._headers.at(store.published)
        if entry is None or entry.frame is None:
            return header
        return encode.one_key(header, entry.frame)

    def Put(self, message: bytes, call: PeerCall) -> None:
        size = len(message)
        put = plain_put(message)
        if (
            put is not None
            and size <= self._plain_bytes_max
            and self._quota.has_room(validate.PUT_COST_BYTES + size)
        ):
            self._engine.submit(put, call, self._headers.at, size)
            return
        request = PutRequest.FromString(message)
        # The message is at least as long as what is counted of it.
        if not self._quota.has_room(validate.PUT_COST_BYTES + size):
            self._quota.admit(validate.put_cost(request))
        validate.check_put(request)
        validate.check_size(size, self._max_request_bytes)
        self._engine.submit(Put(request), call, self._put_reply, size)

    def _put_reply(self, result: PutResult) -> bytes:
        revision, prev = result
        return encode.put_response(self._headers.at(revision), prev)

    def DeleteRange(self, message: bytes, call: PeerCall) -> None:
        request = DeleteRangeRequest.FromString(message)
        validate.check_delete(request)
        validate.check_size(len(message), self._max_request_bytes)
        self._engine.submit(DeleteRange(request), call, self._delete_reply, len(message))

    def _delete_reply(self, result: DeleteResult) -> bytes:
        return encode.delete_response(self._headers.at(result.revision), result)

    def Txn(self, message: bytes, call: PeerCall) -> bytes | None:
        size = len(message)
        put = guarded_put(message)
        if (
            put is not None
            and size <= self._plain_bytes_max
            and self._max_txn_ops >= 1
            and self._quota.has_room(validate.PUT_COST_BYTES + size)
        ):
            self._engine.submit(put, call, self._guarded_reply, size)
            return None
        plan = Plan(TxnRequest.FromString(message))
        cost = validate.txn_cost(plan)
        self._quota.admit(cost)
        validate.check_txn(plan, self._max_txn_ops)
        if plan.is_read_only:
            return self._engine.read(self._read_only_txn, plan, call)
        validate.check_size(size, self._max_request_bytes)
        command = Txn(plan, needs_space=cost > 0)
        self._engine.submit(command, call, self._txn_reply, size)
        return None

    def _read_only_txn(self, plan: Plan) -> bytes | Slices:
        if is_long_txn(self._state, plan):
            return self._long_txn(plan)
        began = self._engine.now()
        return self._read_reply(plan, read_only_txn(self._state, plan), began)

    def _long_txn(self, plan: Plan) -> Slices:
        began = self._engine.now()
        result = yield from read_only_txn_in_slices(self._state, plan)
        yield
        return self._read_reply(plan, result, began)

    def _read_reply(self, plan: Plan, result: TxnResult, began: float) -> bytes:
        reply = self._txn_reply(result)
        took_s = self._engine.now() - began
        if took_s > self._engine.slow.threshold_s:
            found = (len(each.result.frames) for each in result.answers)  # type: ignore[union-attr]  # ranges all
            self._engine.slow.txn(plan.request, found, len(reply), took_s)
        return reply

    def _guarded_reply(self, result: GuardedResult) -> bytes:
        headers, revision = self._headers, result[0]
        number = headers.number_at(revision)
        return encode.guarded_response(headers.at(revision), number, result)

    def _txn_reply(self, result: TxnResult) -> bytes:
        return encode.txn_response(self._headers.at(result.revision), result)

    def Compact(self, message: bytes, call: PeerCall) -> None:
        request = CompactionRequest.FromString(message)
        if request.physical:
            call = self._sweeper.after_sweep(call)
        self._engine.submit(Compact(request.revision), call, self._compact_reply)

    def _compact_reply(self, revision: int) -> bytes:
        self._sweeper.wake()
        return self._headers.at(revision)

    async def RangeStream(self, stream: Stream) -> None:
        """A Range in pieces, all as of the revision of the first (etcd 3.7).

        Header, count and more come with the last piece only; joined, the pieces are what Range
        would have answered.
        """
        message = await stream.receive()
        request = RangeRequest.FromString(message or b"")
        validate.check_range(request)
        if request.sort_order != RangeRequest.NONE or request.sort_target != RangeRequest.KEY:
            raise RpcError(status.STREAM_CUSTOM_SORT)
        if (
            request.min_mod_revision
            or request.max_mod_revision
            or request.min_create_revision
            or request.max_create_revision
        ):
            raise RpcError(status.STREAM_FILTERS)
        await self._engine.settled()
        self._check_stream(stream, request)
        header = self._headers.at(self._store.published)
        if request.revision <= 0:
            request.revision = self._store.published
        sent, chunk, wanted = 0, FIRST_CHUNK_KEYS, max(0, request.limit)
        while True:
            left = wanted - sent if wanted else 0
            request.limit = min(chunk, left) if left else chunk
            result = range_keys(self._store, request)
            sent += len(result.frames)
            is_last = not result.more or (wanted > 0 and sent >= wanted)
            size = sum(map(len, result.frames))
            if is_last:
                total = sent + result.total - len(result.frames)
                whole = result._replace(total=total)
                await stream.send(_chunk(encode.range_response(header, whole)))
                return
            await stream.send(_chunk(b"".join(result.frames)))
            request.key = parse(result.frames[-1]).key + b"\0"
            if size < self._max_request_bytes // 2:
                chunk *= 2
            elif size > self._max_request_bytes * 2:
                chunk = max(1, chunk // 2)
            await self._engine.settled()
            self._check_stream(stream, request)

    def _check_stream(self, stream: Stream, request: RangeRequest) -> None:
        """The right to read may end between two pieces."""
        if self._state.auth.enabled:
            self._state.gate.principal(stream).must_read(request.key, request.range_end)


def _chunk(response: bytes) -> bytes:
    return RangeStreamResponse(
        range_response=RangeResponse.FromString(response)
    ).SerializeToString()
