"""The gRPC calls, by method and by how they ended, as go-grpc-prometheus names them.

Every series of every method of etcd's services is there from the start, at 0: a rate needs a
first value, and an alert on a code that never came must not be without data. So are those of a
service that is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from google.protobuf.descriptor import MethodDescriptor

from etcdpb import rpc_pb2
from server.call_counts import CODES, CallCounts
from server.metrics.text import Family, Sample, counter, label_text
from server.status import Code

# The codes as Go spells them (google.golang.org/grpc/codes); it has one l in Canceled.
_CODE_NAMES: Final = tuple(
    "OK" if code is Code.OK else code.name.title().replace("_", "").replace("lled", "led")
    for code in Code
)
_NONE: Final = CallCounts()


class _Method(NamedTuple):
    path: str
    is_unary: bool
    labels: str
    by_code: tuple[str, ...]  # The same with each code.


def _method(method: MethodDescriptor) -> _Method:
    service = method.containing_service.full_name
    kind = {
        (False, False): "unary",
        (False, True): "server_stream",
        (True, False): "client_stream",
        (True, True): "bidi_stream",
    }[method.client_streaming, method.server_streaming]
    labels = {"grpc_type": kind, "grpc_service": service, "grpc_method": method.name}
    return _Method(
        f"/{service}/{method.name}",
        kind == "unary",
        label_text(labels),
        tuple(label_text({**labels, "grpc_code": name}) for name in _CODE_NAMES),
    )


_METHODS: Final = tuple(
    _method(method)
    for service in rpc_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)


def families(calls: Mapping[str, CallCounts]) -> Iterator[Family]:
    """`calls` by path."""
    counted = [(method, calls.get(method.path, _NONE)) for method in _METHODS]
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
