"""The gRPC calls, by method and by how they ended, as go-grpc-prometheus names them.

Every series of every method of etcd's services is there from the start, at 0: a rate needs a
first value, and an alert on a code that never came must not be without data. So are those of a
service that is not offered. Beside etcd's own, all that the method table serves is there.

How long calls took is there with `--metrics=extensive` only, as in etcd: eleven buckets a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from etcdpb import rpc_pb2
from server.call_counts import CODES, HANDLING_BOUNDS_S, CallCounts
from server.metrics.histogram import samples
from server.metrics.text import Family, Sample, counter, label_text
from server.status import Code

# The codes as Go spells them (google.golang.org/grpc/codes); it has one l in Canceled.
_CODE_NAMES: Final = tuple(
    "OK" if code is Code.OK else code.name.title().replace("_", "").replace("lled", "led")
    for code in Code
)
_NONE: Final = CallCounts()  # Of a method that is not offered.


class _Method(NamedTuple):
    is_unary: bool
    labels: str
    by_code: tuple[str, ...]  # The same with each code.


@cache
def _method(path: str) -> _Method:
    """The labels of `/package.Service/Method`, which some imported .proto file declares."""
    _, service, name = path.split("/")
    declared: ServiceDescriptor = descriptor_pool.Default().FindServiceByName(service)
    method = declared.methods_by_name[name]
    kind = {
        (False, False): "unary",
        (False, True): "server_stream",
        (True, False): "client_stream",
        (True, True): "bidi_stream",
    }[method.client_streaming, method.server_streaming]
    labels = {"grpc_type": kind, "grpc_service": service, "grpc_method": method.name}
    return _Method(
        kind == "unary",
        label_text(labels),
        tuple(label_text({**labels, "grpc_code": name}) for name in _CODE_NAMES),
    )


_ETCDS: Final = tuple(
    f"/{service.full_name}/{method.name}"
    for service in rpc_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)


def families(calls: Mapping[str, CallCounts]) -> Iterator[Family]:
    """`calls` by path."""
    counted = [(_method(path), calls.get(path, _NONE)) for path in dict.fromkeys((*_ETCDS, *calls))]
    yield _family(
        "grpc_server_started_total",
        "Calls that reached their service.",
        [(method.labels, counts.started) for method, counts in counted],
    )
    yield _family(
        "grpc_server_handled_total",
        "Calls that ended, by their status.",
        [
            (method.by_code[code], counts.failed[code] if code else counts.ok)
            for method, counts in counted
            for code in range(CODES)
        ],
    )
    yield _family(
        "grpc_server_msg_received_total",
        "Messages received.",
        [
            (method.labels, counts.messages_received or method.is_unary * counts.started)
            for method, counts in counted
        ],
    )
    yield _family(
        "grpc_server_msg_sent_total",
        "Messages sent.",
        [
            (method.labels, counts.messages_sent or method.is_unary * counts.ok)
            for method, counts in counted
        ],
    )
    yield Family(
        "grpc_server_handling_seconds",
        "histogram",
        "How long calls took, from the request to its answer or the end of its stream.",
        [
            sample
            for method, counts in counted
            if counts.handling is not None
            for sample in samples(
                HANDLING_BOUNDS_S, counts.handling.counts, counts.handling.sum_s, method.labels
            )
        ],
    )
    yield counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of messages received from clients.",
        sum(counts.received_bytes for counts in calls.values()),
    )
    yield counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of messages sent to clients.",
        sum(counts.sent_bytes for counts in calls.values()),
    )


def _family(name: str, help: str, series: list[tuple[str, int]]) -> Family:
    return Family(name, "counter", help, (Sample("", labels, value) for labels, value in series))
