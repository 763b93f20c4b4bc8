"""A real gRPC client, of grpc's own stack, with etcd's calls under their own names.

Requests and replies are the messages of `etcdpb`; the methods below only spare typing.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import grpc

from etcdpb import kv_pb2, rpc_pb2
from tests.support.methods import callable_of

CALL_MAX_S: Final = 20.0  # A call without an answer is a failure and not a wait.
ALL_KEYS: Final = b"\0"

Event = kv_pb2.Event


class Client:
    """One connection. Of one process's life: a channel kept over a restart backs off first."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(
            target, options=[("grpc.max_receive_message_length", -1)]
        )
        self._methods: dict[tuple[str, str], Callable[..., Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def method(self, service: str, name: str) -> Any:
        """grpc's callable of a method; made once."""
        if (service, name) not in self._methods:
            self._methods[service, name] = callable_of(self._channel, service, name)
        return self._methods[service, name]

    def raw(self, path: str) -> Any:
        """grpc's callable of a path, for requests of any bytes."""
        channel: Any = self._channel  # Newer than its stubs.
        return channel.unary_unary(path)

    def call(self, service: str, name: str, request: Any) -> Any:
        """The reply.

        Raises:
            grpc.RpcError: the server refused, or is gone.
        """
        return self.method(service, name)(request, timeout=CALL_MAX_S)

    # --- keys ---

    def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """The revision at which it was put."""
        request = rpc_pb2.PutRequest(key=key, value=value, lease=lease)
        return int(self.call("KV", "Put", request).header.revision)

    def get(self, key: bytes) -> kv_pb2.KeyValue | None:
        reply = self.call("KV", "Range", rpc_pb2.RangeRequest(key=key))
        return reply.kvs[0] if reply.kvs else None

    def everything(self) -> rpc_pb2.RangeResponse:
        """All keys there are."""
        request = rpc_pb2.RangeRequest(key=ALL_KEYS, range_end=ALL_KEYS)
        reply: rpc_pb2.RangeResponse = self.call("KV", "Range", request)
        return reply

    def delete(self, key: bytes) -> rpc_pb2.DeleteRangeResponse:
        request = rpc_pb2.DeleteRangeRequest(key=key)
        reply: rpc_pb2.DeleteRangeResponse = self.call("KV", "DeleteRange", request)
        return reply

    def compact(self, revision: int, *, physical: bool = False) -> None:
        request = rpc_pb2.CompactionRequest(revision=revision, physical=physical)
        self.call("KV", "Compact", request)

    def hash_kv(self, revision: int = 0) -> rpc_pb2.HashKVResponse:
        request = rpc_pb2.HashKVRequest(revision=revision)
        reply: rpc_pb2.HashKVResponse = self.call("Maintenance", "HashKV", request)
        return reply

    # --- leases ---

    def grant(self, ttl: int, lease_id: int = 0) -> int:
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl, ID=lease_id)
        return int(self.call("Lease", "LeaseGrant", request).ID)

    def revoke(self, lease_id: int) -> int:
        """The store's revision afterwards."""
        request = rpc_pb2.LeaseRevokeRequest(ID=lease_id)
        return int(self.call("Lease", "LeaseRevoke", request).header.revision)

    def time_to_live(self, lease_id: int) -> rpc_pb2.LeaseTimeToLiveResponse:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id, keys=True)
        reply: rpc_pb2.LeaseTimeToLiveResponse = self.call("Lease", "LeaseTimeToLive", request)
        return reply

    def leases(self) -> set[int]:
        reply = self.call("Lease", "LeaseLeases", rpc_pb2.LeaseLeasesRequest())
        return {lease.ID for lease in reply.leases}

    # --- streams ---

    def stream(self, service: str, name: str, max_s: float = CALL_MAX_S) -> Exchange:
        """One that the server ends after `max_s`, by its own clock."""
        return Exchange(self.method(service, name), max_s)

    def keep_alive(self, lease_id: int) -> int:
        """Renew once; the TTL answered, 0 if there is no such lease."""
        with self.stream("Lease", "LeaseKeepAlive") as renewals:
            renewals.send(rpc_pb2.LeaseKeepAliveRequest(ID=lease_id))
            return int(renewals.receive().TTL)

    def watch(self, start_revision: int) -> Exchange:
        """A stream with one watcher of all keys; its created reply has been received."""
        stream = self.stream("Watch", "Watch")
        request = rpc_pb2.WatchCreateRequest(
            key=ALL_KEYS, range_end=ALL_KEYS, start_revision=start_revision
        )
        stream.send(rpc_pb2.WatchRequest(create_request=request))
        assert stream.receive().created
        return stream

    def history(self, start_revision: int, end_revision: int) -> Iterator[Event]:
        """All events from one revision to another, both included."""
        if start_revision > end_revision:
            return
        with self.watch(start_revision) as stream:
            while True:
                for event in stream.receive().events:
                    if event.kv.mod_revision > end_revision:
                        return
                    yield event
                # A revision's events are never cut in two here: no fragments were asked for.
                if event.kv.mod_revision == end_revision:
                    return


class Exchange:
    """One two-way stream. The requests go out as they are sent."""

    def __init__(self, method: Any, max_s: float) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call = method(iter(self._requests.get, None), timeout=max_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, request: Any) -> None:
        self._requests.put(request)

    def receive(self) -> Any:
        """The next reply.

        Raises:
            grpc.RpcError: the stream ended, with a status that is not OK.
        """
        return next(self._call)

    def close(self) -> None:
        self._requests.put(None)  # Lets the thread that sends end.
        self._call.cancel()
