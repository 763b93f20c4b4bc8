"""Which method answers which path: the part that all transports share.

The table comes from the service descriptors of `etcdpb`, so a path, its direction and its
spelling exist once. A service object offers a method by having one of its name; what it does not
have is answered as an etcd that does not know the method would.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from server import status
from server.call import AtOnce, Streaming, Unary
from server.call_counts import CallCounts
from server.services.guard import Guard
from server.status import Status
from server.transport.timed import timed_stream, timed_unary


@dataclass(frozen=True, slots=True)
class UnaryMethod:
    """One message in, one out; `handle` answers at once or through the call."""

    handle: Unary
    counts: CallCounts


@dataclass(frozen=True, slots=True)
class StreamMethod:
    """Served by a coroutine. `is_unary` if one message goes each way all the same."""

    serve: Streaming
    counts: CallCounts
    client_streams: bool
    server_streams: bool
    at_once: AtOnce | None = None  # Spares the coroutine, where the transport can do without.

    @property
    def is_unary(self) -> bool:
        return not self.client_streams and not self.server_streams


Method = UnaryMethod | StreamMethod


class MethodTable:
    def __init__(
        self,
        guard: Guard | None = None,
        *,
        is_timed: bool = False,
        queued: Callable[[], int] = lambda: 0,
    ) -> None:
        """`guard` asks, before a method is called, who calls it.

        `is_timed`: how long calls take is counted too, which costs some 0.7 us a call.
        `queued`: how many calls wait for what is done one after the other.
        """
        self.queued = queued
        self._guard = guard
        self._is_timed = is_timed
        self._methods: dict[str, Method] = {}
        self._services: set[str] = set()
        self._counts: dict[str, CallCounts] = {}

    def add(self, descriptor: ServiceDescriptor, service: object) -> None:
        """Offer those methods of `descriptor` that `service` has.

        Its `at_once`, if any, has by a method's name what answers that one's messages at once.
        """
        at_once: Mapping[str, AtOnce] = getattr(service, "at_once", {})
        self._services.add(descriptor.full_name)
        for method in descriptor.methods:
            handler = getattr(service, method.name, None)
            if handler is None:
                continue
            path = f"/{descriptor.full_name}/{method.name}"
            if self._guard is not None:
                handler = self._guard.guarded(path, handler)
            counts = self._counts[path] = CallCounts(is_timed=self._is_timed)
            if inspect.iscoroutinefunction(handler):
                spared = at_once.get(method.name)
                if counts.handling is not None:
                    handler = timed_stream(handler, counts.handling)
                    spared = None  # It is the coroutine whose time is taken.
                self._methods[path] = StreamMethod(
                    handler,
                    counts,
                    method.client_streaming,
                    method.server_streaming,
                    spared,
                )
            else:
                if counts.handling is not None:
                    handler = timed_unary(handler, counts.handling)
                self._methods[path] = UnaryMethod(handler, counts)

    def get(self, path: str) -> Method | None:
        return self._methods.get(path)

    def unknown(self, path: str) -> Status:
        """What grpc-go says of a path that no method has."""
        service, _, method = path.removeprefix("/").rpartition("/")
        if not service:
            return status.malformed_method(path)
        if service not in self._services:
            return status.unknown_service(service)
        return status.unknown_method(method, service)

    def stats(self) -> Mapping[str, CallCounts]:
        """By path, how the calls of each offered method went so far."""
        return self._counts

    @property
    def active_unary(self) -> int:
        """How many calls of unary methods are under way, whose client has not gone."""
        methods = self._methods.values()
        return sum(each.counts.active for each in methods if isinstance(each, UnaryMethod))

    def paths(self) -> list[str]:
        return sorted(self._methods)
