"""One client's connection: etcd's calls, recorded as they are made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import grpc
import grpc.aio

from compat.histories.record import (
    KV,
    Call,
    Delete,
    Event,
    Get,
    Guard,
    Heard,
    Kind,
    Operation,
    Put,
)
from etcdpb import kv_pb2, rpc_pb2
from tests.support.methods import callable_of

CLOSE_MAX_S: Final = 5.0
CALL_MAX_S: Final = 8.0  # Longer than any stop; then what became of the call is not known.
OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # A connection of its own.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.max_receive_message_length", -1),
)
# Texts of etcd's that do not say whether the request happened.
UNSURE: Final = ("timed out", "leader changed", "server stopped", "no leader")
Error = grpc.aio.AioRpcError
EOF: Final[Any] = vars(grpc.aio)["EOF"]  # What a stream reads at its end; it has no type.


class Api:
    """Calls that return what was recorded; none raises for what the server or the wire did."""

    def __init__(self, number: int, endpoint: str, calls: list[Call]) -> None:
        self.number = number
        self.calls = calls
        self._channel = grpc.aio.insecure_channel(endpoint, OPTIONS)
        self._methods: dict[tuple[str, str], Any] = {}
        self._renewals: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._renewals is not None:
            self._renewals.cancel()
        # grpc.aio was seen to wait here for ever, once in some hundred times. All is over by now.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_MAX_S):
                await self._channel.close(None)

    def method(self, service: str, name: str) -> Any:
        if (service, name) not in self._methods:
            self._methods[service, name] = callable_of(self._channel, service, name)
        return self._methods[service, name]

    # --- keys ---

    async def kv(
        self,
        *then: Operation,
        guards: Sequence[Guard] = (),
        otherwise: Sequence[Operation] = (),
        serializable: bool = False,
    ) -> Call:
        """A plain request for one operation without guards, else a transaction."""
        call = Call(
            self.number,
            Kind.KV,
            0.0,
            guards=tuple(guards),
            then=then,
            otherwise=tuple(otherwise),
            serializable=serializable,
        )
        if len(then) == 1 and not guards:
            service, request = _plain(then[0], serializable=serializable)
        else:
            service, request = "Txn", _txn(call)
        answer = await self._record(call, self.method("KV", service), request)
        if answer is None:
            return call
        if service == "Txn":
            call.succeeded = answer.succeeded
            call.results = tuple(_shown(_inner(each)) for each in answer.responses)
        else:
            call.results = (_shown(answer),)
        return call

    # --- leases ---

    async def grant(self, lease: int, ttl: int) -> Call:
        call = Call(self.number, Kind.GRANT, 0.0, lease=lease)
        request = rpc_pb2.LeaseGrantRequest(ID=lease, TTL=ttl)
        answer = await self._record(call, self.method("Lease", "LeaseGrant"), request)
        if answer is not None:
            call.ttl = answer.TTL
        return call

    async def revoke(self, lease: int) -> Call:
        call = Call(self.number, Kind.REVOKE, 0.0, lease=lease)
        request = rpc_pb2.LeaseRevokeRequest(ID=lease)
        await self._record(call, self.method("Lease", "LeaseRevoke"), request)
        return call

    async def time_to_live(self, lease: int) -> Call:
        call = Call(self.number, Kind.TTL, 0.0, lease=lease)
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True)
        answer = await self._record(call, self.method("Lease", "LeaseTimeToLive"), request)
        if answer is not None:
            # etcd's of a lease that is overdue can be -1 too, and before it leads it is huge.
            left = min(max(0, answer.TTL), answer.grantedTTL)
            call.ttl = left if answer.grantedTTL else -1
        return call

    async def renew(self, lease: int) -> Call:
        """Over one stream, which is opened anew once it broke."""
        call = Call(self.number, Kind.RENEW, 0.0, lease=lease)

        async def ask(request: Any, timeout: float) -> Any:  # noqa: ASYNC109  # as grpc's are
            if self._renewals is None:
                self._renewals = self.method("Lease", "LeaseKeepAlive")()
            async with asyncio.timeout(timeout):
                await self._renewals.write(request)
                return await self._renewals.read()

        answer = await self._record(call, ask, rpc_pb2.LeaseKeepAliveRequest(ID=lease))
        if answer is None:
            if self._renewals is not None:
                self._renewals.cancel()
            self._renewals = None
        else:
            call.ttl = answer.TTL
        return call

    async def _record(self, call: Call, method: Any, request: Any) -> Any:
        """The answer, or None."""
        self.calls.append(call)
        call.invoke = time.monotonic()
        try:
            asked: Awaitable[Any] = method(request, timeout=CALL_MAX_S)
            answer = await asked
        except Error as error:
            text = error.details() or ""
            if text.startswith("etcdserver: ") and not any(each in text for each in UNSURE):
                call.done = time.monotonic()
                call.refusal = text
            return None
        except (TimeoutError, asyncio.InvalidStateError):
            return None
        if answer is EOF:
            return None
        call.done = time.monotonic()
        call.revision = answer.header.revision
        return answer


def kv_of(kv: kv_pb2.KeyValue) -> KV:
    return KV(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def heard_of(response: rpc_pb2.WatchResponse, at: float) -> Heard:
    return Heard(
        at,
        response.header.revision,
        tuple(
            Event(
                event.kv.mod_revision,
                event.kv.key,
                None if event.type == kv_pb2.Event.DELETE else kv_of(event.kv),
                kv_of(event.prev_kv) if event.HasField("prev_kv") else None,
            )
            for event in response.events
        ),
    )


def _plain(operation: Operation, *, serializable: bool) -> tuple[str, Any]:
    request = _message(operation)
    match operation:
        case Put():
            return "Put", request
        case Delete():
            return "DeleteRange", request
        case Get():
            request.serializable = serializable
            return "Range", request


def _message(operation: Operation) -> Any:
    match operation:
        case Put(key, value, lease):
            return rpc_pb2.PutRequest(key=key, value=value, lease=lease, prev_kv=True)
        case Delete(key, end):
            return rpc_pb2.DeleteRangeRequest(key=key, range_end=end, prev_kv=True)
        case Get(key, end, revision):
            return rpc_pb2.RangeRequest(key=key, range_end=end, revision=revision)


def _txn(call: Call) -> rpc_pb2.TxnRequest:
    request = rpc_pb2.TxnRequest()
    for guard in call.guards:
        request.compare.add(
            key=guard.key,
            target=rpc_pb2.Compare.MOD,
            result=rpc_pb2.Compare.EQUAL,
            mod_revision=guard.mod,
        )
    for operations, into in ((call.then, request.success), (call.otherwise, request.failure)):
        for operation in operations:
            message = _message(operation)
            match operation:
                case Put():
                    into.add(request_put=message)
                case Delete():
                    into.add(request_delete_range=message)
                case Get():
                    into.add(request_range=message)
    return request


def _inner(response: Any) -> Any:
    return getattr(response, response.WhichOneof("response"))


def _shown(answer: Any) -> tuple[KV, ...]:
    """The keys that an answer shows; previous ones of a write."""
    if isinstance(answer, rpc_pb2.RangeResponse):
        return tuple(map(kv_of, answer.kvs))
    if isinstance(answer, rpc_pb2.DeleteRangeResponse):
        return tuple(map(kv_of, answer.prev_kvs))
    return (kv_of(answer.prev_kv),) if answer.HasField("prev_kv") else ()
