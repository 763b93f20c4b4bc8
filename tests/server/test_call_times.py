"""The histograms of --metrics=extensive: each call that ends is in them once, however it ends."""

from __future__ import annotations

import pytest

from etcdpb import rpc_pb2 as pb
from etcdpb import v3lock_pb2
from server.call import PeerCall
from server.call_counts import CallCounts, Handling
from server.metrics import calls
from server.metrics.text import exposition
from server.transport.dispatch import MethodTable, UnaryMethod
from tests.server.http.support import b64, http_client
from tests.server.metrics import parse, scrape
from tests.support.client import refusal, until
from tests.support.serving import Running, served

NAME = "grpc_server_handling_seconds"


def count(server: Running, service: str, method: str, kind: str = "unary") -> float:
    labels = f'grpc_method="{method}",grpc_service="etcdserverpb.{service}",grpc_type="{kind}"'
    page = scrape(server.core.metrics)
    assert page.values[f'{NAME}_bucket{{{labels},le="+Inf"}}'] == page[f"{NAME}_count{{{labels}}}"]
    return page[f"{NAME}_count{{{labels}}}"]


@served()
async def test_without_being_asked_for_there_are_none(server: Running) -> None:
    await server.client.put(b"a")
    assert NAME not in scrape(server.core.metrics).types


@served(metrics="extensive", on_disk=True)
async def test_calls_are_in_them_whether_they_end_well_or_not(server: Running) -> None:
    assert scrape(server.core.metrics).types[NAME] == "histogram"
    assert count(server, "KV", "Put") == 0
    for _ in range(3):
        await server.client.put(b"a")  # Answered later, when the disk has it.
    await server.client.get(b"a")  # Answered at once.
    await refusal(server.client.put(b"a", lease=12345))  # Refused later.
    await refusal(server.client.put(b""))  # Refused at once.
    assert count(server, "KV", "Put") == 5
    assert count(server, "KV", "Range") == 1


@served(metrics="extensive")
async def test_a_stream_is_in_them_when_it_ends(server: Running) -> None:
    watch = server.client.watching()
    await watch.create(b"a")
    assert count(server, "Watch", "Watch", "bidi_stream") == 0
    watch.talk.cancel()
    await until(lambda: not server.streams)
    assert count(server, "Watch", "Watch", "bidi_stream") == 1


@served(metrics="extensive")
async def test_keepalives_are_in_them_whichever_way_they_are_served(server: Running) -> None:
    stream = server.client.lease.LeaseKeepAlive()
    await stream.send(pb.LeaseKeepAliveRequest(ID=1))
    await stream.receive()
    await stream.half_close()
    assert await stream.receive_or_end() is None
    assert count(server, "Lease", "LeaseKeepAlive", "bidi_stream") == 1


@served(metrics="extensive")
async def test_what_comes_as_json_is_in_them(server: Running) -> None:
    if server.config.transport == "grpcio":
        return  # It has no HTTP on its client port.
    async with http_client(server) as client:
        await client.post("/v3/kv/put", json={"key": b64("a")})
    assert count(server, "KV", "Put") == 1


@pytest.mark.parametrize(
    ("took_s", "bucket"), [(0, 0), (0.005, 0), (0.0051, 1), (2.5, 8), (10, 10), (10.1, 11)]
)
def test_a_bound_belongs_to_its_bucket(took_s: float, bucket: int) -> None:
    handling = Handling()
    handling.observe(took_s)
    assert [at for at, number in enumerate(handling.counts) if number] == [bucket]
    assert handling.sum_s == took_s


def test_what_a_service_asks_of_a_timed_call_is_the_calls_own() -> None:
    """A call may come to know more than a service asked when this was written."""

    class Own:
        token = None
        peer_cn = "alice"
        more = 5

        def reply(self, message: bytes) -> None:
            self.said = message

        def fail(self, error: Exception) -> None: ...

    class Service:
        def Put(self, message: bytes, call: PeerCall) -> bytes | None:  # noqa: N802
            more = call.more  # type: ignore[attr-defined]  # that is what is tested
            call.reply(message + f"{call.peer_cn} {more}".encode())
            return None

    table = MethodTable(is_timed=True)
    table.add(pb.DESCRIPTOR.services_by_name["KV"], Service())
    method = table.get("/etcdserverpb.KV/Put")
    assert isinstance(method, UnaryMethod)
    own = Own()
    assert method.handle(b"", own) is None
    assert own.said == b"alice 5"
    assert method.counts.handling is not None
    assert sum(method.counts.handling.counts) == 1


def test_services_beside_etcds_own_file_are_on_the_page() -> None:
    class Locks:
        async def Lock(self, stream: object) -> None: ...  # noqa: N802

    table = MethodTable()
    table.add(v3lock_pb2.DESCRIPTOR.services_by_name["Lock"], Locks())
    stats = table.stats()
    stats["/v3lockpb.Lock/Lock"].started += 1
    page = parse(exposition(calls.families(stats)).decode())
    labels = 'grpc_method="Lock",grpc_service="v3lockpb.Lock",grpc_type="unary"'
    assert page[f"grpc_server_started_total{{{labels}}}"] == 1
    assert page[f'grpc_server_handled_total{{grpc_code="OK",{labels}}}'] == 0


def test_a_method_that_is_counted_and_not_timed_has_no_histogram() -> None:
    stats = {"/etcdserverpb.KV/Put": CallCounts()}
    assert NAME not in parse(exposition(calls.families(stats)).decode()).types
