"""Single calls with a real client (grpcio), to set the scene and to check what a load run left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2 as pb

CALL_TIMEOUT_S: Final = 30.0
MANY_IN_FLIGHT: Final = 256
REPLY_BYTES_UNLIMITED: Final = [("grpc.max_receive_message_length", -1)]  # Lists of all leases.


class Client:
    """Blocking calls to 127.0.0.1:`port`. Methods are named as etcd's: `KV/Put`."""

    def __init__(self, port: int, ca_file: Path | None = None) -> None:
        """With `ca_file`, over TLS."""
        address = f"127.0.0.1:{port}"
        if ca_file is None:
            self._channel = grpc.insecure_channel(address, options=REPLY_BYTES_UNLIMITED)
        else:
            trusted = grpc.ssl_channel_credentials(ca_file.read_bytes())
            self._channel = grpc.secure_channel(address, trusted, options=REPLY_BYTES_UNLIMITED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, name: str, request: Message) -> Any:  # Any: one of protobuf's made classes.
        """Make one unary call; return its reply.

        Raises:
            grpc.RpcError: the server refused.
        """
        kind, path, parse = _method(name)
        assert not kind, f"{name} streams"
        unary = self._channel.unary_unary(
            path, request_serializer=_bytes_of, response_deserializer=parse
        )
        return unary(request, timeout=CALL_TIMEOUT_S)

    def many(self, name: str, requests: Iterable[bytes]) -> None:
        """Make unary calls with serialized `requests`, `MANY_IN_FLIGHT` at a time.

        Raises:
            grpc.RpcError: one was refused.
        """
        _, path, parse = _method(name)
        unary = self._channel.unary_unary(path, bytes, parse)
        waiting: deque[Any] = deque()  # Futures; grpcio's types do not say of what.
        for request in requests:
            waiting.append(unary.future(request, timeout=CALL_TIMEOUT_S))
            if len(waiting) == MANY_IN_FLIGHT:
                waiting.popleft().result()
        for future in waiting:
            future.result()

    def stream(self, name: str, requests: Iterable[Message]) -> Iterator[Any]:
        """Send `requests` on one stream, close our side, and yield the replies."""
        kind, path, parse = _method(name)
        assert kind, f"{name} does not stream"
        both = self._channel.stream_stream(
            path, request_serializer=_bytes_of, response_deserializer=parse
        )
        yield from both(iter(requests), timeout=CALL_TIMEOUT_S)

    def revision(self) -> int:
        """The store's revision, as a linearizable read shows it."""
        reply = self.call("KV/Range", pb.RangeRequest(key=b"\0", count_only=True))
        return int(reply.header.revision)

    def count(self, prefix: bytes) -> int:
        """Keys that begin with `prefix` (whose last byte must be below 255)."""
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        request = pb.RangeRequest(key=prefix, range_end=end, count_only=True)
        return int(self.call("KV/Range", request).count)

    def lease_count(self) -> int:
        return len(self.call("Lease/LeaseLeases", pb.LeaseLeasesRequest()).leases)


def _bytes_of(message: Message) -> bytes:
    return message.SerializeToString()


def _method(name: str) -> tuple[bool, str, Callable[[bytes], Any]]:
    """Whether the client streams, the path, and the parser of the reply."""
    service, method = name.split("/")
    found = pb.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    reply_class = GetMessageClass(found.output_type)
    return (
        found.client_streaming,
        f"/{found.containing_service.full_name}/{method}",
        (reply_class.FromString),
    )
