"""grpc-python with nothing of anybody's around it: generated messages, and a stub a service.

The messages are those of `etcdpb`, whose names and numbers are etcd's; that etcd itself understands
them is part of what these tests show. Calls are grpc's own: what is refused is a `grpc.RpcError`.
"""

import queue
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from compat.wires import Identity
from etcdpb import health_pb2 as health
from etcdpb import kv_pb2 as kv
from etcdpb import rpc_pb2 as rpc
from etcdpb import v3election_pb2 as election
from etcdpb import v3lock_pb2 as lock

__all__ = ["Client", "Stream", "election", "health", "kv", "lock", "refused", "rpc"]

CALL_MAX_S: Final = 20.0  # Of a unary call; a stream's tests end long before.
STREAM_MAX_S: Final = 40.0


class Client:
    """A channel, and on it `KV.Put`, `Lease.LeaseGrant` and so on as from generated stubs."""

    def __init__(self, endpoint: str, identity: Identity | None, **options: int) -> None:
        settings = [(f"grpc.{name}", value) for name, value in options.items()]
        # A channel is a connection of its own: what ends one is not to be felt by another.
        settings.append(("grpc.use_local_subchannel_pool", 1))
        if identity is None:
            self.channel = grpc.insecure_channel(endpoint, settings)
        else:
            self.channel = grpc.secure_channel(endpoint, credentials(*identity), settings)
        services = rpc.DESCRIPTOR.services_by_name
        self.KV = self._stub(services["KV"].methods)
        self.Watch = self._stub(services["Watch"].methods)
        self.Lease = self._stub(services["Lease"].methods)
        self.Cluster = self._stub(services["Cluster"].methods)
        self.Maintenance = self._stub(services["Maintenance"].methods)
        self.Auth = self._stub(services["Auth"].methods)
        self.Lock = self._stub(lock.DESCRIPTOR.services_by_name["Lock"].methods)
        self.Election = self._stub(election.DESCRIPTOR.services_by_name["Election"].methods)
        self.Health = self._stub(health.DESCRIPTOR.services_by_name["Health"].methods)

    def put(self, key: str, value: str | bytes = "", **fields: Any) -> rpc.PutResponse:
        """Put, and nothing else is said of it."""
        sent = value.encode() if isinstance(value, str) else value
        request = rpc.PutRequest(key=key.encode(), value=sent, **fields)
        response: rpc.PutResponse = self.KV.Put(request, timeout=CALL_MAX_S)
        return response

    def get(self, key: str, **fields: Any) -> rpc.RangeResponse:
        """Range over one key, or more with `range_end`."""
        request = rpc.RangeRequest(key=key.encode(), **fields)
        response: rpc.RangeResponse = self.KV.Range(request, timeout=CALL_MAX_S)
        return response

    def grant(self, ttl_s: int, lease_id: int = 0) -> rpc.LeaseGrantResponse:
        """Grant a lease."""
        request = rpc.LeaseGrantRequest(TTL=ttl_s, ID=lease_id)
        response: rpc.LeaseGrantResponse = self.Lease.LeaseGrant(request, timeout=CALL_MAX_S)
        return response

    def watch(self) -> "Stream":
        """A stream of watches."""
        return Stream(self.Watch.Watch)

    def keep_alive(self) -> "Stream":
        """A stream of renewals."""
        return Stream(self.Lease.LeaseKeepAlive)

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()

    def _stub(self, methods: list[MethodDescriptor]) -> SimpleNamespace:
        return SimpleNamespace(**{method.name: self._call(method) for method in methods})

    def _call(self, method: MethodDescriptor) -> Any:
        sides = ("unary", "stream")
        make = f"{sides[method.client_streaming]}_{sides[method.server_streaming]}"
        return getattr(self.channel, make)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )


class Stream:
    """A stream both ways: requests are sent when a test says so, answers come in their order."""

    def __init__(self, method: Any, max_s: float = STREAM_MAX_S) -> None:
        self._requests: queue.Queue[Message | None] = queue.Queue()
        self.call = method(iter(self._requests.get, None), timeout=max_s)

    def send(self, request: Message) -> None:
        """Send one."""
        self._requests.put(request)

    def end(self) -> None:
        """Send no more; answers may still come."""
        self._requests.put(None)

    def receive(self) -> Any:
        """The next answer.

        Raises:
            StopIteration: the server has ended the stream, and all is well.
            grpc.RpcError: it ended with an error, or nothing came for too long.
        """
        return next(self.call)

    def events(self, count: int) -> Iterator[kv.Event]:
        """The next `count` events, however many answers they come in."""
        while count > 0:
            events = self.receive().events
            count -= len(events)
            yield from events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.call.cancel()


def credentials(
    ca_file: Path, cert_file: Path | None = None, key_file: Path | None = None
) -> grpc.ChannelCredentials:
    """Believe the authority of `ca_file`, and show a certificate if there is one."""
    return grpc.ssl_channel_credentials(
        root_certificates=ca_file.read_bytes(),
        private_key=None if key_file is None else key_file.read_bytes(),
        certificate_chain=None if cert_file is None else cert_file.read_bytes(),
    )


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    """Code and text of a refusal."""
    return error.value.code(), error.value.details()
