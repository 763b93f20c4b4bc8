"""grpc.health.v1: what load balancers and probes ask of every gRPC server."""

from __future__ import annotations

from etcdpb import rpc_pb2 as pb
from etcdpb.health_pb2 import HealthCheckRequest, HealthCheckResponse
from server import status
from server.status import Code
from tests.support.client import refusal
from tests.support.serving import Running, served

WHOLE = HealthCheckRequest()
KV = HealthCheckRequest(service="etcdserverpb.KV")


@served()
async def test_the_server_as_a_whole_serves(server: Running) -> None:
    health = server.client.health
    assert (await health.Check(WHOLE)).status == HealthCheckResponse.SERVING
    talk = health.Watch(WHOLE)
    assert (await talk.receive()).status == HealthCheckResponse.SERVING
    talk.cancel()


@served()
async def test_no_service_is_known_by_name(server: Running) -> None:
    """Who watches it is told so and may wait for it."""
    health = server.client.health
    assert await refusal(health.Check(KV)) == status.UNKNOWN_HEALTH_SERVICE
    talk = health.Watch(KV)
    assert (await talk.receive()).status == HealthCheckResponse.SERVICE_UNKNOWN
    talk.cancel()


@served()
async def test_an_alarm_makes_no_difference(server: Running) -> None:
    """etcd's probes for that are /health and /readyz."""
    for alarm in (pb.AlarmType.NOSPACE, pb.AlarmType.CORRUPT):
        request = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=alarm)
        await server.client.maintenance.Alarm(request)
    assert (await server.client.health.Check(WHOLE)).status == HealthCheckResponse.SERVING


@served()
async def test_the_end_of_the_server_ends_a_watch(server: Running) -> None:
    talk = server.client.health.Watch(WHOLE)
    await talk.receive()
    await server.stop_serving()
    assert await talk.refusal() == status.SERVER_STOPPED


@served()
async def test_there_is_no_reflection_as_on_etcd(server: Running) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    refused = await refusal(server.client.raw(path))
    assert refused.code == Code.UNIMPLEMENTED
    assert refused.message == "unknown service grpc.reflection.v1alpha.ServerReflection"


def test_the_messages_are_the_bytes_that_every_probe_speaks() -> None:
    """Worked by hand: grpc.health.v1 is nobody's of etcd's own files."""
    assert HealthCheckRequest(service="a").SerializeToString() == b"\x0a\x01a"
    statuses = HealthCheckResponse.ServingStatus.items()
    assert statuses == [("UNKNOWN", 0), ("SERVING", 1), ("NOT_SERVING", 2), ("SERVICE_UNKNOWN", 3)]
    assert HealthCheckResponse(status="SERVING").SerializeToString() == b"\x08\x01"
