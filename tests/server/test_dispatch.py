"""The method table: every path an etcd client may call, and what the unknown ones are told."""

from __future__ import annotations

import pytest

from etcdpb import rpc_pb2
from server.call import Call, Stream
from server.status import Code, Status
from server.transport.dispatch import MethodTable, StreamMethod, UnaryMethod


class _Service:
    """Offers one method of each kind, and one that no descriptor knows."""

    def Range(self, message: bytes, call: Call) -> bytes:  # noqa: ARG002, N802  # etcd's name
        return message

    async def RangeStream(self, stream: Stream) -> None: ...  # noqa: N802

    def Helper(self, message: bytes, call: Call) -> bytes:  # noqa: ARG002, N802
        return message


class _Watch:
    async def Watch(self, stream: Stream) -> None: ...  # noqa: N802


class _Maintenance:
    async def HashKV(self, stream: Stream) -> None: ...  # noqa: N802


@pytest.fixture
def table() -> MethodTable:
    table = MethodTable()
    services = rpc_pb2.DESCRIPTOR.services_by_name
    table.add(services["KV"], _Service())
    table.add(services["Watch"], _Watch())
    table.add(services["Maintenance"], _Maintenance())
    return table


def test_a_service_offers_what_both_it_and_its_descriptor_have(table: MethodTable) -> None:
    assert table.paths() == [
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.KV/RangeStream",
        "/etcdserverpb.Maintenance/HashKV",
        "/etcdserverpb.Watch/Watch",
    ]


def test_a_plain_method_is_unary(table: MethodTable) -> None:
    method = table.get("/etcdserverpb.KV/Range")
    assert isinstance(method, UnaryMethod)


@pytest.mark.parametrize(
    ("path", "client_streams", "server_streams"),
    [
        ("/etcdserverpb.KV/RangeStream", False, True),
        ("/etcdserverpb.Watch/Watch", True, True),
        ("/etcdserverpb.Maintenance/HashKV", False, False),
    ],
)
def test_a_coroutine_is_served_with_a_stream_in_the_directions_of_its_descriptor(
    table: MethodTable, path: str, client_streams: bool, server_streams: bool
) -> None:
    method = table.get(path)
    assert isinstance(method, StreamMethod)
    assert (method.client_streams, method.server_streams) == (client_streams, server_streams)
    assert method.is_unary == (not client_streams and not server_streams)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etcdserverpb.KV/Helper", "unknown method Helper for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/Put", "unknown method Put for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"),
        ("/etcdserverpb.Auth/Authenticate", "unknown service etcdserverpb.Auth"),
        ("/a/b/c", "unknown service a/b"),
    ],
)
def test_a_path_that_no_method_has_is_answered_as_grpc_go_answers_it(
    table: MethodTable, path: str, text: str
) -> None:
    assert table.get(path) is None
    assert table.unknown(path) == Status(Code.UNIMPLEMENTED, text)


@pytest.mark.parametrize("path", ["", "/", "Range", "/Range"])
def test_a_path_without_a_service_is_malformed(table: MethodTable, path: str) -> None:
    status = table.unknown(path)
    assert status.code is Code.UNIMPLEMENTED
    assert status.message.startswith("malformed method name")
