"""The services behind `grpc.aio`, the field's reference stack.

Messages stay bytes: grpc's own (de)serialisers are not used. Its texts are not etcd's, so the
limits whose texts clients know are checked here, and grpc's own stand further out.

Keepalive pings: grpc's default drops a client that pings more often than every five minutes
without data, which real etcd clients do every few seconds. etcd's rule, a shortest interval of
--grpc-keepalive-min-time, is kept, but nobody is dropped for pinging without an open stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from server import failures, status
from server.call import OneByOne
from server.call_counts import CallCounts
from server.settings.urls import URL
from server.status import RpcError, Status
from server.tls import ServerTLS
from server.transport.base import OVERHEAD_BYTES, wait_until
from server.transport.credentials import server_credentials
from server.transport.dispatch import MethodTable, StreamMethod, UnaryMethod

# A message above this is refused by grpc itself, before it is held in memory whole.
HARD_LIMIT_FACTOR: Final = 4
METADATA_BYTES_MAX: Final = 64 << 10
PING_STRIKES_MAX: Final = 1000  # etcd's clients ping at their own pace; grpc-go allows 2.
STREAMS_UNLIMITED: Final = 2**31 - 1  # grpc's largest; etcd's default is 2**32 - 1.

# Servers that have drained. Without a reference grpc would stop them in its own way after all.
_LEFT_STANDING: Final[list[grpc.aio.Server]] = []

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_API_VERSION: Final = "client-api-version"
_COMMON_NAME: Final = "x509_common_name"
_PASSED_ON: Final = "grpcgateway-accept"  # By an HTTP gateway, with a certificate of its own.

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[bytes, bytes]


class GrpcioServer:
    def __init__(
        self,
        methods: MethodTable,
        *,
        max_request_bytes: int,
        max_concurrent_streams: int,
        keepalive_min_time_s: float,
        keepalive_interval_s: float,
        keepalive_timeout_s: float,
        tls: ServerTLS | None = None,
    ) -> None:
        limit = max_request_bytes + OVERHEAD_BYTES
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", limit * HARD_LIMIT_FACTOR),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.max_concurrent_streams", min(max_concurrent_streams, STREAMS_UNLIMITED)),
            ("grpc.http2.min_ping_interval_without_data_ms", int(keepalive_min_time_s * 1000)),
            ("grpc.http2.max_ping_strikes", PING_STRIKES_MAX),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_timeout_ms", int(keepalive_timeout_s * 1000)),
            ("grpc.so_reuseport", 0),
        ]
        if keepalive_interval_s > 0:
            options.append(("grpc.keepalive_time_ms", int(keepalive_interval_s * 1000)))
        self._tls = tls
        self._handlers = _Handlers(methods, limit)
        self._server = grpc.aio.server(
            options=options,
            handlers=(self._handlers,),
        )

    @property
    def streams(self) -> int:
        return len(self._handlers.streams)

    async def listen(self, url: URL) -> None:
        try:
            if url.is_tls:
                assert self._tls is not None, "the settings give a certificate"
                self._server.add_secure_port(_address_of(url), server_credentials(self._tls))
            else:
                self._server.add_insecure_port(_address_of(url))
        except RuntimeError as error:  # grpc's only error.
            raise OSError(str(error)) from error

    async def start(self) -> None:
        await self._server.start()

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls, end the streams as etcd does, let the rest finish within `grace_s`.

        The server goes on refusing afterwards, and is best left at that: whatever arrives while
        grpc's own server stops it ends as CANCELLED, which clients take for their own doing and
        do not retry; and a watcher whose stream was just ended comes back within milliseconds.
        When the process ends, they see a lost connection, which they do retry.
        """
        self._handlers.stop()
        await wait_until(self._handlers.is_quiet, grace_s)
        _LEFT_STANDING.append(self._server)

    async def close(self) -> None:
        """Let go of the sockets; see `drain` for why a process that ends does not."""
        _LEFT_STANDING.remove(self._server)
        await self._server.stop(None)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Finds the handler of a path; makes each once."""

    def __init__(self, methods: MethodTable, limit_bytes: int) -> None:
        self._methods = methods
        self._limit_bytes = limit_bytes
        self._made: dict[str, _Handler] = {}
        self.streams: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self.calls = 0  # So far, refused ones too,
        self._calls_seen = 0  # and at the last look.
        self.active = 0  # Under way, refused ones not counted.

    def service(self, details: grpc.HandlerCallDetails) -> _Handler:
        path = details.method
        self.calls += 1
        if self._is_stopping:
            return _refuser(status.SERVER_STOPPED)
        handler = self._made.get(path)
        if handler is None:
            method = self._methods.get(path)
            if method is None:
                return _refuser(self._methods.unknown(path))
            if isinstance(method, UnaryMethod):
                handler = grpc.unary_unary_rpc_method_handler(self._unary(method))
            else:
                handler = self._stream_handler(method)
            self._made[path] = handler
        return handler

    def is_quiet(self) -> bool:
        """No call is under way, and none was begun since the last look."""
        seen, self._calls_seen = self._calls_seen, self.calls
        return not self.active and self.calls == seen

    def stop(self) -> None:
        self._is_stopping = True
        self._calls_seen = self.calls
        for task in self.streams:
            task.cancel()

    def _check_running(self) -> None:
        """Refuse a call that was accepted just before the stop."""
        if self._is_stopping:
            raise RpcError(status.SERVER_STOPPED)

    def _unary(self, method: UnaryMethod) -> Callable[[bytes, Any], Awaitable[bytes]]:
        handle, counts = method.handle, method.counts
        limit = self._limit_bytes

        async def answer(message: bytes, context: Any) -> bytes:
            is_counted = False
            self.active += 1
            try:
                self._check_running()
                _check(message, limit, context)
                counts.started += 1
                counts.received_bytes += len(message)
                is_counted = True
                call = _UnaryCall(context)
                reply = handle(message, call)
                if reply is None:
                    reply = await call.wait()
            except asyncio.CancelledError:
                if is_counted:
                    counts.failed[_left(context)] += 1
                raise
            except Exception as error:  # all of them are answered, bugs logged
                refusal = failures.told(error)
                if is_counted:
                    counts.failed[refusal.code] += 1
                await _abort(context, refusal)
                raise
            finally:
                self.active -= 1
            counts.ok += 1
            counts.sent_bytes += len(reply)
            return reply

        return answer

    def _stream_handler(self, method: StreamMethod) -> _Handler:
        counts = method.counts

        async def serve(requests: AsyncIterator[bytes], context: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            self.streams.add(task)
            self.active += 1
            counts.started += 1
            try:
                self._check_running()
                await method.serve(_Stream(requests, context, self._limit_bytes, counts))
                counts.ok += 1
            except asyncio.CancelledError:
                if not self._is_stopping:
                    counts.failed[_left(context)] += 1
                    raise
                task.uncancel()
                counts.failed[status.SERVER_STOPPED.code] += 1
                await _abort(context, status.SERVER_STOPPED)
            except Exception as error:  # noqa: BLE001  # as for unary calls
                refusal = failures.told(error, of_stream=not method.is_unary)
                counts.failed[refusal.code] += 1
                await _abort(context, refusal)
            finally:
                self.streams.discard(task)
                self.active -= 1

        async def serve_one(message: bytes, context: Any) -> None:
            await serve(_only(message), context)

        if method.client_streams:
            return grpc.stream_stream_rpc_method_handler(serve)
        return grpc.unary_stream_rpc_method_handler(serve_one)


def _refuser(refusal: Status) -> _Handler:
    async def refuse(_: AsyncIterator[bytes], context: Any) -> None:
        await _abort(context, refusal)

    return grpc.stream_stream_rpc_method_handler(refuse)


class _UnaryCall:
    """A call that waits in a future, made only when there is something to wait for."""

    __slots__ = ("_answer", "_context", "_future")

    def __init__(self, context: Any) -> None:
        self._context = context
        self._future: asyncio.Future[bytes] | None = None
        self._answer: bytes | Exception | None = None

    @property
    def token(self) -> str | None:
        return _token(self._context)

    @property
    def peer_cn(self) -> str | None:
        return _peer_cn(self._context)

    async def wait(self) -> bytes:
        if self._answer is None:
            self._future = asyncio.get_running_loop().create_future()
            return await self._future
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def reply(self, message: bytes) -> None:
        self._answer = message
        if self._future is not None and not self._future.done():
            self._future.set_result(message)

    def fail(self, error: Exception) -> None:
        self._answer = error
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)


class _Stream(OneByOne):
    """A `server.call.Stream` over a grpc.aio call."""

    def __init__(
        self,
        requests: AsyncIterator[bytes],
        context: Any,
        limit_bytes: int,
        counts: CallCounts,
    ) -> None:
        self._requests = requests
        self._context = context
        self._limit_bytes = limit_bytes
        self._counts = counts

    @property
    def token(self) -> str | None:
        return _token(self._context)

    @property
    def peer_cn(self) -> str | None:
        return _peer_cn(self._context)

    async def receive(self) -> bytes | None:
        async for message in self._requests:
            _check(message, self._limit_bytes, self._context)
            self._counts.messages_received += 1
            self._counts.received_bytes += len(message)
            return message
        return None

    async def send(self, message: bytes) -> None:
        self._counts.messages_sent += 1
        self._counts.sent_bytes += len(message)
        await self._context.write(message)

    def send_now(self, message: bytes) -> bool:  # noqa: ARG002  # grpc.aio has coroutines only
        return False


async def _only(message: bytes) -> AsyncIterator[bytes]:
    yield message


def _check(message: bytes, limit_bytes: int, context: Any) -> None:
    """What etcd's interceptors refuse before a service sees the call."""
    if len(message) > limit_bytes:
        raise RpcError(status.message_too_large(len(message), limit_bytes))
    for key, value in context.invocation_metadata() or ():
        if key == _API_VERSION and not _is_text(value):
            raise RpcError(status.INVALID_CLIENT_API_VERSION)


def _token(context: Any) -> str | None:
    """The token that the metadata carries, under either of its names."""
    for name in ("token", "authorization"):
        for key, value in context.invocation_metadata() or ():
            if key == name:
                return value if isinstance(value, str) else value.decode("latin-1")
    return None


def _peer_cn(context: Any) -> str | None:
    if any(key == _PASSED_ON for key, _ in context.invocation_metadata() or ()):
        return None
    names: list[bytes] = context.auth_context().get(_COMMON_NAME, [])
    return names[-1].decode(errors="replace") if names else None


def _is_text(value: str | bytes) -> bool:
    """Whether the bytes behind a metadata value can have been UTF-8.

    grpc hands over a str in any case: bytes that are no UTF-8 it reads as Latin-1. A text of
    nothing but Latin-1 letters cannot be told from those, and no version has any.
    """
    if value.isascii():
        return True
    try:
        (value.encode("latin-1") if isinstance(value, str) else value).decode()
    except UnicodeEncodeError:
        return True
    except UnicodeDecodeError:
        return False
    return True


def _left(context: Any) -> status.Code:
    """Why grpc has cancelled a call: its deadline has passed, or its client is gone."""
    remaining_s = context.time_remaining()
    is_late = remaining_s is not None and remaining_s <= 0
    return status.Code.DEADLINE_EXCEEDED if is_late else status.Code.CANCELLED


async def _abort(context: Any, refusal: Status) -> None:
    await context.abort(_CODES[refusal.code], refusal.message)


def _address_of(url: URL) -> str:
    """An address as grpc binds it: `unix:path`, or `host:port` with IPv6 in brackets."""
    if url.is_unix:
        return f"unix:{url.path}"
    return f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
