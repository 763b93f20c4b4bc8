"""One server as its client sees it: calls, streams, and the tokens it gave out."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from compat.differential.operations import KEEP_ALIVE, METHODS, Operation
from etcdpb import rpc_pb2 as rpc

CALL_MAX_S: Final = 15.0
FORGED: Final = "forged.1"
_WATCH_PATH: Final = "/etcdserverpb.Watch/Watch"
# Refused at once, with an answer and without a trace: what came before it has been looked at.
# Its id is no watcher's: see `watch-refusal`.
FENCE: Final = rpc.WatchRequest(
    create_request=rpc.WatchCreateRequest(key=b"fence", range_end=b"a", watch_id=999)
).SerializeToString()


@dataclass
class Answer:
    """What came back: messages, and the status that ended the call."""

    code: str
    text: str = ""
    messages: list[Message] = field(default_factory=list)


class WatchStream:
    """A stream of watches; what it says is heard in the background."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.heard: list[rpc.WatchResponse] = []
        self.end: Answer | None = None
        self._news = asyncio.Event()
        self.reader = asyncio.ensure_future(self._read())

    async def send(self, body: bytes) -> None:
        """Send one message, or nothing if the server has ended the stream."""
        if self.end is None:
            await self._call.write(body)

    async def wait(self, timeout_s: float) -> None:
        """Return on the next response, or when it has taken too long."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return

    async def close(self) -> None:
        self._call.cancel()
        await asyncio.wait((self.reader,))

    async def _read(self) -> None:
        try:
            async for body in self._call:
                self.heard.append(rpc.WatchResponse.FromString(body))
                self._news.set()
            status = Answer("OK")
        except grpc.aio.AioRpcError as error:
            status = Answer(error.code().name, error.details() or "")
        except asyncio.CancelledError:
            status = Answer("closed by us")
        self.end = status
        self._news.set()


class Side:
    """A connection to one server."""

    def __init__(self, endpoint: str) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
        self._channel = grpc.aio.insecure_channel(endpoint, options)
        self._calls: dict[str, Any] = {}
        self.tokens: dict[str, str] = {"forger": FORGED}
        self.streams: dict[int, WatchStream] = {}

    async def call(self, operation: Operation) -> Answer:
        """Make a call that ends by itself."""
        metadata = self._metadata(operation.caller)
        descriptor = METHODS.get(operation.method)
        output = rpc.PutResponse.DESCRIPTOR if descriptor is None else descriptor.output_type
        kind = GetMessageClass(output)
        answer = Answer("OK")
        try:
            if operation.method == KEEP_ALIVE:
                call = self._stub(operation.path, "stream_stream")(
                    metadata=metadata, timeout=CALL_MAX_S
                )
                for each in operation.bodies:
                    await call.write(each)
                    if (body := await call.read()) is grpc.aio.EOF:
                        break
                    answer.messages.append(kind.FromString(body))
                await call.done_writing()
                while (body := await call.read()) is not grpc.aio.EOF:
                    answer.messages.append(kind.FromString(body))
            else:
                body = await self._stub(operation.path, "unary_unary")(
                    operation.bodies[0], metadata=metadata, timeout=CALL_MAX_S
                )
                answer.messages.append(kind.FromString(body))
        except grpc.aio.AioRpcError as error:
            answer.code, answer.text = error.code().name, error.details() or ""
        for message in answer.messages:
            if isinstance(message, rpc.AuthenticateResponse):
                self.tokens[operation.caller] = message.token
        return answer

    def stream(self, operation: Operation) -> WatchStream:
        """The stream of that number, opened if it is not."""
        if operation.stream not in self.streams:
            call = self._stub(_WATCH_PATH, "stream_stream")(
                metadata=self._metadata(operation.caller)
            )
            self.streams[operation.stream] = WatchStream(call)
        return self.streams[operation.stream]

    async def close(self) -> None:
        for stream in self.streams.values():
            await stream.close()
        await self._channel.close()

    def _metadata(self, caller: str) -> tuple[tuple[str, str], ...]:
        token = self.tokens.get(caller)
        return (("token", token),) if token else ()

    def _stub(self, path: str, kind: str) -> Any:
        if path not in self._calls:
            self._calls[path] = getattr(self._channel, kind)(path)
        return self._calls[path]
