"""grpc's callable of one of etcd's methods, on either kind of channel."""

from __future__ import annotations

from typing import Any

from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2


def callable_of(channel: Any, service: str, name: str) -> Any:  # Any: grpc's stubs know too little.
    """`KV` and `Put`, say. What streams one way is called as what streams both."""
    method = rpc_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    streams = method.client_streaming or method.server_streaming
    make = channel.stream_stream if streams else channel.unary_unary
    return make(
        f"/etcdserverpb.{service}/{name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
