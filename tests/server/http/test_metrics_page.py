"""GET /metrics, and that what comes in as JSON is counted among the calls."""

from __future__ import annotations

import httpx

from etcdpb import rpc_pb2 as pb
from tests.server.http.support import b64, web
from tests.server.metrics import Page, parse, scrape
from tests.support.client import until
from tests.support.serving import Running


async def page_of(client: httpx.AsyncClient) -> Page:
    reply = await client.get("/metrics")
    assert reply.status_code == 200
    return parse(reply.text)


@web()
async def test_the_page_is_of_the_type_that_prometheus_knows(
    server: Running, client: httpx.AsyncClient
) -> None:
    reply = await client.get("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert parse(reply.text).types == scrape(server.core.metrics).types


@web()
async def test_a_call_by_the_gateway_is_a_call(server: Running, client: httpx.AsyncClient) -> None:
    await client.post("/v3/kv/put", json={"key": b64("a")})
    await client.post("/v3/kv/put", json={"key": b64("a"), "lease": "5"})
    await client.post("/v3/maintenance/hashkv", json={})
    seen = scrape(server.core.metrics)
    assert seen.handled("KV", "Put") == {"OK": 1, "NotFound": 1}
    assert seen.handled("Maintenance", "HashKV") == {"OK": 1}
    assert seen.calls("msg_sent", "Maintenance", "HashKV") == 1
    message = pb.PutRequest(key=b"a").ByteSize()
    assert seen["etcd_network_client_grpc_received_bytes_total"] == 2 * message + 2


@web()
async def test_a_watch_by_the_gateway_is_one_and_canceled_when_its_client_leaves(
    server: Running, client: httpx.AsyncClient
) -> None:
    async with client.stream(
        "POST", "/v3/watch", json={"create_request": {"key": b64("a")}}
    ) as reply:
        async for _ in reply.aiter_text():
            break
        seen = scrape(server.core.metrics)
        assert seen["etcd_debugging_mvcc_watch_stream_total"] == 1
        assert seen.calls("msg_received", "Watch", "Watch", "bidi_stream") == 1
    await until(lambda: not server.streams)
    seen = scrape(server.core.metrics)
    assert seen.handled("Watch", "Watch", "bidi_stream") == {"Canceled": 1}


@web()
async def test_checks_of_the_health_are_counted_and_are_no_calls(
    server: Running, client: httpx.AsyncClient
) -> None:
    await client.get("/health")
    member = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.NOSPACE)
    await server.client.maintenance.Alarm(member)
    await client.get("/health")
    await client.get("/health")
    seen = await page_of(client)
    assert seen["etcd_server_health_success"] == 1
    assert seen["etcd_server_health_failures"] == 2
    assert seen.calls("started", "KV", "Range") == 0


@web()
async def test_each_check_is_counted_and_said_how_it_went_last(
    server: Running, client: httpx.AsyncClient
) -> None:
    await client.get("/readyz")
    await client.get("/livez/serializable_read")
    member = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.CORRUPT)
    await server.client.maintenance.Alarm(member)
    await client.get("/readyz?exclude=non_learner")
    seen = await page_of(client)
    check, total = "etcd_server_healthcheck", "etcd_server_healthchecks_total"
    assert seen[f'{check}{{name="data_corruption",type="readyz"}}'] == 0
    assert seen[f'{total}{{name="data_corruption",status="success",type="readyz"}}'] == 1
    assert seen[f'{total}{{name="data_corruption",status="error",type="readyz"}}'] == 1
    assert seen[f'{total}{{name="linearizable_read",status="success",type="readyz"}}'] == 2
    assert seen[f'{total}{{name="non_learner",status="success",type="readyz"}}'] == 1
    assert seen[f'{check}{{name="serializable_read",type="livez"}}'] == 1
